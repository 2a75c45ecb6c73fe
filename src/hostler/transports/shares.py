"""A line that several use, as each of them sees it: a Connection of its own, whose end is not the line's.

It must never close what another one uses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from hostler.errors import LineLost
from hostler.model.hosts import Host
from hostler.ports import Connection, Finished, Stream

CLOSED = "the line was closed"


class Share:
    """A ports.Connection on a line that others may use too; `leave` is told when this one is closed."""

    def __init__(self, host: Host, line: Connection, *, leave: Callable[[], Awaitable[None]]) -> None:
        self.host, self._line, self._leave = host, line, leave
        self._streams: set[SharedStream] = set()
        self._open = True

    @property
    def alive(self) -> bool:
        """Whether this share is open, and the line too."""
        return self._open and self._line.alive

    async def run(
        self, command: str, *, stdin: bytes = b"", deadline: float, limit: int = 1 << 20
    ) -> Finished:
        """Run a command line. Raises LineLost, Unreachable, HostRefused."""
        return await self._held().run(command, stdin=stdin, deadline=deadline, limit=limit)

    async def stream(self, command: str, *, deadline: float, errors: bool = False) -> SharedStream:
        """Start a command line. Raises LineLost, Unreachable, HostRefused."""
        begun = await self._held().stream(command, deadline=deadline, errors=errors)
        stream = SharedStream(self.host.name, begun)
        self._streams.add(stream)
        return stream

    async def put(self, data: bytes, path: str, *, mode: int = 0o600, deadline: float) -> None:
        """Write a file. Raises LineLost, Unreachable, HostRefused."""
        await self._held().put(data, path, mode=mode, deadline=deadline)

    async def get(self, path: str, *, deadline: float, limit: int = 1 << 20) -> bytes:
        """Read a file. Raises FileNotFoundError, LineLost, Unreachable, HostRefused."""
        return await self._held().get(path, deadline=deadline, limit=limit)

    async def close(self) -> None:
        """End this share and its streams; never raises."""
        if self._open:
            self._open = False
            streams, self._streams = self._streams, set()
            await asyncio.gather(*(stream.end() for stream in streams), return_exceptions=True)
            await self._leave()

    def _held(self) -> Connection:
        if not self._open:
            raise LineLost(self.host.name, CLOSED)
        self._streams = {stream for stream in self._streams if not stream.closed}
        return self._line


class SharedStream:
    """A ports.Stream of a share."""

    def __init__(self, host: str, stream: Stream) -> None:
        self._host, self._stream = host, stream
        self._ended = self.closed = False
        self.write, self.stderr_tail = stream.write, stream.stderr_tail

    async def drain(self) -> None:
        """Wait until little is queued. Raises LineLost."""
        await self._stream.drain()
        if self._ended:
            raise LineLost(self._host, CLOSED)

    async def read(self) -> bytes:
        """The next bytes of its stdout, b"" at its end. Raises LineLost."""
        return self._read(await self._stream.read())

    async def read_err(self) -> bytes:
        """The next bytes of its stderr. Raises LineLost."""
        return self._read(await self._stream.read_err())

    def _read(self, data: bytes) -> bytes:
        if self._ended and not data:
            raise LineLost(self._host, CLOSED)
        return data

    async def close(self) -> None:
        """Close stdin and the stream."""
        self.closed = True
        await self._stream.close()

    async def end(self) -> None:
        """The share has ended: readers and writers are told."""
        self._ended = True
        await self.close()
