"""A Link to a host that is not there (`memory_host`), for tests of whatever works over links.

It keeps what every Link owes: nothing is delivered before its caller has run on, nothing without credit, and nothing
once it is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from hostler.errors import HostRefused, LineLost
from hostler.links.brief import Brief
from hostler.links.memory_host import MemoryHost
from hostler.model.hosts import Host
from hostler.model.jobs import Ending, Start
from hostler.model.reports import Down, Hello, Renewed, Report

if TYPE_CHECKING:
    from hostler.ports import Link

CREDIT = 1 << 20
NEWER = "it holds jobs of this run of which our store knows nothing: the store is an older copy"


class MemoryLink:
    """A ports.Link to a MemoryHost, by a run's `brief`: its uid, the epoch, slots, lease and grace."""

    def __init__(self, host: Host, *, brief: Brief, memory: MemoryHost, unreachable: str = "") -> None:
        self.host, self.brief, self.slots = host, brief, brief.slots
        self.is_ready = False
        self.allowed = 0
        self._memory, self._unreachable = memory, unreachable
        self._deliver: Callable[[Report], None] | None = None
        self._renewing: asyncio.Task[None] | None = None

    async def open(
        self, ask: Sequence[int], *, given: int, deliver: Callable[[Report], None], deadline: float
    ) -> Hello:  # fmt: skip
        """Reach the host. Raises HostError."""
        await asyncio.sleep(0)
        if self._unreachable:
            raise LineLost(self.host.name, self._unreachable)
        memory = self._memory
        if memory.high > given:
            raise HostRefused(self.host.name, NEWER)
        memory.attach(self)
        self._deliver = deliver
        self._renewing = memory.spawn(self._renew())
        return Hello(
            spool=memory.spool,
            boot="0",
            account="0",
            python="3",
            slots=self.slots or memory.slots,
            standings={serial: memory.standing(serial) for serial in ask},
        )

    async def _renew(self) -> None:
        while True:
            self._memory.renew(self)
            self.hear(Renewed(0.0))
            await self._memory.clock.sleep(min(self.brief.lease / 6, 10.0))

    def hear(self, report: Report) -> None:
        """Deliver a report, not before what runs now has run."""
        asyncio.get_running_loop().call_soon(self._give, report)

    def _give(self, report: Report) -> None:
        if self._deliver is not None:
            deliver = self._deliver
            if isinstance(report, Down):
                self._deliver = None
            deliver(report)

    def lose(self, down: Down) -> None:
        """The line is gone."""
        if self._renewing is not None:
            self._renewing.cancel()
            self._renewing = None
            self._memory.detach(self)
            self.hear(down)

    @property
    def _up(self) -> bool:
        return self._renewing is not None

    def start(self, starts: Sequence[Start]) -> None:
        """Send attempts."""
        if self._up:
            for start in starts:
                self._memory.accept(start)
            self._memory.begin()

    def follow(self, serial: int, *, out: int, err: int) -> None:
        """Say how much of an attempt's output is here."""
        if self._up:
            self._memory.follow(serial, out, err)

    def ready(self) -> None:
        """Let output and kept results come."""
        if self._up:
            self.is_ready = True
            self.allowed += CREDIT
            self._memory.late()
            self._memory.tell()

    def revoke(self, serials: Sequence[int]) -> None:
        """Take back what has not started."""
        for serial in serials if self._up else ():
            self._memory.revoke(serial)

    def kill(self, serials: Sequence[int], *, grace: float, ending: str) -> None:
        """End running attempts."""
        for serial in serials if self._up else ():
            self._memory.kill(serial, grace, Ending(ending))

    def resize(self, slots: int) -> None:
        """Run so many at once."""
        if self._up:
            self.slots = slots
            self._memory.begin()

    def ack(self, serials: Sequence[int]) -> None:
        """Let results be forgotten."""
        for serial in serials if self._up else ():
            self._memory.ack(serial)

    def credit(self, size: int) -> None:
        """Allow more output."""
        if self._up:
            self.allowed += size
            self._memory.tell()

    async def close(self, *, forget: bool, deadline: float) -> None:
        """Leave; nothing is delivered from now on."""
        self._deliver = None
        if self._up:
            if forget:
                self._memory.abandon()
            self.lose(Down("left"))
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)


if TYPE_CHECKING:

    def _is_a_link(link: MemoryLink) -> Link:
        return link
