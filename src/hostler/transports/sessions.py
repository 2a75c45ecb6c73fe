"""One remote command over an AsyncSSH channel: the path that every byte of every job takes, kept lean.

It must never decode, split into lines or grow without bound: a reader that is slow stops the host from sending.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import asyncssh

from hostler.errors import LineLost

WINDOW = 4 << 20  # bytes that the host may send before we allow more
PACKET = 128 << 10  # the longest data packet that we accept
UNREAD_HIGH = 2 << 20  # unread bytes at which we stop reading, and
UNREAD_LOW = 1 << 20  # those at which we go on
UNSENT_HIGH = 1 << 20
UNSENT_LOW = 256 << 10
STDERR_TAIL = 8 << 10


class Session(asyncssh.SSHClientSession[bytes]):
    """A ports.Stream: AsyncSSH's callbacks on one side, awaited reads on the other."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._chan: asyncssh.SSHClientChannel[bytes] | None = None
        self._unread: deque[bytes] = deque()
        self._size = 0
        self._paused = False
        self._reader: asyncio.Future[None] | None = None
        self._drainers: list[asyncio.Future[None]] = []
        self._full = False
        self._ended = False
        self._lost: str | None = None
        self._stderr: deque[bytes] = deque()
        self._stderr_size = 0
        self.code: int | None = None
        self.signal: str | None = None
        self.closed = asyncio.get_running_loop().create_future()

    # What AsyncSSH calls.

    def connection_made(self, chan: Any) -> None:
        """Take hold of the channel."""
        self._chan = chan
        chan.set_write_buffer_limits(UNSENT_HIGH, UNSENT_LOW)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Keep what came; the reader gets all of it at once."""
        if datatype is not None:
            self._keep_stderr(data)
            return
        self._unread.append(data)
        self._size += len(data)
        if self._size > UNREAD_HIGH and not self._paused and self._chan is not None:
            self._paused = True
            self._chan.pause_reading()
        reader = self._reader
        if reader is not None:
            self._reader = None
            if not reader.done():
                reader.set_result(None)

    def eof_received(self) -> bool:
        """The command's stdout has ended; its stdin stays open."""
        self._ended = True
        self._wake()
        return True

    def exit_status_received(self, status: int) -> None:
        """Note how it ended."""
        self.code = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """Note what ended it."""
        self.signal = signal

    def pause_writing(self) -> None:
        """The host takes no more for now."""
        self._full = True

    def resume_writing(self) -> None:
        """The host takes more."""
        self._full = False
        self._wake_drainers()

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is over: cleanly, or because the line broke."""
        if exc is not None or (not self._ended and self.code is None and self.signal is None):
            self._lost = str(exc) if exc else "the line was closed"
        self._ended = True
        self._wake()
        self._wake_drainers()
        if not self.closed.done():
            self.closed.set_result(None)

    # What ports.Stream promises.

    def write(self, data: bytes) -> None:
        """Queue bytes for stdin; dropped when the channel is over, which read and drain tell."""
        chan = self._chan
        if chan is not None and not chan.is_closing():
            chan.write(data)

    def write_eof(self) -> None:
        """End stdin."""
        chan = self._chan
        if chan is not None and not chan.is_closing():
            chan.write_eof()

    async def drain(self) -> None:
        """Wait until little is queued. Raises LineLost."""
        if self._lost is None and self._full and not self.closed.done():
            waiter = asyncio.get_running_loop().create_future()
            self._drainers.append(waiter)
            await waiter
        if self._lost is not None:
            raise LineLost(self._host, self._lost)

    async def read(self) -> bytes:
        """All of stdout that is there, waiting for some; b"" at its end. Raises LineLost."""
        unread = self._unread
        while not unread:
            if self._ended:
                if self._lost is not None:
                    raise LineLost(self._host, self._lost)
                return b""
            if self._reader is None:
                self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        data = unread[0] if len(unread) == 1 else b"".join(unread)
        unread.clear()
        self._size = 0
        if self._paused and self._chan is not None:
            self._paused = False
            self._chan.resume_reading()
        return data

    def stderr_tail(self) -> bytes:
        """The last 8 KiB of stderr."""
        return b"".join(self._stderr)[-STDERR_TAIL:]

    async def close(self) -> None:
        """Close stdin and the channel."""
        if self._chan is not None:
            self._chan.close()

    def _keep_stderr(self, data: bytes) -> None:
        self._stderr.append(data)
        self._stderr_size += len(data)
        while self._stderr_size - len(self._stderr[0]) >= STDERR_TAIL:
            self._stderr_size -= len(self._stderr.popleft())

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)

    def _wake_drainers(self) -> None:
        drainers, self._drainers = self._drainers, []
        for waiter in drainers:
            if not waiter.done():
                waiter.set_result(None)
