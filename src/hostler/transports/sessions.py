"""One remote command over an AsyncSSH channel: the path that every byte of every job takes, kept lean.

It must never decode, split into lines or grow without bound: a reader that is slow stops the host from sending.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

import asyncssh

from hostler.errors import LineLost
from hostler.transports.reasons import JUMP_GONE, broken

WINDOW = 4 << 20  # bytes that the host may send before we allow more
PACKET = 128 << 10  # the longest data packet that we accept
UNREAD = 2 << 20  # unread bytes at which we stop taking more in
UNSENT_HIGH, UNSENT_LOW = 1 << 20, 256 << 10  # unsent bytes at which a drain waits, and goes on
STDERR_TAIL = 8 << 10


class Closable(Protocol):
    """A line that may be over."""

    def is_closed(self) -> bool:
        """Whether it is."""
        ...


#: The line that a session's own goes through, if any.
Jumped = Closable | None


class Session(asyncssh.SSHClientSession[bytes]):
    """What every remote command of ours needs: how it ended, and whether the line did."""

    def __init__(self, host: str, jump: Jumped = None) -> None:
        self.host, self._jump = host, jump
        self.code: int | None = None
        self.signal: str | None = None
        self._lost: str | None = None
        self.over = asyncio.Event()
        self._chan: asyncssh.SSHClientChannel[bytes] | None = None
        self._ended = False

    @property
    def lost(self) -> str | None:
        """Why the line broke, None when it did not."""
        # Asked late: a jump host's line may learn of its end after those that go through it.
        return JUMP_GONE if self._lost and self._jump is not None and self._jump.is_closed() else self._lost

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """Take hold of the channel."""
        self._chan = chan

    def exit_status_received(self, status: int) -> None:
        """Note how the command ended."""
        self.code = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """Note what ended the command."""
        self.signal = signal

    def eof_received(self) -> bool:
        """Its output has ended; its stdin stays open."""
        self._ended = True
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is over: cleanly, or because the line broke."""
        if exc is not None or not (self._ended or self.code is not None or self.signal is not None):
            self._lost = broken(exc)
        self._ended = True
        self._chan = None
        self.over.set()

    def give_up(self) -> None:
        """End the channel at once; what is on its way is dropped."""
        if self._chan is not None:
            self._chan.abort()


class Collected(Session):
    """A command whose whole output is wanted, up to `limit` bytes of each stream."""

    def __init__(self, host: str, limit: int, jump: Jumped = None) -> None:
        super().__init__(host, jump)
        self._room = [limit, limit]
        self._parts: tuple[list[bytes], list[bytes]] = ([], [])

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Keep the first bytes, drop the rest."""
        which = 0 if datatype is None else 1
        room = self._room[which]
        if room > 0:
            self._parts[which].append(data[:room])
            self._room[which] = room - len(data)

    def stdin(self, data: bytes) -> None:
        """Give all of its stdin."""
        if self._chan is not None and not self._chan.is_closing():
            self._chan.write(data)
            self._chan.write_eof()

    def output(self) -> tuple[bytes, bytes]:
        """Its stdout and stderr."""
        return b"".join(self._parts[0]), b"".join(self._parts[1])


class Lane:
    """One of a command's streams, from AsyncSSH's callbacks to whoever reads it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.unread: deque[bytes] = deque()
        self.size = 0
        self._reader: asyncio.Future[None] | None = None

    def take(self) -> bytes:
        """All that is there."""
        unread = self.unread
        data = unread[0] if len(unread) == 1 else b"".join(unread)
        unread.clear()
        self.size = 0
        return data

    async def wait(self) -> None:
        """Wait until there is news."""
        self._reader = self._loop.create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def wake(self) -> None:
        """Tell the reader of news."""
        reader = self._reader
        if reader is not None and not reader.done():
            reader.set_result(None)


class Duplex(Session):
    """A ports.Stream: AsyncSSH's callbacks on one side, awaited reads on the other."""

    def __init__(self, host: str, jump: Jumped = None, *, errors: bool = False) -> None:
        super().__init__(host, jump)
        self._loop = asyncio.get_running_loop()
        self._out = Lane()
        self._err = Lane() if errors else None
        self._paused = False
        self._drainers: list[asyncio.Future[None]] = []
        self._full = False
        self._unsent: list[bytes] = []
        self._stderr: deque[bytes] = deque()
        self._stderr_size = 0

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """Take hold of the channel."""
        self._chan = chan
        chan.set_write_buffer_limits(UNSENT_HIGH, UNSENT_LOW)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Keep what came; the reader gets all of it at once."""
        lane = self._out if datatype is None else self._err
        if lane is None:
            self._keep_stderr(data)
            return
        lane.unread.append(data)
        lane.size += len(data)
        if lane.size > UNREAD and not self._paused and self._chan is not None:
            self._paused = True
            self._chan.pause_reading()
        lane.wake()

    def eof_received(self) -> bool:
        """Its stdout has ended; its stdin stays open."""
        self._ended = True
        self._wake()
        return True

    def pause_writing(self) -> None:
        """The host takes no more for now."""
        self._full = True

    def resume_writing(self) -> None:
        """The host takes more."""
        self._full = False
        self._wake_drainers()

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is over: cleanly, or because the line broke."""
        super().connection_lost(exc)
        self._wake()
        self._wake_drainers()

    def write(self, data: bytes) -> None:
        """Queue bytes for stdin. Once the channel is over they are dropped; read and drain tell why."""
        # AsyncSSH makes two packets and two system calls of every write, so what is written in one turn of the
        # loop goes out as one.
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(data)

    async def drain(self) -> None:
        """Wait until little is queued. Raises LineLost."""
        self._send()
        while self._full and self._chan is not None:
            waiter = self._loop.create_future()
            self._drainers.append(waiter)
            await waiter
        if self.lost is not None:
            raise LineLost(self.host, self.lost)

    async def read(self) -> bytes:
        """All of stdout that is there, waiting for some; b"" at its end. Raises LineLost. One reader at a time."""
        return await self._read(self._out)

    async def read_err(self) -> bytes:
        """The same of stderr, where that was asked for."""
        assert self._err is not None, "nobody asked for stderr"
        return await self._read(self._err)

    async def _read(self, lane: Lane) -> bytes:
        while not lane.unread:
            if self._ended:
                if self.lost is not None:
                    raise LineLost(self.host, self.lost)
                return b""
            await lane.wait()
        data = lane.take()
        if self._paused and (self._err is None or max(self._out.size, self._err.size) <= UNREAD):
            self._paused = False
            if self._chan is not None:
                self._chan.resume_reading()
        return data

    def stderr_tail(self) -> bytes:
        """The last 8 KiB of stderr."""
        return b"".join(self._stderr)[-STDERR_TAIL:]

    async def close(self) -> None:
        """Close stdin and the channel, once what was written is sent; does not wait for the command."""
        self._send()
        if self._chan is not None:
            self._chan.close()

    def _send(self) -> None:
        unsent = self._unsent
        if unsent:
            chan = self._chan
            if chan is not None and not chan.is_closing():
                chan.write(unsent[0] if len(unsent) == 1 else b"".join(unsent))
            unsent.clear()

    def _keep_stderr(self, data: bytes) -> None:
        self._stderr.append(data)
        self._stderr_size += len(data)
        while self._stderr_size - len(self._stderr[0]) >= STDERR_TAIL:
            self._stderr_size -= len(self._stderr.popleft())

    def _wake(self) -> None:
        self._out.wake()
        if self._err is not None:
            self._err.wake()

    def _wake_drainers(self) -> None:
        drainers, self._drainers = self._drainers, []
        for waiter in drainers:
            if not waiter.done():
                waiter.set_result(None)
