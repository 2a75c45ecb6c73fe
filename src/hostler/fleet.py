"""The narrow waist: how every use of hostler gets at hosts, with a limit on how many at once.

It holds a transport and a limit, no job and no policy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from hostler.model.reports import Hello, Report
from hostler.ports import Link, Transport


class Fleet:
    """Hosts within reach.

    `link` makes a Link to a host, not yet opened; `limit` is how many hosts are connected to at the same moment.
    """

    def __init__(self, transport: Transport, *, limit: int = 64) -> None:
        self._transport = transport
        self._gate = asyncio.Semaphore(limit)

    async def open(
        self, link: Link, ask: Sequence[int], *, deliver: Callable[[Report], None], deadline: float
    ) -> Hello:
        """Open a Link when its turn comes; `deadline` counts from then. Raises HostError."""
        async with self._gate:
            return await link.open(ask, deliver=deliver, deadline=deadline)

    @property
    def transport(self) -> Transport:
        """The way to hosts."""
        return self._transport

    async def close(self) -> None:
        """Let go of what connections share."""
        await self._transport.close()
