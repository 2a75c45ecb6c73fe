"""One command's channel on an ssh program's line: windows, buffers, and how the command ended.

It must never let a slow reader or a slow host fill memory, nor believe what a host sends beyond what it may.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import asyncssh

if TYPE_CHECKING:
    from hostler.transports.muxed import Muxed

OPEN, OPENED, REFUSED, ADJUST, DATA, EXTENDED, EOF, CLOSE, REQUEST, DONE, NOT_DONE = range(90, 101)
CLOSED = "SSH connection closed"  # AsyncSSH's words


def numbers(*values: int) -> bytes:
    """Numbers of 32 bits, as SSH writes them."""
    return b"".join(value.to_bytes(4, "big") for value in values)


def string(data: bytes) -> bytes:
    """Bytes with their length before them, as SSH writes them."""
    return len(data).to_bytes(4, "big") + data


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
        self._given = False
        self._held: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()

    def begin(self, session: Any) -> None:
        """Hand the channel to its session."""
        self._session = session
        session.connection_made(self)

    def request(self, kind: bytes, body: bytes, *, answered: bool) -> None:
        """Ask the host for something about this channel."""
        self._send(REQUEST, string(kind) + bytes((answered,)) + body)

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
            self._send(DATA, numbers(size) + block[:size])
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
            self._given = not self._closed  # what came before it and is held is still the session's
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
        if self._session is None or (self._closed and not self._given):
            return
        self._session.data_received(data, kind)
        self._taken += len(data)
        if self._taken > self._whole // 2:
            self._send(ADJUST, numbers(self._taken))
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
            self._line.send(kind, numbers(self._theirs) + body)
