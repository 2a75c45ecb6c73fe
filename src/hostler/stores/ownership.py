"""One owner per run: a file lock that the kernel drops when its holder dies, however it dies.

The lock says whether an owner lives, the epoch in the run's row which owner it is. It must never be decided by the
age of a file or by a process number, and the lock file is never deleted: two could then hold "it".
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

# A look at a lock holds it, shared, for some microseconds. Whoever wants it must not take that for an owner and tries
# this often, this many seconds apart.
TRIES = 4
PAUSE = 0.02
#: Seconds between two signs of life of an owner.
BEAT = 10.0


class RunLock:
    """The lock of one run, held from `take` until `drop` or the end of the process."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._fd: int | None = None
        self._before: float | None = None

    @property
    def last_seen(self) -> float | None:
        """A moment by which the last owner had died, seconds since the epoch: at most a BEAT after it did.

        After a power cut the file's time may be an older one, but then that owner died before this machine's boot.
        None when nothing is known, or while the lock isn't held.
        """
        if self._before is None:
            return None
        now = time.time()
        booted = now - time.clock_gettime(time.CLOCK_BOOTTIME)
        return min(now, max(self._before + BEAT, booted))

    def beat(self) -> None:
        """Leave a sign of life for the next owner. Raises OSError."""
        if self._fd is not None:
            os.utime(self._fd)

    def take(self) -> bool:
        """Take the lock if nobody has it; says whether it is ours now."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._fd, self._before = fd, os.fstat(fd).st_mtime
        self.beat()
        return True

    def drop(self) -> None:
        """Let go of the lock; harmless when it isn't held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def owner_lives(folder: Path) -> bool:
    """Whether some process holds the lock of the run whose folder this is."""
    try:
        fd = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def silent(folder: Path) -> float | None:
    """Seconds since the owner of the run in this folder gave its last sign of life; None if there never was one."""
    try:
        return max(0.0, time.time() - (folder / "lock").stat().st_mtime)
    except FileNotFoundError:
        return None
