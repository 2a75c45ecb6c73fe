"""Where the private half of a run's session key lies while the run does: a folder of its own in the state folder.

It must never be readable by anybody else, whatever the umask, and never be written through a link.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

#: The folder of all runs' keys, in the state folder.
FOLDER = "session-keys"
DAY = 86400.0
OURS = os.O_NOFOLLOW | os.O_CLOEXEC


class Kept(Struct):
    """What was done on one host: its key is let in `until` (seconds since the epoch, by our clock).

    `made` when its authorized_keys was made for it; `good` when the key has let us in.
    """

    until: float
    made: bool = False
    good: bool = False


class SessionFolder:
    """One run's: the key, and on which hosts it may be let in."""

    def __init__(self, state: Path, uid: str) -> None:
        self.path = state / FOLDER / uid
        self.key = self.path / "key"

    def public(self, *, make: bool) -> str | None:
        """The public half, type and bytes; of a new pair where there is none and one may be made. Raises OSError."""
        import asyncssh

        with suppress(OSError, ValueError, asyncssh.KeyImportError):
            return _half(asyncssh.read_private_key(str(self.key)))
        if not make:
            return None
        for folder in (self.path.parent, self.path):
            folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.lstat()
            if folder.is_symlink() or found.st_uid != os.geteuid():
                raise PermissionError(1, "not a folder of our own", str(folder))
            folder.chmod(0o700)
        key = asyncssh.generate_private_key("ssh-ed25519")
        # The public half stands beside it: an older ssh program wants to read that.
        self._write("key.pub", _half(key).encode() + b"\n")
        self._write("key", key.export_private_key())
        return _half(key)

    def hosts(self) -> dict[str, Kept]:
        """What was noted, by the hosts' names: of each the last."""
        found: dict[str, Kept] = {}
        try:
            lines = (self.path / "hosts").read_bytes().splitlines()
        except OSError:
            return found
        for line in lines:
            with suppress(ValueError, TypeError):  # the end of a line may be missing
                name, until, made, good = json.loads(line)
                found[str(name)] = Kept(float(until), bool(made), bool(good))
        return {name: on for name, on in found.items() if on.until}

    def note(self, name: str, on: Kept | None) -> None:
        """Write down how it is on a host, None for nothing there. Raises OSError."""
        on = on or Kept(0.0)
        line = json.dumps([name, on.until, on.made, on.good]).encode() + b"\n"
        fd = os.open(self.path / "hosts", os.O_WRONLY | os.O_CREAT | os.O_APPEND | OURS, 0o600)
        with open(fd, "wb", buffering=0) as file:
            os.fchmod(fd, 0o600)
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def remove(self) -> None:
        """Remove all of it; never raises."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _write(self, name: str, data: bytes) -> None:
        new = self.path / f"{name}.new"
        new.unlink(missing_ok=True)
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | OURS, 0o600)
        with open(fd, "wb") as file:
            os.fchmod(fd, 0o600)
            file.write(data)
        new.replace(self.path / name)


def sweep(state: Path, *, now: float) -> None:
    """Remove the keys of runs that no host lets in any more: their controllers were killed, and nobody came back."""
    for path in (state / FOLDER).glob("*"):
        folder = SessionFolder(state, path.name)
        with suppress(OSError):
            last = max([on.until for on in folder.hosts().values()], default=path.stat().st_mtime)
            if last + DAY < now:
                folder.remove()


def _half(key: object) -> str:
    import asyncssh

    assert isinstance(key, asyncssh.SSHKey)
    kind, text = key.export_public_key().decode().split()[:2]
    return f"{kind} {text}"
