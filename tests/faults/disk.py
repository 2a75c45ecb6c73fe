"""A disk as a power cut would leave it: what was synced is there; of the rest nothing, all, or by chance some.

A new name is sure only once its folder was synced; what was not synced is torn at sectors. It must never believe more
of a disk than POSIX promises; that ours usually keeps more is no proof.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.diskcalls import Call

#: What can't be torn, in bytes.
SECTOR = 512


@dataclass(slots=True)
class Inode:
    """A file: what is sure of it, and what was written since the last sync, in order. None is a new length."""

    sure: bytearray = field(default_factory=bytearray)
    since: list[tuple[int, bytes | None]] = field(default_factory=list)
    length: int = 0

    def sync(self) -> None:
        for change in self.since:
            apply(self.sure, change)
        self.since.clear()


def apply(data: bytearray, change: tuple[int, bytes | None]) -> None:
    at, new = change
    if new is None:
        del data[at:]
        data.extend(bytes(at - len(data)))
        return
    if len(data) < at:
        data.extend(bytes(at - len(data)))
    data[at : at + len(new)] = new


@dataclass(slots=True)
class Naming:
    """A change of a folder: a name made (for a file, or a folder where None), moved, or taken away."""

    folder: str
    kind: str
    path: str
    to: str = ""
    inode: Inode | None = None
    sure: bool = False


class Disk:
    """A disk as the calls left it, below one folder; `empty` if that was there before them, with nothing in it."""

    def __init__(self, root: str, *, empty: bool = False) -> None:
        self.root = root
        self.now: dict[str, Inode | None] = {root: None} if empty else {}
        self.namings = [Naming(str(Path(root).parent), "make", root, sure=True)] if empty else []
        self.offsets: dict[tuple[str, str], int] = {}

    def mine(self, path: str) -> bool:
        return path == self.root or path.startswith(f"{self.root}/")

    def take(self, call: Call) -> bool:
        """Carry one call out; whether it changed anything here."""
        if call.name in ("fsync", "fdatasync"):
            return self._sync(call.fds[0])
        if call.name in ("write", "pwrite64", "ftruncate") and call.fds and self.mine(call.fds[0]):
            return self._write(call)
        if call.name == "lseek" and call.fds:
            self.offsets[call.fds[0], call.flags.split("<")[0]] = call.back
            return False
        if call.words and call.name != "sendto":
            base = call.fds[0] if call.fds else "/"
            paths = [str(Path(base, word)) for word in call.words]
            if any(map(self.mine, paths)):
                return self._name(call, paths)
        return False

    def _sync(self, path: str) -> bool:
        if not self.mine(path) and path != str(Path(self.root).parent):
            return False
        inode = self.now.get(path)
        if inode is not None:
            inode.sync()
        for naming in self.namings:
            naming.sure = naming.sure or naming.folder == path
        return True

    def _write(self, call: Call) -> bool:
        path = call.fds[0]
        inode = self.now.get(path)
        if inode is None:
            return False
        if call.name == "ftruncate":
            inode.length = call.numbers[-1]
            inode.since.append((inode.length, None))
            return True
        key = (path, call.flags.split("<")[0])
        # A file that is appended to grows at its end; others were told where they are by lseek, or begin at 0.
        at = call.numbers[-1] if call.name == "pwrite64" else self.offsets.get(key, inode.length)
        data = call.data[: call.back]
        inode.since.append((at, data))
        inode.length = max(inode.length, at + len(data))
        if key in self.offsets:
            self.offsets[key] = at + len(data)
        return True

    def _name(self, call: Call, paths: list[str]) -> bool:
        path = paths[0]
        folder = str(Path(path).parent)
        if call.name in ("open", "openat", "creat"):
            if "O_CREAT" in call.flags and path not in self.now:
                inode = self.now[path] = Inode()
                self.namings.append(Naming(folder, "make", path, inode=inode))
                return True
            if "O_TRUNC" in call.flags and (there := self.now.get(path)) is not None:
                there.length = 0
                there.since.append((0, None))
                return True
            return False
        if call.name.startswith("mkdir"):
            self.now[path] = None
            self.namings.append(Naming(folder, "make", path))
        elif call.name.startswith("rename"):
            self.now[paths[1]] = self.now.pop(path)
            for name in [each for each in self.now if each.startswith(f"{path}/")]:
                self.now[paths[1] + name[len(path) :]] = self.now.pop(name)
            self.namings.append(Naming(folder, "move", path, to=paths[1]))
        elif call.name.startswith("link"):
            self.now[paths[1]] = self.now[path]
            self.namings.append(Naming(str(Path(paths[1]).parent), "make", paths[1], inode=self.now[path]))
        else:
            self.now.pop(path, None)
            self.namings.append(Naming(folder, "drop", path))
        return True

    def cut(self, into: Path, *, keep: str, chance: random.Random) -> None:
        """Make the folder as a power cut now would leave it: of what is not sure `keep` is none, all or some."""
        names: dict[str, Inode | None] = {}
        torn: set[str] = set()
        for naming in self.namings:
            if not naming.sure and (
                keep == "none" or naming.folder in torn or (keep == "some" and chance.random() < 0.3)
            ):
                torn.add(naming.folder)  # a folder's changes get to the disk in their order
                continue
            if naming.kind == "make":
                names[naming.path] = naming.inode
            elif naming.kind == "drop":
                names.pop(naming.path, None)
            elif naming.path in names:
                names[naming.to] = names.pop(naming.path)
                for name in [each for each in names if each.startswith(f"{naming.path}/")]:
                    names[naming.to + name[len(naming.path) :]] = names.pop(name)
        for name, inode in sorted(names.items()):
            path = into / Path(name).relative_to(Path(self.root).parent)
            if not path.parent.is_dir():
                continue  # its folder never got to the disk
            if inode is None:
                path.mkdir(mode=0o700)
            else:
                path.write_bytes(self._content(inode, keep=keep, chance=chance))
                path.chmod(0o600)

    def _content(self, inode: Inode, *, keep: str, chance: random.Random) -> bytes:
        data = bytearray(inode.sure)
        if keep == "none":
            return bytes(data)
        for at, new in inode.since:
            if keep == "all" or new is None:
                apply(data, (at, new))
                continue
            for first in range(0, len(new), SECTOR):
                if chance.random() < 0.5:
                    apply(data, (at + first, new[first : first + SECTOR]))
        return bytes(data)
