"""Small files to and from a host through SFTP: whole or not at all. Just as much of the protocol as that takes.

It must never leave a part under the name that was asked for, nor a file with wider rights than asked, even briefly.
"""

from __future__ import annotations

import posixpath
import secrets
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

from hostler.ports import Stream

BLOCK = 32 << 10  # bytes that every server takes in one message
AHEAD = 32  # messages on their way at once
LONGEST = 256 << 10  # bytes of one answer
INIT, VERSION, OPEN, CLOSE, READ, WRITE, FSETSTAT, REMOVE, RENAME, EXTENDED = (
    1,
    2,
    3,
    4,
    5,
    6,
    10,
    13,
    18,
    200,
)
STATUS, HANDLE, DATA = 101, 102, 103
OK, EOF, NO_SUCH_FILE = 0, 1, 2
TO_READ, TO_MAKE = 0x01, 0x02 | 0x08 | 0x20  # the latter: write, create, only where nothing is
RIGHTS = 0x04
SYNC, REPLACE = b"fsync@openssh.com", b"posix-rename@openssh.com"


class NoSftp(Exception):
    """What answers is no SFTP server."""


class SftpRefused(Exception):
    """The server would not do it; `code` is its own number for why."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text or f"refused with code {code}")
        self.code = code


class Sftp:
    """An SFTP server at the other end of a stream. For one task at a time."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._unread = bytearray()
        self._asked = set[int]()
        self._answers: dict[int, tuple[int, bytes]] = {}
        self._last = 0
        self._extensions: set[bytes] = set()

    async def begin(self) -> None:
        """Agree on a version. Raises NoSftp, LineLost."""
        self._stream.write(_packet(INIT, _number(3)))
        kind, body = await self._packet()
        if kind != VERSION or len(body) < 4:
            raise NoSftp
        words = [*_strings(body[4:])]
        self._extensions = set(words[::2])

    async def store(self, data: bytes, path: str, mode: int) -> None:
        """Write `data` beside `path` with rights `mode`, make it durable, and move it there.

        Raises SftpRefused, NoSftp, LineLost.
        """
        folder, name = posixpath.split(path)
        part = _name(posixpath.join(folder, f".{name[:180]}.{secrets.token_hex(8)}.part"))
        handle = await self._open(part, TO_MAKE, 0o600)
        try:
            await self._write(handle, data)
            await self._done(self._ask(FSETSTAT, handle + _rights(mode)))
            if SYNC in self._extensions:
                await self._done(self._ask(EXTENDED, _string(SYNC) + handle))
            await self._done(self._ask(CLOSE, handle))
            if REPLACE in self._extensions:
                await self._done(self._ask(EXTENDED, _string(REPLACE) + part + _name(path)))
            else:
                await self._done(self._ask(RENAME, part + _name(path)))
        except SftpRefused:
            with suppress(SftpRefused):
                await self._done(self._ask(REMOVE, part))
            raise
        except BaseException:
            self._ask(REMOVE, part)  # nobody waits for the answer
            raise

    async def fetch(self, path: str, limit: int) -> bytes:
        """Read at most one byte more than `limit`, which tells that there is more.

        Raises SftpRefused, NoSftp, LineLost.
        """
        handle = await self._open(_name(path), TO_READ, None)
        data, waiting, asked = bytearray(), deque[tuple[int, int]](), 0
        while True:
            while asked <= limit and len(waiting) < AHEAD:
                size = min(BLOCK, limit + 1 - asked)
                waiting.append((self._ask(READ, handle + _long(asked) + _number(size)), size))
                asked += size
            if not waiting:
                break
            number, size = waiting.popleft()
            got = await self._read(number)
            if len(got) > size:
                raise NoSftp
            data += got
            if len(got) < size:  # its end, or a short answer: what was asked ahead is of no use then
                for later, _ in waiting:
                    await self._read(later)
                waiting.clear()
                asked = len(data)
                if not got:
                    break
        await self._done(self._ask(CLOSE, handle))
        return bytes(data)

    async def _open(self, name: bytes, flags: int, mode: int | None) -> bytes:
        attributes = _number(0) if mode is None else _rights(mode)
        kind, body = await self._answer(self._ask(OPEN, name + _number(flags) + attributes))
        if kind != HANDLE:
            raise _refusal(kind, body)
        return body

    async def _write(self, handle: bytes, data: bytes) -> None:
        waiting = deque[int]()
        for offset in range(0, len(data), BLOCK):
            block = data[offset : offset + BLOCK]
            waiting.append(self._ask(WRITE, handle + _long(offset) + _string(block)))
            await self._stream.drain()
            if len(waiting) > AHEAD:
                await self._done(waiting.popleft())
        for number in waiting:
            await self._done(number)

    async def _read(self, number: int) -> bytes:
        kind, body = await self._answer(number)
        if kind == DATA:
            return next(_strings(body), b"")
        if kind == STATUS and int.from_bytes(body[:4], "big") == EOF:
            return b""
        raise _refusal(kind, body)

    def _ask(self, kind: int, body: bytes) -> int:
        self._last += 1
        self._stream.write(_packet(kind, _number(self._last) + body))
        self._asked.add(self._last)
        return self._last

    async def _done(self, number: int) -> None:
        kind, body = await self._answer(number)
        if kind != STATUS or int.from_bytes(body[:4], "big") != OK:
            raise _refusal(kind, body)

    async def _answer(self, number: int) -> tuple[int, bytes]:
        while number not in self._answers:
            kind, body = await self._packet()
            answered = int.from_bytes(body[:4], "big")
            if answered not in self._asked:  # we would keep it for nobody
                raise NoSftp
            self._asked.remove(answered)
            self._answers[answered] = kind, body[4:]
        return self._answers.pop(number)

    async def _packet(self) -> tuple[int, bytes]:
        held = self._unread
        while True:
            size = int.from_bytes(held[:4], "big") if len(held) >= 4 else None
            if size is not None and not 1 <= size <= LONGEST:
                raise NoSftp
            if size is not None and len(held) >= 4 + size:
                kind, body = held[4], bytes(held[5 : 4 + size])
                del held[: 4 + size]
                return kind, body
            data = await self._stream.read()
            if not data:
                raise NoSftp
            held += data


def _refusal(kind: int, body: bytes) -> SftpRefused | NoSftp:
    if kind != STATUS or len(body) < 4:
        return NoSftp()
    text = next(_strings(body[4:]), b"")[:500].decode("utf-8", "replace")
    return SftpRefused(int.from_bytes(body[:4], "big"), "".join(c if c.isprintable() else "?" for c in text))


def _packet(kind: int, body: bytes) -> bytes:
    return _number(len(body) + 1) + bytes([kind]) + body


def _number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def _long(value: int) -> bytes:
    return value.to_bytes(8, "big")


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _name(path: str) -> bytes:
    return _string(path.encode("utf-8", "surrogateescape"))


def _rights(mode: int) -> bytes:
    return _number(RIGHTS) + _number(mode)


def _strings(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + 4 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 4 + size]
        at += 4 + size
