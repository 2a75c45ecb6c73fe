"""Where text leaves us: bytes for file descriptors, in order, written without anybody waiting for a slow reader.

A pager that nobody scrolls or a terminal stopped by Ctrl-S must not stop the run, whose leases would end. So a
thread writes what can block, and what piles up meanwhile is kept on disk. It must never raise for a failed write:
the first failure of a descriptor is kept in `failed`, and what comes after it is dropped. Nor for a text that can't
be read: the first such failure is kept in `unread`.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import IO

from msgspec import Struct

PIECE = 1 << 16


class _Spooled(Struct, frozen=True):
    """Bytes that wait in the spool file."""

    offset: int
    size: int


Text = bytes | Iterable[bytes]


def may_block(fd: int) -> bool:
    """Whether a write to `fd` may wait for a reader: a terminal, a pipe or a socket, unlike a file or /dev/null."""
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and (not stat.S_ISCHR(mode) or os.isatty(fd))


class Outlet:
    """One ordered way out, for one descriptor or for several that end on the same screen.

    `most` is how many bytes it holds in memory before it puts them on disk, in `folder`.
    """

    def __init__(self, *, waits: bool, most: int = 8 << 20, folder: str | None = None) -> None:
        self.failed: dict[int, OSError] = {}
        self.unread: OSError | None = None
        self._waits, self._most, self._folder = waits, most, folder
        self._fresh: list[tuple[int, Text]] = []
        self._queue: deque[tuple[int, Text | _Spooled]] = deque()
        self._turn = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._held = 0  # bytes of the queue that are in memory
        self._owed = 0  # bytes of the queue altogether; a stream of unknown length counts as one
        self._spool: IO[bytes] | None = None
        self._spooled = 0  # bytes of the queue that are on disk

    @property
    def backlog(self) -> int:
        """Bytes that were flushed and have not been written yet."""
        return self._owed

    def put(self, fd: int, text: Text) -> None:
        """Add text, to leave at the next flush; an iterable is read only when its turn has come, off this thread."""
        self._fresh.append((fd, text))

    def flush(self) -> None:
        """Let go of all that was put. Returns at once where a reader might keep us waiting."""
        fresh, self._fresh = self._fresh, []
        if not fresh:
            return
        if not self._waits:
            for fd, text in _joined(fresh):
                self._write(fd, text)
            return
        with self._turn:
            for fd, text in _joined(fresh):
                self._queue.append((fd, text))
                self._held += len(text) if isinstance(text, bytes) else 0
                self._owed += _size(text)
            if self._held > self._most:
                self._put_on_disk()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="hostler-outlet", daemon=True)
                self._thread.start()
            self._turn.notify()

    def close(self) -> None:
        """Write all that is left, waiting for the reader however long it takes."""
        self.flush()
        if self._thread is not None:
            with self._turn:
                self._closing = True
                self._turn.notify()
            self._thread.join()
        if self._spool is not None:
            self._spool.close()

    def _work(self) -> None:
        while True:
            with self._turn:
                while not self._queue and not self._closing:
                    self._turn.wait()
                if not self._queue:
                    return
                fd, text = self._queue.popleft()
                if isinstance(text, bytes):
                    self._held -= len(text)
            if isinstance(text, _Spooled):
                self._write(fd, self._read(text))
            else:
                self._write(fd, text)
            with self._turn:
                self._owed -= _size(text)
                if isinstance(text, _Spooled):
                    self._spooled -= text.size
                    if self._spool is not None and not self._spooled:
                        self._spool.truncate(0)

    def _put_on_disk(self) -> None:
        """Move the bytes of the queue to the spool; where there is no room for them, they stay in memory."""
        try:
            if self._spool is None:
                self._spool = tempfile.TemporaryFile(buffering=0, dir=self._folder)  # noqa: SIM115
            moved: deque[tuple[int, Text | _Spooled]] = deque()
            for fd, text in self._queue:
                if not isinstance(text, bytes):
                    moved.append((fd, text))
                    continue
                offset = self._spool.seek(0, os.SEEK_END)
                _write_all(self._spool.fileno(), text)
                moved.append((fd, _Spooled(offset, len(text))))
        except OSError:
            return
        self._spooled += self._held
        self._queue, self._held = moved, 0

    def _read(self, spooled: _Spooled) -> Iterator[bytes]:
        assert self._spool is not None
        offset, end = spooled.offset, spooled.offset + spooled.size
        while offset < end:
            piece = os.pread(self._spool.fileno(), min(PIECE, end - offset), offset)
            if not piece:
                return
            yield piece
            offset += len(piece)

    def _write(self, fd: int, text: Text) -> None:
        if fd in self.failed:
            return
        try:
            if isinstance(text, bytes):
                _write_all(fd, text)
            else:
                for piece in self._pieces(text):
                    _write_all(fd, piece)
        except OSError as error:
            self.failed[fd] = error

    def _pieces(self, text: Iterable[bytes]) -> Iterator[bytes]:
        try:
            yield from text
        except OSError as error:
            self.unread = self.unread or error


def _size(text: Text | _Spooled) -> int:
    if isinstance(text, _Spooled):
        return text.size
    return (len(text) if isinstance(text, bytes) else 0) or 1


def _joined(items: Iterable[tuple[int, Text]]) -> Iterator[tuple[int, Text]]:
    """The same items, runs of bytes for one descriptor made one."""
    run: list[bytes] = []
    target = -1
    for fd, text in items:
        if run and (fd != target or not isinstance(text, bytes)):
            yield target, b"".join(run)
            run = []
        if isinstance(text, bytes):
            run.append(text)
            target = fd
        else:
            yield fd, text
    if run:
        yield target, b"".join(run)


def _write_all(fd: int, data: bytes) -> None:
    """Write every byte, also where somebody has made the descriptor non-blocking, as shells' children may."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            with contextlib.suppress(InterruptedError):
                select.select([], [fd], [])
