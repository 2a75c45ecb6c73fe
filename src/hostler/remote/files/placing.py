"""Folders held open beneath a root, and files put in their places there: a name never leads out through a link.

Files are made durable and renamed some at a time: the old or the new one is there, never a part.
"""

import errno
import os
import stat

from hostler.remote.files.framing import checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

HELD = 64
#: Files that wait for their names, and bytes of theirs.
FILES, SIZE = 128, 16 << 20
INTO = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | getattr(os, "O_NOFOLLOW", 0)
#: From so many files on one call for the whole disk is quicker than one for each.
MANY = 8


class Folders:
    """The folders beneath `root`, which must be there; a part of its name may be a link, none beneath it."""

    def __init__(self, root: bytes) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        self._held: "dict[bytes, int]" = {b"": self._root}

    def at(self, path: bytes) -> int:
        """A descriptor of a folder, good until the next call. Raises OSError, ValueError."""
        held = self._held
        names, above = [], path
        while above not in held:  # not by recursion: a host may send names of a thousand folders
            above, _, name = checked(above).rpartition(b"/")
            names.append(name)
        fd = held[above]
        while names:
            if len(held) >= HELD:
                self._drop([each for each in held if each and each != above])
            name = names.pop()
            fd = os.open(name, INTO, dir_fd=fd)
            above = above + b"/" + name if above else name
            held[above] = fd
        return fd

    def split(self, path: bytes) -> "tuple[int, bytes]":
        """The folder that a name is in, and the name there. Raises OSError, ValueError."""
        above, _, name = checked(path).rpartition(b"/")
        if not name:
            raise ValueError("the root has no name here")
        return self.at(above), name

    def forget(self, path: bytes) -> None:
        """Let go of a folder and what is beneath it: it goes, or something else comes in its place."""
        self._drop([each for each in self._held if each == path or each.startswith(path + b"/")])

    def close(self) -> None:
        """Let go of all."""
        self._drop(list(self._held))

    def _drop(self, paths: "list[bytes]") -> None:
        for path in paths:
            os.close(self._held.pop(path))


class Placing:
    """Whole files that wait for their names. `failed` hears of (path, error), `placed` of how many and their bytes."""

    def __init__(
        self,
        folders: Folders,
        durable: bool,
        failed: "Callable[[bytes, OSError], None]",
        placed: "Callable[[int, int], None]",
    ) -> None:
        self._folders, self._durable, self._failed, self._placed = folders, durable, failed, placed
        self._waiting: "list[tuple[bytes, bytes, int, int]]" = []
        self._size = 0
        self._touched: "set[bytes]" = set()

    def add(self, path: bytes, part: bytes, fd: int, size: int) -> None:
        """Have a whole file, open as `fd` and called `part` in its folder, put in its place soon."""
        self._waiting.append((path, part, fd, size))
        self._size += size
        if len(self._waiting) >= FILES or self._size >= SIZE:
            self.flush()

    def flush(self) -> None:
        """Put all that waits in its place."""
        waiting, self._waiting, self._size = self._waiting, [], 0
        if self._durable and waiting:
            bad = synced([fd for _, _, fd, _ in waiting])
        else:
            bad = {}
        count = size = 0
        for path, part, fd, length in waiting:
            try:
                if fd in bad:
                    raise bad[fd]
                above, name = self._folders.split(path)
                os.rename(part, name, src_dir_fd=above, dst_dir_fd=above)
                self._touched.add(path.rpartition(b"/")[0])
                count += 1
                size += length
            except OSError as error:
                self._failed(path, error)
                self.remove(path, part)
            finally:
                os.close(fd)
        if count:
            self._placed(count, size)

    def remove(self, path: bytes, part: bytes) -> None:
        """Remove an unfinished file, if it is there."""
        try:
            above, _ = self._folders.split(path)
            os.unlink(part, dir_fd=above)
        except (OSError, ValueError):
            pass

    def touch(self, path: bytes) -> None:
        """Have the folder of a name made durable in the end."""
        self._touched.add(path.rpartition(b"/")[0])

    def finish(self) -> None:
        """Put all in its place, and make the names durable."""
        self.flush()
        if not self._durable:
            return
        touched, self._touched = sorted(self._touched), set()
        if len(touched) > MANY and whole_disk(self._folders.at(b"")):
            return
        for path in touched:
            try:
                os.fsync(self._folders.at(path))
            except OSError:
                pass  # it has gone since, or is of a kind that can't


def synced(fds: "list[int]") -> "dict[int, OSError]":
    """Make files durable; the errors of those that could not be."""
    if len(fds) > MANY and whole_disk(fds[0]):
        return {}
    bad = {}
    for fd in fds:
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno != errno.EINVAL:
                bad[fd] = error
    return bad


def whole_disk(fd: int) -> bool:
    """Have the file system of `fd` write what it holds (syncfs(2)); False where it can't be asked to."""
    try:
        import ctypes

        return ctypes.CDLL(None).syncfs(fd) == 0  # type: ignore[no-any-return]
    except (ImportError, OSError, AttributeError):
        return False


def ours(fd: int) -> "os.stat_result | None":
    """The facts of an open file, if it is a plain one of ours with one name only."""
    found = os.fstat(fd)
    good = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1
    return found if good else None
