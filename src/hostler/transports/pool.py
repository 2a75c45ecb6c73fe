"""One open line per endpoint, shared by all who want one: several links, or many short commands one after another.

A share is a Connection of its own: closed, its streams end, and the line stays as long as others hold it, or nobody
does for a short while. It must never hand out a line that is known to be broken.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from msgspec.structs import replace

from hostler.errors import HostError, Unreachable
from hostler.model.hosts import Host
from hostler.ports import Connection, Transport
from hostler.transports.shares import CLOSED, Share


class PooledTransport:
    """A ports.Transport around another. A line that nobody holds is closed after `idle` seconds."""

    def __init__(self, inner: Transport, *, idle: float = 0.0) -> None:
        self._inner, self._idle = inner, idle
        self._lines: dict[Host, _Line] = {}

    async def connect(self, host: Host, *, deadline: float) -> Share:
        """A share of the line to the host's endpoint, which is opened first where there is none.

        Who comes while it is being opened waits for the same line, or gets the same error. Raises HostError.
        """
        # What decides where a line leads and how it is opened, and nothing else.
        key = replace(host, tags=frozenset(), slots=None, source="")
        line = self._lines.get(key)
        if line is None or line.over:
            opening = asyncio.ensure_future(self._inner.connect(host, deadline=deadline))
            line = self._lines[key] = _Line(opening, idle=self._idle)
        return await line.share(host)

    async def close(self) -> None:
        """Close all lines, whoever holds them, and what they share."""
        lines, self._lines = self._lines, {}
        await asyncio.gather(*(line.end() for line in lines.values()))
        await self._inner.close()


class _Line:
    """A line, and how many hold it."""

    def __init__(self, opening: asyncio.Future[Connection], *, idle: float) -> None:
        self._opening, self._idle = opening, idle
        self._users = 0
        self._waiting: asyncio.Task[None] | None = None
        self._ended = False

    @property
    def over(self) -> bool:
        """Whether it can't be shared any more."""
        if self._ended or not self._opening.done():
            return self._ended
        failed = self._opening.cancelled() or self._opening.exception() is not None
        return failed or not self._opening.result().alive

    async def share(self, host: Host) -> Share:
        """Hold it, once it is open."""
        self._users += 1
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        try:
            return Share(host, await asyncio.shield(self._opening), leave=self._leave)
        except BaseException as error:
            self._users -= 1
            if not self._users:
                if self._opening.cancel():
                    self._ended = True  # it takes a moment to be so: who comes meanwhile must not wait for it
                else:
                    self._waiting = asyncio.create_task(self._wait())  # it opened in the same moment
            task = asyncio.current_task()
            if self._ended and isinstance(error, asyncio.CancelledError) and task and not task.cancelling():
                raise Unreachable(host.name, CLOSED) from None  # not we were given up, but the line
            raise

    async def end(self) -> None:
        """Close it, whoever holds it."""
        self._ended = True
        self._opening.cancel()
        with suppress(asyncio.CancelledError, HostError):
            await (await self._opening).close()

    async def _leave(self) -> None:
        self._users -= 1
        if not self._users and not self.over:
            if self._idle:
                self._waiting = asyncio.create_task(self._wait())
            else:
                await self.end()

    async def _wait(self) -> None:
        await asyncio.sleep(self._idle)
        if not self._users:
            self._waiting = None  # from here on nobody may call it off
            await self.end()
