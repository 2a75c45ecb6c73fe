"""A way to no host at all: what would be done there is told instead, and everything seems to go well.

For rehearsals and tests. It must never contact anybody, nor make up output.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from hostler.errors import LineLost
from hostler.model.hosts import Host
from hostler.ports import Finished


class Planned(Struct, frozen=True, kw_only=True):
    """What would be done: `what` is connect, run, stream, put or get; `text` the command line or the path."""

    host: Host
    what: str
    text: str = ""


class DryRunTransport:
    """A ports.Transport that gives every step to `tell` and does none."""

    def __init__(self, tell: Callable[[Planned], None]) -> None:
        self._tell = tell

    async def connect(self, host: Host, *, deadline: float) -> DryRunConnection:
        """A line that leads nowhere.

        >>> import asyncio
        >>> steps = []
        >>> _ = asyncio.run(DryRunTransport(steps.append).connect(Host(name="a", address="a"), deadline=1))
        >>> steps[0].what, steps[0].host.name
        ('connect', 'a')
        """
        self._tell(Planned(host=host, what="connect"))
        return DryRunConnection(host, self._tell)

    async def close(self) -> None:
        """Nothing is shared."""


class DryRunConnection:
    """A ports.Connection on which nothing happens."""

    def __init__(self, host: Host, tell: Callable[[Planned], None]) -> None:
        self.host, self._tell_all = host, tell
        self._streams: list[SilentStream] = []
        self.alive = True

    async def run(
        self, command: str, *, stdin: bytes = b"", deadline: float, limit: int = 1 << 20
    ) -> Finished:
        """Tell of a command; it "ends" well and has printed nothing. Raises LineLost once closed."""
        self._tell("run", command)
        return Finished(stdout=b"", stderr=b"", code=0)

    async def stream(self, command: str, *, deadline: float, errors: bool = False) -> SilentStream:
        """Tell of a command; its stdout is at its end at once. Raises LineLost once closed."""
        self._tell("stream", command)
        self._streams.append(SilentStream(self.host.name))
        return self._streams[-1]

    async def put(self, data: bytes, path: str, *, mode: int = 0o600, deadline: float) -> None:
        """Tell of a file that would be written. Raises LineLost once closed."""
        self._tell("put", path)

    async def get(self, path: str, *, deadline: float, limit: int = 1 << 20) -> bytes:
        """Tell of a file that would be read. Raises FileNotFoundError, always: what is in it nobody knows."""
        self._tell("get", path)
        raise FileNotFoundError(2, f"not read from {self.host.name} in a dry run", path)

    async def close(self) -> None:
        """Close the line; never raises."""
        self.alive = False
        for stream in self._streams:
            stream.lost = True

    def _tell(self, what: str, text: str) -> None:
        if not self.alive:
            raise LineLost(self.host.name, "the line was closed")
        self._tell_all(Planned(host=self.host, what=what, text=text))


class SilentStream:
    """A ports.Stream that takes everything and says nothing."""

    def __init__(self, host: str) -> None:
        self._host, self.lost = host, False

    def write(self, data: bytes) -> None:
        """Drop it."""

    async def drain(self) -> None:
        """Nothing is queued. Raises LineLost."""
        await self.read()

    async def read(self) -> bytes:
        """The end. Raises LineLost."""
        if self.lost:
            raise LineLost(self._host, "the line was closed")
        return b""

    async def read_err(self) -> bytes:
        """Nothing."""
        return b""

    def stderr_tail(self) -> bytes:
        """Nothing."""
        return b""

    async def close(self) -> None:
        """There is nothing to close."""
