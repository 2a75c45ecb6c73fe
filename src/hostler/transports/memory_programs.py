"""What runs on a memory host: programs as coroutines, and the few words of shell that bind them.

It must never touch this machine: no process, no file, no socket.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

BLOCK = 64 << 10


class Killed(Exception):
    """A program's way to end by a signal: Killed("KILL")."""

    def __init__(self, signal: str) -> None:
        super().__init__(signal)
        self.signal = signal


class Pipe:
    """Bytes from one task to another; a writer waits while more than `room` are unread."""

    def __init__(self, room: int = 1 << 20) -> None:
        self._room = room
        self._parts: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._error: Exception | None = None
        self._changed = asyncio.Event()

    def push(self, data: bytes) -> None:
        """Add bytes without waiting; dropped after the end."""
        if data and not self._ended:
            self._parts.append(data)
            self._size += len(data)
            self._changed.set()

    async def write(self, data: bytes) -> None:
        """Add bytes and wait while there is no room."""
        self.push(data)
        await self.drain()

    async def drain(self) -> None:
        """Wait until there is room. Raises what the pipe was broken with."""
        while self._size > self._room and not self._ended:
            await self._wait()
        if self._error is not None:
            raise self._error

    async def read(self) -> bytes:
        """All that is there, waiting for some; b"" at the end. Raises what the pipe was broken with."""
        while not self._parts:
            if self._error is not None:
                raise self._error
            if self._ended:
                return b""
            await self._wait()
        data = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        self._changed.set()
        return data

    def end(self, error: Exception | None = None) -> None:
        """No more comes: the end, or `error` for both sides once what is there has been read."""
        if not self._ended:
            self._ended, self._error = True, error
            self._changed.set()

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()


class Kept(Pipe):
    """A pipe that nobody empties: its last bytes can be looked at any time."""

    def __init__(self, most: int = 1 << 20) -> None:
        super().__init__()
        self.data = bytearray()
        self._most = most

    def push(self, data: bytes) -> None:
        """Add bytes; the oldest make room."""
        self.data += data
        del self.data[: max(0, len(self.data) - self._most)]


class Ports:
    """A program's stdin, stdout and stderr."""

    def __init__(self, stdin: Pipe, stdout: Pipe, stderr: Pipe) -> None:
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr


Program = Callable[[Sequence[str], Ports], Awaitable[int]]


async def _cat(argv: Sequence[str], ports: Ports) -> int:
    while data := await ports.stdin.read():
        await ports.stdout.write(data)
    return 0


async def _echo(argv: Sequence[str], ports: Ports) -> int:
    await ports.stdout.write(" ".join(argv[1:]).encode() + b"\n")
    return 0


async def _printf(argv: Sequence[str], ports: Ports) -> int:
    def octal(match: re.Match[bytes]) -> bytes:
        found = match.group(1)
        return b"\n" if found == b"n" else bytes([int(found, 8) & 255])

    await ports.stdout.write(re.sub(rb"\\(n|[0-7]{1,3})", octal, argv[1].encode() if len(argv) > 1 else b""))
    return 0


async def _head(argv: Sequence[str], ports: Ports) -> int:
    left = int(argv[2])
    while left > 0:
        await ports.stdout.write(bytes(min(left, BLOCK)))
        left -= BLOCK
    return 0


async def _sleep(argv: Sequence[str], ports: Ports) -> int:
    await asyncio.sleep(float(argv[1]))
    return 0


async def _kill(argv: Sequence[str], ports: Ports) -> int:
    raise Killed(argv[1].lstrip("-"))


async def _true(argv: Sequence[str], ports: Ports) -> int:
    return 0


async def _false(argv: Sequence[str], ports: Ports) -> int:
    return 1


BUILT_IN: Mapping[str, Program] = {
    ":": _true,
    "true": _true,
    "false": _false,
    "cat": _cat,
    "echo": _echo,
    "printf": _printf,
    "head": _head,
    "sleep": _sleep,
    "kill": _kill,
}


async def interpret(line: str, programs: Mapping[str, Program], ports: Ports) -> int:
    """Run a command line: words, quotes, `;`, `>&2`, `exit N`, `exec`, `sh -c TEXT`. Raises Killed.

    >>> asyncio.run(interpret("true; exit 7; echo never", BUILT_IN, Ports(Pipe(), Pipe(), Pipe())))
    7
    """
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";>&")
    lexer.whitespace_split = True
    lexer.commenters = ""
    code = 0
    words: list[str] = []
    for token in [*lexer, ";"]:
        if token != ";":
            words.append(token)
            continue
        here = ports
        if words[-2:] == [">&", "2"]:
            words, here = words[:-2], Ports(ports.stdin, ports.stderr, ports.stderr)
        if words[:1] == ["exec"]:
            words = words[1:]
        if words[:1] == ["exit"]:
            return int(words[1]) if len(words) > 1 else code
        if words[:2] == ["sh", "-c"]:
            code = await interpret(words[2], programs, here)
        elif words:
            program = programs.get(words[0])
            if program is None:
                await ports.stderr.write(f"sh: 1: {words[0]}: not found\n".encode())
                code = 127
            else:
                code = await program(words, here)
        words = []
    return code
