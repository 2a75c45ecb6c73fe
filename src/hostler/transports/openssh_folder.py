"""Where the ssh programs of one transport keep their sockets: a private folder with a short name, gone with it.

A socket's path may have 108 bytes, of which ssh wants 17 for itself. It must never be readable by others, nor hold a
secret: those travel from our memory through a socket (`openssh_asking`).
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hostler.transports.logins import Secrets
from hostler.transports.openssh_asking import Asking, helper

PREFIX = "hostler-ssh-"
ROOM = 50  # bytes that the name of the place of our folder may have
PLAIN = re.compile(r"/[A-Za-z0-9_./-]*\Z")


class Place:
    """What belongs to one line: its control socket, the file of keys that it may trust, its questions."""

    def __init__(self, stem: str, asking: Asking) -> None:
        self.control, self.known = stem, Path(f"{stem}.k")
        self.asking = asking

    def remove(self) -> None:
        """Remove it all."""
        self.asking.close()
        for path in (self.control, self.known):
            with suppress(OSError):
                os.unlink(path)


class Folder:
    """The folder, made when the first line needs it."""

    def __init__(self, state: Path, secrets: Secrets) -> None:
        self._state, self._secrets = state, secrets
        self._path: Path | None = None
        self._helper: Path | None = None
        self._last = 0

    async def place(self, names: frozenset[str]) -> Place:
        """A place for one more line, to a host of these names. Raises OSError."""
        folder = self._made()
        self._last += 1
        stem = str(folder / str(self._last))
        asking = Asking(self._secrets, f"{stem}.a", names)
        if self._secrets.any():
            if self._helper is None or not self._helper.exists():
                self._helper = helper([folder, self._state])
            await asking.listen(self._helper)
        return Place(stem, asking)

    def config(self, files: Sequence[Path] | None) -> list[str]:
        """The words that tell ssh which configuration files to read; None leaves it to its own."""
        if files is None:
            return []
        if len(files) < 2:
            return ["-F", str(files[0].absolute()) if files else "none"]
        both = self._made() / "config"
        both.write_text("".join(f'Include "{path.absolute()}"\n' for path in files))
        return ["-F", str(both)]

    def close(self) -> None:
        """Remove the folder."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
        if self._helper is not None:
            self._helper.unlink(missing_ok=True)
        self._path = self._helper = None

    def _made(self) -> Path:
        if self._path is None:
            base = _base()
            _sweep(base)
            self._path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=base))
        return self._path


def _base() -> Path:
    for name in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir()):
        if (
            name
            and len(name) <= ROOM
            and PLAIN.match(name)
            and os.access(name, os.W_OK | os.X_OK)
            and _ours(name)
        ):
            return Path(name)
    return Path("/tmp")


def _ours(name: str) -> bool:
    """Whether nobody else can put a folder of theirs in the place of one that we make there."""
    facts = os.stat(name)
    shared = facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not facts.st_mode & stat.S_ISVTX
    return facts.st_uid in (0, os.getuid()) and not shared


def _sweep(base: Path) -> None:
    """Remove what processes of ours that were killed have left."""
    if not Path("/proc/self").exists():
        return
    for path in base.glob(f"{PREFIX}*"):
        number = path.name.removeprefix(PREFIX).partition("-")[0]
        with suppress(OSError):
            ours = path.lstat().st_uid == os.getuid()
            if ours and number.isdigit() and not Path(f"/proc/{number}").exists():
                shutil.rmtree(path, ignore_errors=True)
