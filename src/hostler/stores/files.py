"""Writing files of ours in a way that can be repeated: at known places, private, and told apart when a disk is full.

It must never append by the file's own end: a write that failed half-way would then be doubled by the next try.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from hostler.errors import StoreError, StoreFull

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def private_folder(path: Path) -> None:
    """Make a folder and its missing parents, 0700 whatever the umask; one that exists is left as it is."""
    missing = [part for part in (path, *path.parents) if not part.exists()]
    for part in reversed(missing):
        try:
            part.mkdir(mode=0o700)
        except FileExistsError:
            continue
        part.chmod(0o700)
    if not path.is_dir():
        raise NotADirectoryError(20, "not a folder", str(path))


def make_folder(path: Path) -> None:
    """Make a private folder beneath the state folder. Raises StoreFull, StoreError."""
    try:
        private_folder(path)
    except OSError as error:
        raise trouble(error, path) from error


def open_private(path: Path, *, flags: int = os.O_RDWR) -> int:
    """Open a file of ours for writing, making it 0600 whatever the umask. Raises StoreFull, StoreError."""
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
            os.fchmod(fd, 0o600)
            return fd
    except OSError as error:
        raise trouble(error, path) from error


def write_at(fd: int, data: bytes | bytearray | memoryview, offset: int, *, path: Path) -> None:
    """Write all of `data` at `offset`. Raises StoreFull, StoreError; the same call may be made again."""
    view = memoryview(data)
    try:
        while view:
            done = os.pwrite(fd, view, offset)
            view, offset = view[done:], offset + done
    except OSError as error:
        raise trouble(error, path) from error


def sync_file(path: Path) -> None:
    """Make a file's bytes durable; a file that is gone needs nothing. Raises StoreFull, StoreError."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    except OSError as error:
        raise trouble(error, path) from error
    try:
        os.fdatasync(fd)
    except OSError as error:
        raise trouble(error, path) from error
    finally:
        os.close(fd)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable. Raises StoreFull, StoreError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise trouble(error, path) from error


def trouble(error: OSError, path: Path) -> StoreError:
    """An operating system's complaint about a file of ours, in our words."""
    if error.errno in _FULL:
        return StoreFull(f"{path}: can't be written for the moment ({error.strerror}); make room on its disk")
    return StoreError(
        f"{path}: {error.strerror or error}; see who owns it, or set HOSTLER_STATE_DIR to a folder of yours"
    )
