"""The files that jobs write their output to: two an attempt, found by number, used again where that is safe.

Making and removing two files a job costs as much as a third of starting it. A pair whose output is acknowledged
serves a later attempt, but only when the kernel confirms (by a lease, fcntl(2)) that no process can write to it any
more: what a daemon of one job still writes must never show up in another's output.
"""

import errno
import fcntl
import os
import resource
import stat

#: Unused pairs that are kept for later attempts.
KEEP = 256
#: A file longer than this is removed and not used again.
LONG = 256 << 10
#: Files that other parts of the runner need, and those of starts that are being made.
ELSEWHERE = 160

#: A job may have put something else in a file's place: no link is followed, and no pipe is waited for.
SAFE = os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0)
READ = os.O_RDONLY | SAFE
WRITE = os.O_WRONLY | os.O_APPEND | SAFE
MAKE = WRITE | os.O_CREAT | os.O_TRUNC
NO_FILE = (errno.ELOOP, errno.ENXIO, errno.EISDIR)
STREAMS = ("out", "err")


class Pair:
    """The two files of one attempt, in the spool, by number; `fds` are open for reading, or -1."""

    __slots__ = ("fds", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.fds = [-1, -1]

    def name(self, stream: int) -> str:
        """The name of a stream's file in the spool."""
        return "%d.%s" % (self.number, STREAMS[stream])


class Files:
    """All output files of a spool. `used` are the numbers of those that hold what is not acknowledged."""

    def __init__(self, path: str, used: "set[int]") -> None:
        self.folder = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.last = max(used) if used else 0
        self.free = []  # type: list[Pair]
        self.open = 0
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.limit = 4096 if limit < 0 else max(16, min(limit - ELSEWHERE, 4096))
        self.leases = hasattr(fcntl, "F_SETLEASE")
        for name in os.listdir(path):
            number, _, end = name.partition(".")
            if end in STREAMS and number.isdigit() and int(number) not in used:
                self.unlink(name)

    def unlink(self, name: str) -> None:
        """Remove a file of the spool, if it is there."""
        try:
            os.unlink(name, dir_fd=self.folder)
        except OSError:
            pass

    def take(self) -> "tuple[Pair, int, int]":
        """A pair of empty files, and both open for appending. Raises OSError."""
        while True:
            used = bool(self.free)
            if not used:
                self.last += 1
            pair = self.free.pop() if used else Pair(self.last)
            try:
                return (pair, *self.writers(pair, WRITE if used else MAKE))
            except OSError as error:
                self.discard(pair)
                if error.errno not in NO_FILE and not (used and error.errno == errno.ENOENT):
                    raise

    def writers(self, pair: Pair, flags: int) -> "tuple[int, int]":
        """Open both files to append to. Raises OSError."""
        made = []  # type: list[int]
        try:
            for stream in (0, 1):
                made.append(os.open(pair.name(stream), flags, 0o600, dir_fd=self.folder))
                os.set_blocking(made[stream], True)
            return made[0], made[1]
        except OSError:
            for fd in made:
                os.close(fd)
            raise

    def fd(self, pair: Pair, stream: int) -> int:
        """A stream's file, open for reading. Raises OSError when it is gone."""
        fd = pair.fds[stream]
        if fd < 0:
            fd = pair.fds[stream] = os.open(pair.name(stream), READ, dir_fd=self.folder)
            self.open += 1
        return fd

    def size(self, pair: Pair, stream: int) -> int:
        """The length of a stream's file in bytes; 0 when it is gone."""
        try:
            return os.fstat(self.fd(pair, stream)).st_size
        except OSError:
            return 0

    def gone(self, pair: Pair, stream: int) -> bool:
        """Whether a stream's file is not there any more, or is none."""
        try:
            return not stat.S_ISREG(os.fstat(self.fd(pair, stream)).st_mode)
        except OSError:
            return True

    def read(self, pair: Pair, stream: int, offset: int, size: int) -> bytes:
        """A piece of a stream's file; shorter when there is no more, or it is gone."""
        try:
            return os.pread(self.fd(pair, stream), size, offset)
        except OSError:
            return b""

    def cut(self, pair: Pair, stream: int, size: int) -> None:
        """Give back the disk space beyond `size` bytes of a stream."""
        try:
            fd = os.open(pair.name(stream), os.O_WRONLY | SAFE, dir_fd=self.folder)
        except OSError:
            return
        try:
            os.ftruncate(fd, size)
        except OSError:
            pass
        finally:
            os.close(fd)

    def rest(self, pair: Pair) -> None:
        """Close what is open of a pair, if too many are."""
        if self.open > self.limit:
            self.shut(pair)

    def shut(self, pair: Pair) -> None:
        """Close what is open of a pair."""
        for stream, fd in enumerate(pair.fds):
            if fd >= 0:
                os.close(fd)
                pair.fds[stream] = -1
                self.open -= 1

    def release(self, pair: Pair) -> None:
        """The pair's output is needed no more: empty it for a later attempt, or remove it."""
        if len(self.free) < KEEP and self.open <= self.limit and self.empty(pair):
            self.free.append(pair)
        else:
            self.discard(pair)

    def discard(self, pair: Pair) -> None:
        """Remove a pair."""
        self.shut(pair)
        self.unlink(pair.name(0))
        self.unlink(pair.name(1))

    def empty(self, pair: Pair) -> bool:
        """Empty both files if nobody else can write to them; whether that was so."""
        if not self.leases:
            return False
        try:
            for stream in (0, 1):
                fd = self.fd(pair, stream)
                # A read lease is granted only while no process has the file open for writing.
                fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
                fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
                facts = os.fstat(fd)
                if facts.st_size > LONG or facts.st_nlink != 1:
                    return False
                if facts.st_size:
                    # Truncated by an open of its own: ext4 writes a file out at once that was truncated and written
                    # to through the same one.
                    os.close(os.open(pair.name(stream), WRITE | os.O_TRUNC, dir_fd=self.folder))
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.EOPNOTSUPP, errno.EACCES, errno.EPERM, errno.ENOLCK):
                self.leases = False  # this file system knows none
            return False
        return True
