"""The power cut: what the controller's disk would hold had the machine gone dark after any of its calls.

One run is written down by strace: every write, sync, new name and removal below its state folder, in their order.
From that each disk is made anew: what was synced is there; of what was not, nothing, all, or by chance some, torn at
sectors. A new name is sure only once its folder was synced. Whatever had been printed by then (the run's number, a
job's line in the job log) must be on that disk, and the real command must read it.

It must never believe more of a disk than POSIX promises; that ours usually keeps more is no proof.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.command import Hostler
from tests.faults.frame import Tally, Trial, fault
from tests.faults.injecting import need_strace
from tests.lab import Lab

#: What can't be torn, in bytes.
SECTOR = 512
JOBS = 6
CALLS = (
    "open", "openat", "creat", "close", "write", "pwrite64", "ftruncate", "rename", "renameat", "renameat2", "link",
    "linkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "fsync", "fdatasync", "lseek",
)  # fmt: skip

_LINE = re.compile(r"(\d+) +(.*)", re.DOTALL)
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)")
_TEXT = r'"((?:\\x[0-9a-f]{2})*)"'
_FD = re.compile(r"(?:AT_FDCWD|\d+)<((?:\\x[0-9a-f]{2}|[^>])*)>")


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _plain(text: str) -> str:
    return _bytes(text).decode("utf-8", "surrogateescape") if text.startswith("\\x") else text


@dataclass(frozen=True, slots=True)
class Call:
    """One call: its name, the paths in it (of descriptors and in words), data, the numbers at its end, its answer."""

    name: str
    fds: tuple[str, ...]
    words: tuple[str, ...]
    data: bytes
    numbers: tuple[int, ...]
    flags: str
    back: int


def calls(log: Path) -> Iterator[Call]:
    """What strace wrote, a call at a time, where each returned."""
    begun: dict[str, str] = {}
    for line in log.read_text(errors="surrogateescape").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        pid, text = match.groups()
        if text.endswith("<unfinished ...>"):
            begun[pid] = text.removesuffix("<unfinished ...>").rstrip()
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", text, re.DOTALL):
            text = begun.pop(pid, "") + resumed[1]
        found = _CALL.match(text)
        if found is None or int(found[3]) < 0:
            continue
        inside = found[2]
        texts = re.findall(_TEXT, inside)
        words = tuple(_bytes(each).decode("utf-8", "surrogateescape") for each in texts)
        rest = re.sub(_TEXT, "", inside)
        yield Call(
            name=found[1],
            fds=tuple(_plain(each) for each in _FD.findall(inside)),
            words=words,
            data=_bytes(texts[0]) if texts else b"",
            numbers=tuple(int(each) for each in re.findall(r"(?<![\w<])(\d+)(?![\w>])", _FD.sub("", rest))),
            flags=rest,
            back=int(found[3]),
        )


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
    """A disk as the calls left it, below one folder."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.now: dict[str, Inode | None] = {}
        self.namings: list[Naming] = []
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
        if call.words:
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


@dataclass(slots=True)
class Told:
    """What had been printed by a moment: whether the run's number was, and the jobs in the job log with their codes."""

    number: bool = False
    ended: dict[int, int] = field(default_factory=dict)

    def hear(self, call: Call) -> None:
        if call.name != "write" or not call.fds:
            return
        if call.fds[0].endswith("/err") and b"batch 1:" in call.data:
            self.number = True
        if call.fds[0].endswith("/joblog"):
            for line in call.data.decode().splitlines():
                columns = line.split("\t")
                if columns[0].isdigit():
                    self.ended[int(columns[0])] = int(columns[6])


def record(folder: Path, lab: Lab) -> list[Call]:
    """Play one run under strace; its calls."""
    log, state = folder / "trace", folder / "state"
    strace = ["strace", "-f", "-qq", "-e", "signal=none", "-y", "-xx", "-s", "300000", "-o", str(log)]
    hostler = Hostler(folder, lab)
    hostler.within = (*strace, "-e", f"trace={','.join(f'?{call}' for call in CALLS)}")
    with (folder / "err").open("wb") as err:
        done = hostler.start(
            "batch", "--transport", "local", "--hosts", "localhost", "-j", "2", "--joblog", str(folder / "joblog"),
            "--", "echo said {}; exit {}", ":::", *map(str, range(JOBS)), stderr=err.fileno(),
        ).wait(120)  # fmt: skip
    assert done.code == 1, (folder / "err").read_text()
    assert (state / "store.db").exists()
    return list(calls(log))


def wrongs(hostler: Hostler, told: Told) -> tuple[list[str], list[str]]:
    """What is lost and what is wrong on a disk, held against what was told."""
    runs = hostler("runs", "--json")
    if runs.code != 0:
        return [], [f"the store can't be read: {runs.err.strip()}"]
    rows = json.loads(runs.out)
    if not rows:
        return (["the run whose number was printed"], []) if told.number else ([], [])
    lost, wrong = [], []
    if sum(rows[0]["counts"].values()) != JOBS:
        lost.append(f"jobs: {rows[0]['counts']} of {JOBS}")
    log = hostler("log", "1", "--json")
    if log.code != 0:
        return lost, [f"its log can't be read: {log.err.strip()}"]
    ended = {each["job"]: each["code"] for each in json.loads(log.out) if each["ending"]}
    lost += [f"the end of job {job}" for job in told.ended.keys() - ended.keys()]
    wrong += [f"job {job}: code {code}, not {job - 1}" for job, code in ended.items() if code != job - 1]
    for job in list(ended)[-2:]:
        text = hostler("log", "1", str(job))
        if text.out != b"said %d\n" % (job - 1):
            wrong.append(f"output of job {job}: {text.out!r} {text.err.strip()!r}")
    return lost, wrong


@fault("power cut at the controller", full=400.0)
def power(trial: Trial) -> Iterator[Tally]:
    """Cut the power after each call that changed the disk; keep nothing, all, or some of what was not synced."""
    need_strace()
    played = trial.folder / "played"
    played.mkdir()
    with Lab(path=trial.folder / "lab") as lab:
        recorded = record(played, lab)
        state = str(played / "state")
        moments = moments_of(recorded, state)
        tried = trial.pick([(n, keep) for n in moments for keep in ("none", "some", "all")], sample=6)
        done = 0
        for disk, told, n in replay(recorded, state, sorted({n for n, _ in tried})):
            for keep in [each for at, each in tried if at == n]:
                if trial.left < 0 and done:
                    return
                place = trial.folder / f"cut{n}-{keep}"
                place.mkdir()
                disk.cut(place, keep=keep, chance=trial.chance)
                lost, wrong = wrongs(Hostler(place, lab), told)
                done += 1
                evidence = [
                    f"after call {n} of {len(recorded)}, {keep} of the rest kept: {each}"
                    for each in lost + wrong
                ]
                yield Tally(
                    tries=1,
                    lost=len(lost),
                    wrong=len(wrong),
                    note=f"{done} of {3 * len(moments)} disks",
                    evidence=tuple(evidence),
                )
                if not evidence:
                    shutil.rmtree(place)


def moments_of(recorded: Sequence[Call], state: str) -> list[int]:
    """After which calls the disk is another one."""
    disk = Disk(state)
    return [n for n, call in enumerate(recorded) if disk.take(call)]


def replay(recorded: Sequence[Call], state: str, moments: Sequence[int]) -> Iterator[tuple[Disk, Told, int]]:
    """The disk, and what had been told, after each of these calls."""
    disk, told, wanted = Disk(state), Told(), set(moments)
    for n, call in enumerate(recorded):
        disk.take(call)
        told.hear(call)
        if n in wanted:
            yield disk, told, n
