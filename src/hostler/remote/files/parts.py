"""Files that are not whole yet, and single names in an open folder: made, locked, linked, amended, swept.

All of it goes by a folder's descriptor and a name in it; no link is followed, and what somebody else laid is not used.
"""

import errno
import fcntl
import os
import stat

from hostler.remote.files.framing import SUFFIX, part_of
from hostler.remote.files.placing import ours
from hostler.remote.files.walking import READING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import _Hash

NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
OLD = os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0)


class Incoming:
    """The one file that is coming in."""

    def __init__(self, path: bytes, part: bytes, fd: int, mode: int, size: int, mtime: int) -> None:
        self.path, self.part, self.fd = path, part, fd
        self.mode, self.size, self.mtime = mode, size, mtime
        self.at = 0
        self.made: "_Hash | None" = None


def open_part(above: int, part: bytes, name: bytes, offset: int) -> "tuple[int, bytes]":
    """The file that `name` is until it is whole, locked, at `offset`. Raises OSError."""
    if offset:
        fd = _kept(above, part, offset)
        if fd is None:
            raise OSError(errno.EBUSY, "what was kept of it is in use; it is sent anew the next time")
        return fd, part
    fd = _new(above, part)
    if fd is None:
        fd = _kept(above, part, 0)
    for _ in range(9):  # somebody else is sending the same at this moment, or has laid something there
        if fd is not None:
            return fd, part
        part = part_of(name) + os.urandom(8).hex().encode() + SUFFIX
        fd = _new(above, part)
    raise OSError(errno.EBUSY, "others take its place away again and again")


def _new(above: int, part: bytes) -> "int | None":
    """A new file, locked; None where there is one, or somebody was at it before it was locked. Raises OSError."""
    try:
        fd = os.open(part, NEW, 0o600, dir_fd=above)
    except FileExistsError:
        return None
    if _locked(fd, above, part):
        return fd
    os.close(fd)
    return None


def _locked(fd: int, above: int, part: bytes) -> bool:
    """Lock an open file; whether that worked and it still is what its name says.

    Whoever renames or removes a part holds its lock, so what was opened just before may be the whole file by now.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        there = os.stat(part, dir_fd=above, follow_symlinks=False)
    except OSError:
        return False
    mine = os.fstat(fd)
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


def _kept(above: int, part: bytes, offset: int) -> "int | None":
    """What is there of a file, cut to `offset`; None where it isn't ours alone."""
    try:
        fd = os.open(part, OLD, dir_fd=above)
    except OSError:
        return None
    try:
        found = ours(fd) if _locked(fd, above, part) else None
        if found is not None and found.st_size >= offset:
            os.ftruncate(fd, offset)
            os.lseek(fd, offset, os.SEEK_SET)
            return fd
    except OSError:
        pass
    os.close(fd)
    return None


def point(above: int, name: bytes, target: bytes, mtime: int) -> None:
    """A link, in the place of whatever but a folder is there."""
    part = part_of(name) + os.urandom(8).hex().encode() + SUFFIX
    os.symlink(target, part, dir_fd=above)
    try:
        os.utime(part, ns=(mtime, mtime), dir_fd=above, follow_symlinks=False)
        os.rename(part, name, src_dir_fd=above, dst_dir_fd=above)
    except BaseException:
        os.unlink(part, dir_fd=above)
        raise


def amend(above: int, name: bytes, mode: int, mtime: int) -> None:
    """The rights and the time of a file that is as it should be otherwise."""
    try:
        fd = os.open(name, READING, dir_fd=above)
    except PermissionError:  # ours, and not to be read even by us
        if not stat.S_ISREG(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
            raise
        os.chmod(name, mode, dir_fd=above)
        os.utime(name, ns=(mtime, mtime), dir_fd=above, follow_symlinks=False)
        return
    try:
        os.fchmod(fd, mode)
        os.utime(fd, ns=(mtime, mtime))
    finally:
        os.close(fd)


def sweep(above: int, name: bytes) -> None:
    """Remove what a cut transfer left, unless somebody is at it."""
    fd = os.open(name, OLD, dir_fd=above)
    try:
        if _locked(fd, above, name):
            os.unlink(name, dir_fd=above)
    finally:
        os.close(fd)
