"""An ssh program's open line, spoken to through its control socket: channels without a process for each.

OpenSSH calls it proxy mode (PROTOCOL.mux; since 7.4): after one exchange the socket carries packets of the connection
protocol (RFC 4254), and the program only renumbers the channels. So commands stay out of argv, every exit code is
told as it is, and a signal has its name. It must never take all the room on a line that is the user's own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncssh

from hostler.transports.muxed_channel import CLOSED, OPEN, Channel, numbers, string

HELLO, PROXY, PROXIED, VERSION = 1, 0x1000000F, 0x8000000F, 4
LONGEST = 1 << 20  # bytes of one packet that we take

#: Awaited when a line is over, told whether we left it: why it broke, None when it did not.
Ended = Callable[[bool], Awaitable[Exception | None]]


class Muxed(asyncio.Protocol):
    """The line. `env` goes to every command; `most` channels at once."""

    def __init__(
        self,
        ended: Ended,
        *,
        env: Sequence[tuple[str, str]] = (),
        most: int | None = None,
    ) -> None:
        self._ended, self._env, self._most = ended, env, most
        self._loop = asyncio.get_running_loop()
        self._socket: asyncio.Transport | None = None
        self._unread = bytearray()
        self._greeted = self._loop.create_future()
        self._channels: dict[int, Channel] = {}
        self._last = 0
        self._closed = self._leaving = False
        self._over = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None
        self.full = False

    @classmethod
    async def attach(cls, path: str, ended: Ended, **more: Any) -> Muxed:
        """Take hold of the line whose control socket is at `path`. Raises OSError."""
        line = cls(ended, **more)
        await asyncio.get_running_loop().create_unix_connection(lambda: line, path)
        try:
            await line._greeted
        except BaseException:
            line.abort()
            raise
        return line

    async def create_session(
        self,
        factory: Callable[[], Any],
        command: str | None = None,
        *,
        subsystem: str | None = None,
        window: int,
        max_pktsize: int,
        **_: object,
    ) -> tuple[Channel, Any]:
        """Open a channel for a command or a subsystem. Raises asyncssh.ChannelOpenError."""
        if self._closed:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, CLOSED)
        if self._most is not None and len(self._channels) >= self._most:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, "a line that others use too")
        self._last += 1
        channel = self._channels[self._last] = Channel(self, self._last, window)
        self.send(OPEN, string(b"session") + numbers(self._last, window, max_pktsize))
        try:
            await channel.answer
        except asyncssh.ChannelOpenError:
            self._channels.pop(channel.number, None)
            raise
        session = factory()
        channel.begin(session)
        for name, value in self._env:
            channel.request(b"env", string(os.fsencode(name)) + string(os.fsencode(value)), answered=False)
        kind, word = (b"subsystem", subsystem) if subsystem else (b"exec", command or ":")
        channel.answer = self._loop.create_future()
        channel.request(kind, string(word.encode("utf-8", "surrogateescape")), answered=True)
        if not await channel.answer:
            channel.abort()
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_REQUEST_SESSION_FAILED, "the request was refused")
        return channel, session

    def is_closed(self) -> bool:
        """Whether the line is over."""
        return self._closed

    def close(self) -> None:
        """End the line."""
        self._leaving = True
        if self._socket is not None:
            self._socket.close()

    def abort(self) -> None:
        """End the line at once."""
        self._leaving = True
        if self._socket is not None:
            self._socket.abort()

    async def wait_closed(self) -> None:
        """Wait until the line is over and everybody on it was told."""
        await self._over.wait()

    def forget(self, number: int) -> None:
        """A channel is over."""
        self._channels.pop(number, None)

    def send(self, kind: int, body: bytes) -> None:
        """Send one packet; after the end it is dropped."""
        if self._socket is not None and not self._closed:
            self._socket.write(b"".join((numbers(len(body) + 2), b"\0", bytes((kind,)), body)))

    def connection_made(self, transport: Any) -> None:
        """Greet the ssh program, and ask for proxy mode."""
        self._socket = transport
        transport.write(numbers(8, HELLO, VERSION) + numbers(8, PROXY, 0))

    def pause_writing(self) -> None:
        """The ssh program takes no more for now."""
        self.full = True

    def resume_writing(self) -> None:
        """The ssh program takes more."""
        self.full = False
        for channel in [*self._channels.values()]:
            channel.pump()

    def data_received(self, data: bytes) -> None:
        """Take packets apart."""
        held = self._unread
        held += data
        at = 0
        while len(held) - at >= 4:
            size = int.from_bytes(held[at : at + 4], "big")
            if not 2 <= size <= LONGEST:
                self.abort()
                return
            if len(held) - at < 4 + size:
                break
            packet = bytes(held[at + 4 : at + 4 + size])
            at += 4 + size
            if self._greeted.done():
                self._packet(packet[1], packet[2:])
            else:
                self._greeting(packet)
        del held[:at]

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket has ended; whoever holds the line says why."""
        self._closed = True
        if not self._greeted.done():
            self._greeted.set_exception(ConnectionError("the ssh program has ended the exchange"))
        self._ending = self._loop.create_task(self._tell())

    async def _tell(self) -> None:
        why: Exception | None = None
        try:
            why = await self._ended(self._leaving)
        finally:
            channels, self._channels = self._channels, {}
            for channel in channels.values():
                channel.lost(why)
            self._over.set()

    def _greeting(self, packet: bytes) -> None:
        kind = int.from_bytes(packet[:4], "big")
        if kind == PROXIED:
            self._greeted.set_result(None)
        elif kind != HELLO:
            self._greeted.set_exception(ConnectionError("the ssh program refuses to share its line"))

    def _packet(self, kind: int, body: bytes) -> None:
        channel = self._channels.get(int.from_bytes(body[:4], "big"))
        if channel is not None:
            channel.packet(kind, body[4:])
