"""A Link that is one remote command on one line: what a fan-out needs, and no more.

Nothing is put into a spool, so nobody can go on with what was begun: when the line is lost the host ends the command by
itself, and here it is lost. One attempt at a time. It must never say that nothing is left of a command before its host
has said so, nor run a serial twice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from hostler.clock import Clock
from hostler.errors import HostError
from hostler.links import oneshot_words as say
from hostler.links.brief import Brief
from hostler.links.oneshot_command import Command, Credit
from hostler.links.oneshot_entry import Entry
from hostler.links.oneshot_stream import Marked, Noise
from hostler.links.oneshot_words import NOTHING, Payload
from hostler.model.jobs import Ending, Start
from hostler.model.reports import Began, Down, Hello, Lost, Refused, Report, Revoked, Standing
from hostler.ports import Connection

if TYPE_CHECKING:
    from hostler.ports import Link

#: Seconds that a host has to say whether anything is left of a command whose line was lost.
AFTERWARDS = 15.0
#: How the spool of one that has none is called.
SPOOL = "once"

#: The job and the number of an attempt, by its serial; None where nobody knows.
Names = Callable[[int], tuple[int, int] | None]


class OneShotLink:
    """One host, which `entry` leads to, for a run's `brief`. `names` says which attempt a serial is.

    `other` makes the link that is used instead where the host can't do this: without setsid, or without /proc.
    """

    def __init__(
        self, entry: Entry, *, brief: Brief, clock: Clock, names: Names, payload: Payload = NOTHING,
        other: Callable[[], Link],
    ) -> None:  # fmt: skip
        self.host, self._entry, self._brief, self._clock = entry.host, entry, brief, clock
        self._names, self._payload, self._other = names, payload, other
        self._deliver: Callable[[Report], None] = lambda report: None
        self._line: Connection | None = None
        self._inner: Link | None = None
        self._command: Command | None = None
        self._task: asyncio.Task[None] | None = None
        self._deadline = 30.0
        self._credit = Credit()
        self._highest = 0
        self._waiting: deque[Start] = deque()
        self._gone = False
        self._barred: set[int] = set()

    async def open(
        self, ask: Sequence[int], *, given: int, deliver: Callable[[Report], None], deadline: float
    ) -> Hello:  # fmt: skip
        """Open the line. What is asked after can't be gone on with: it is ended there, and lost. Raises HostError."""
        self._deliver, self._deadline = deliver, deadline
        self._line = await self._entry.line(deadline=deadline)
        if ask:
            try:
                async with asyncio.timeout(deadline + self._brief.grace):
                    await self._sweep(self._line, ask)
            except BaseException as error:
                await self._line.close()
                if isinstance(error, TimeoutError):
                    raise self._entry.late(deadline) from None
                raise
        return Hello(
            spool=SPOOL + self._brief.token, boot="", account="", python="", slots=1,
            standings=dict.fromkeys(ask, Standing.LOST),
        )  # fmt: skip

    def start(self, starts: Sequence[Start]) -> None:
        """Run commands, one after the other; a serial that was seen is not run again."""
        for start in starts:
            if start.serial in self._barred:
                self._deliver(Revoked(start.serial))
            elif start.serial > self._highest:
                self._highest = start.serial
                self._waiting.append(start)
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._work(), name=f"once {self.host.name}")

    def follow(self, serial: int, *, out: int, err: int) -> None:
        """Nothing goes on from an earlier line."""

    def ready(self) -> None:
        """Nothing was kept back."""

    def revoke(self, serials: Sequence[int]) -> None:
        """Take back what was not sent."""
        for serial in serials:
            if (command := self._of(serial)) is not None:
                self._deliver(Began(serial, command.elapsed if command.began else 0.0))
            elif serial > self._highest or serial in self._barred or self._waits(serial):
                self._waiting = deque(start for start in self._waiting if start.serial != serial)
                self._barred.add(serial)
                self._deliver(Revoked(serial))

    def kill(self, serials: Sequence[int], *, grace: float, ending: str) -> None:
        """End the command, once it has begun."""
        if self._inner is not None:
            self._inner.kill(serials, grace=grace, ending=ending)
            return
        for serial in serials:
            if (command := self._of(serial)) is not None:
                command.end(grace, Ending(ending))

    def resize(self, slots: int) -> None:
        """There is one slot."""

    def ack(self, serials: Sequence[int]) -> None:
        """The host keeps nothing."""
        if self._inner is not None:
            self._inner.ack(serials)

    def credit(self, size: int) -> None:
        """Allow more output."""
        self._credit.give(size)
        if self._inner is not None:
            self._inner.credit(size)

    async def close(self, *, forget: bool, deadline: float) -> None:
        """Close the line: the host ends what still runs there."""
        if self._command is not None:
            self._command.leave()
            if self._command.stream is not None:
                await self._command.stream.close()
        if self._inner is not None:
            await self._inner.close(forget=forget, deadline=deadline)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._line is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(deadline):
                    await self._line.close()

    async def _work(self) -> None:
        assert self._line is not None
        while self._waiting and not self._gone:
            self._command = Command(
                self._waiting.popleft(), deliver=self._deliver, lost=self._lost, unfit=self._by_other,
                credit=self._credit, clock=self._clock,
            )  # fmt: skip
            await self._command.perform(
                self._entry, self._line, brief=self._brief, payload=self._payload, deadline=self._deadline
            )

    def _waits(self, serial: int) -> bool:
        return any(start.serial == serial for start in self._waiting)

    def _of(self, serial: int) -> Command | None:
        command = self._command
        return command if command and command.start.serial == serial and not command.ended else None

    async def _lost(self, command: Command, why: str) -> None:
        """The line is gone. Ask the host once more what is left of the command, and have it ended."""
        serial, ended = command.start.serial, False
        with suppress(HostError, TimeoutError):
            async with asyncio.timeout(AFTERWARDS):
                line = await self._entry.line(deadline=AFTERWARDS)
                try:
                    ended = await self._sweep(line, [serial])
                finally:
                    await line.close()
        if ended:
            command.let_go()
            ending = command.kill[1] if command.kill else Ending.INTERRUPTED
            command.result(ending, None, None, f"{why}; what was left of it was ended there")
        else:
            command.over(Lost(serial, why))
        self._gone = True
        if not command.left:
            self._deliver(Down(why))

    async def _by_other(self, command: Command) -> None:
        """The host can't do it in this way: run the command in another."""
        start = command.start
        if self._payload != NOTHING:
            command.over(
                Refused(
                    start.serial, "without setsid or /proc it can't be given a script or anything to read"
                )
            )
            return
        link = self._other()
        try:
            await link.open([], given=start.serial, deliver=self._deliver, deadline=self._deadline)
        except HostError as error:
            command.over(Refused(start.serial, error.why))
            return
        self._inner = link
        link.ready()
        link.start([start])
        if command.kill is not None:
            link.kill([start.serial], grace=command.kill[0], ending=command.kill[1])

    async def _sweep(self, line: Connection, serials: Sequence[int]) -> bool:
        """End what is left of attempts on the host; whether there was anything. Raises HostError."""
        known = [(serial, *name) for serial in serials if (name := self._names(serial)) is not None]
        mark = say.new_mark()
        stream = await self._entry.enter(line, deadline=self._deadline)
        stream.write(self._entry.message(say.sweep(known, brief=self._brief), mark))
        seen = Marked(mark)
        while len(seen.said) < len(known) and (data := await stream.read()):
            with suppress(Noise):
                seen.feed(data)
        await stream.close()
        return any(said.split()[1:2] == [b"1"] for said in seen.said)


if TYPE_CHECKING:

    def _is_a_link(link: OneShotLink) -> Link:
        return link
