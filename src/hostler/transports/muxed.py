"""An ssh program's open line, spoken to through its control socket: channels without a process for each.

OpenSSH calls it proxy mode (PROTOCOL.mux; since 7.4): after one exchange the socket carries packets of the connection
protocol (RFC 4254), and the program only renumbers the channels. So commands stay out of argv, every exit code is
told as it is, and a signal has its name. It must never let a slow reader or a slow host fill memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncssh

OPEN, OPENED, REFUSED, ADJUST, DATA, EXTENDED, EOF, CLOSE, REQUEST, DONE, NOT_DONE = range(90, 101)
HELLO, PROXY, PROXIED, VERSION = 1, 0x1000000F, 0x8000000F, 4
LONGEST = 1 << 20  # bytes of one packet that we take
CLOSED = "SSH connection closed"  # AsyncSSH's words


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
        self.send(OPEN, _string(b"session") + _numbers(self._last, window, max_pktsize))
        try:
            await channel.answer
        except asyncssh.ChannelOpenError:
            self._channels.pop(channel.number, None)
            raise
        session = factory()
        channel.begin(session)
        for name, value in self._env:
            channel.request(b"env", _string(name.encode()) + _string(value.encode()), answered=False)
        kind, word = (b"subsystem", subsystem) if subsystem else (b"exec", command or ":")
        channel.answer = self._loop.create_future()
        channel.request(kind, _string(word.encode("utf-8", "surrogateescape")), answered=True)
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
            self._socket.write(b"".join((_numbers(len(body) + 2), b"\0", bytes((kind,)), body)))

    def connection_made(self, transport: Any) -> None:
        """Greet the ssh program, and ask for proxy mode."""
        self._socket = transport
        transport.write(_numbers(8, HELLO, VERSION) + _numbers(8, PROXY, 0))

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


class Channel:
    """One command's channel, in the words of AsyncSSH's as far as our sessions use them."""

    def __init__(self, line: Muxed, number: int, window: int) -> None:
        self.number = number
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._line = line
        self._whole = self._allowed = window
        self._session: Any = None
        self._theirs = self._room = self._packet = self._taken = 0
        self._unsent: deque[memoryview] = deque()
        self._size, self._high, self._low = 0, 64 << 10, 16 << 10
        self._told_full = self._ending = self._eof_sent = self._closing = self._closed = self._paused = False
        self._held: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()

    def begin(self, session: Any) -> None:
        """Hand the channel to its session."""
        self._session = session
        session.connection_made(self)

    def request(self, kind: bytes, body: bytes, *, answered: bool) -> None:
        """Ask the host for something about this channel."""
        self._send(REQUEST, _string(kind) + bytes((answered,)) + body)

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        """How many unsent bytes make the session wait, and go on."""
        self._high, self._low = high, low

    def write(self, data: bytes) -> None:
        """Queue bytes for the command's stdin."""
        if data and not (self._closing or self._ending):
            self._unsent.append(memoryview(data))
            self._size += len(data)
            self.pump()

    def write_eof(self) -> None:
        """Close the command's stdin once all is sent."""
        if not self._ending:
            self._ending = True
            self._finish()

    def close(self) -> None:
        """Close the channel once all is sent."""
        self._closing = True
        self._finish()

    def abort(self) -> None:
        """Close the channel at once."""
        self._unsent.clear()
        self._size = 0
        self.close()

    def is_closing(self) -> bool:
        """Whether it is closed or will be."""
        return self._closing

    def pause_reading(self) -> None:
        """Hold what comes, and allow no more than the window."""
        self._paused = True

    def resume_reading(self) -> None:
        """Hand on what was held."""
        self._paused = False
        while self._held and not self._paused:
            what, words = self._held.popleft()
            what(*words)

    def pump(self) -> None:
        """Send as much as the host and the socket take."""
        unsent = self._unsent
        while unsent and self._room > 0 and not self._line.full:
            block = unsent[0]
            size = min(len(block), self._room, self._packet)
            self._send(DATA, _numbers(size) + block[:size])
            if size == len(block):
                unsent.popleft()
            else:
                unsent[0] = block[size:]
            self._size -= size
            self._room -= size
        if self._size > self._high and not self._told_full:
            self._told_full = True
            self._session.pause_writing()
        elif self._size <= self._low and self._told_full:
            self._told_full = False
            self._session.resume_writing()
        self._finish()

    def packet(self, kind: int, body: bytes) -> None:
        """Take in one packet about this channel."""
        if self._session is None and kind in (DATA, EXTENDED, EOF, REQUEST):
            return
        if kind in (DATA, EXTENDED):
            data = body[4:] if kind == DATA else body[8:]
            self._allowed -= len(data)
            if self._allowed < 0:  # more than we said that we take
                self._line.abort()
            else:
                self._in_turn(self._data, data, None if kind == DATA else 1)
        elif kind == ADJUST:
            self._room += int.from_bytes(body[:4], "big")
            self.pump()
        elif kind == EOF:
            self._in_turn(self._session.eof_received)
        elif kind == REQUEST:
            self._asked(body)
        elif kind == CLOSE:
            self._closing = True
            self._unsent.clear()
            self._finish()
            self._line.forget(self.number)
            self._in_turn(self.lost, None)
        elif not self.answer.done():
            self._answered(kind, body)

    def lost(self, why: Exception | None) -> None:
        """The channel is over; with it a session learns why, and an opening fails."""
        if not self.answer.done():
            self.answer.set_exception(asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, CLOSED))
        if self._session is not None:
            self._paused = False
            held, self._held = self._held, deque()
            for what, words in held:
                if what != self.lost:
                    what(*words)
            session, self._session = self._session, None
            session.connection_lost(why)

    def _answered(self, kind: int, body: bytes) -> None:
        if kind == OPENED:
            self._theirs, self._room, self._packet = (
                int.from_bytes(body[at : at + 4], "big") for at in (0, 4, 8)
            )
            self._packet = max(self._packet, 1)
            self.answer.set_result(True)
        elif kind == REFUSED:
            size = int.from_bytes(body[4:8], "big")
            text = body[8 : 8 + size].decode("utf-8", "replace")
            self.answer.set_exception(asyncssh.ChannelOpenError(int.from_bytes(body[:4], "big"), text))
        elif kind in (DONE, NOT_DONE):
            self.answer.set_result(kind == DONE)

    def _asked(self, body: bytes) -> None:
        size = int.from_bytes(body[:4], "big")
        kind, answered, rest = body[4 : 4 + size], body[4 + size : 5 + size], body[5 + size :]
        if kind == b"exit-status":
            self._session.exit_status_received(int.from_bytes(rest[:4], "big"))
        elif kind == b"exit-signal":
            length = int.from_bytes(rest[:4], "big")
            name = rest[4 : 4 + length].decode("ascii", "replace")
            self._session.exit_signal_received(name, False, "", "")
        if answered == b"\1":
            self._send(NOT_DONE, b"")

    def _data(self, data: bytes, kind: int | None) -> None:
        if self._session is None or self._closed:
            return
        self._session.data_received(data, kind)
        self._taken += len(data)
        if self._taken > self._whole // 2:
            self._send(ADJUST, _numbers(self._taken))
            self._allowed += self._taken
            self._taken = 0

    def _in_turn(self, what: Callable[..., object], *words: object) -> None:
        if self._paused:
            self._held.append((what, words))
        else:
            what(*words)

    def _finish(self) -> None:
        if self._unsent or self._closed:
            return
        if self._closing:
            self._send(CLOSE, b"")
            self._closed = True
        elif self._ending and not self._eof_sent:
            self._send(EOF, b"")
            self._eof_sent = True

    def _send(self, kind: int, body: bytes) -> None:
        if not self._closed:
            self._line.send(kind, _numbers(self._theirs) + body)


def _numbers(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "big") for value in values)


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data
