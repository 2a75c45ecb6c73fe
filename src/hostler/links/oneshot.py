"""A Link that is one remote command on one line: what a fan-out needs, and no more.

Nothing is put into a spool, so nobody can go on with what was begun: when the line is lost the host ends the command by
itself, and here it is lost. One attempt at a time. It must never take what the command writes for what is said about
it, nor hold more of that than it was given credit for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from hostler.clock import Clock
from hostler.errors import HostError, HostRefused, LineLost, UsageError
from hostler.links import oneshot_words as say
from hostler.links.brief import Brief
from hostler.links.decode import words
from hostler.links.oneshot_end import Told, end_of
from hostler.links.oneshot_entry import Entry
from hostler.links.oneshot_stream import Marked, Noise
from hostler.links.oneshot_words import NOTHING, Payload
from hostler.model.jobs import Ending, Start
from hostler.model.reports import (
    Began,
    Down,
    Hello,
    Lost,
    Output,
    Refused,
    Report,
    Result,
    Revoked,
    Standing,
)
from hostler.ports import Connection, Stream

if TYPE_CHECKING:
    from hostler.ports import Link

#: Output that a host may send before we have written some of it to disk, in bytes.
CREDIT = 1 << 20
#: Seconds in which what a command writes first is gathered: most have ended by then, and all is told at once.
GATHER = 0.02
#: Seconds after which a command that has not ended is said to have begun.
BEGAN = 0.2
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
        self._stream: Stream | None = None
        self._inner: Link | None = None
        self._start: Start | None = None
        self._task: asyncio.Task[None] | None = None
        self._deadline = 30.0
        self._ended = self._leaving = False
        self._allowed, self._more = CREDIT, asyncio.Event()
        self._gathered: list[tuple[int, bytes]] = []
        self._sizes = [0, 0]
        self._told = False
        self._timers: list[asyncio.TimerHandle] = []
        self._kill: tuple[float, Ending] | None = None
        self._began = 0.0
        self._barred: set[int] = set()

    async def open(
        self, ask: Sequence[int], *, given: int, deliver: Callable[[Report], None], deadline: float
    ) -> Hello:  # fmt: skip
        """Open the line. What is asked after can't be gone on with: it is ended there, and lost. Raises HostError."""
        self._deliver, self._deadline = deliver, deadline
        self._line = await self._entry.line(deadline=deadline)
        if ask:
            try:
                await self._sweep(self._line, ask)
            except BaseException:
                await self._line.close()
                raise
        return Hello(
            spool=SPOOL + self._brief.token, boot="", account="", python="", slots=1,
            standings=dict.fromkeys(ask, Standing.LOST),
        )  # fmt: skip

    def start(self, starts: Sequence[Start]) -> None:
        """Run a command; the same serial again is not run again."""
        for start in starts:
            if start.serial in self._barred:
                self._deliver(Revoked(start.serial))
            elif self._start is None:
                self._start = start
                self._task = asyncio.create_task(self._perform(start), name=f"once {self.host.name}")

    def follow(self, serial: int, *, out: int, err: int) -> None:
        """Nothing goes on from an earlier line."""

    def ready(self) -> None:
        """Nothing was kept back."""

    def revoke(self, serials: Sequence[int]) -> None:
        """Take back what was not sent."""
        for serial in serials:
            if self._start is not None and serial == self._start.serial:
                if not self._ended:
                    self._deliver(Began(serial, max(0.0, self._clock.steady() - self._began)))
            else:
                self._barred.add(serial)
                self._deliver(Revoked(serial))

    def kill(self, serials: Sequence[int], *, grace: float, ending: str) -> None:
        """End the command, once it has begun."""
        if self._inner is not None:
            self._inner.kill(serials, grace=grace, ending=ending)
        elif self._start is not None and self._start.serial in serials and not self._ended:
            self._kill = (grace, Ending(ending))
            if self._began and self._stream is not None:
                self._say_kill()

    def resize(self, slots: int) -> None:
        """There is one slot."""

    def ack(self, serials: Sequence[int]) -> None:
        """The host keeps nothing."""
        if self._inner is not None:
            self._inner.ack(serials)

    def credit(self, size: int) -> None:
        """Allow more output."""
        self._allowed += size
        self._more.set()
        if self._inner is not None:
            self._inner.credit(size)

    async def close(self, *, forget: bool, deadline: float) -> None:
        """Close the line: the host ends what still runs there."""
        self._leaving = True
        self._still()
        if self._inner is not None:
            await self._inner.close(forget=forget, deadline=deadline)
        if self._stream is not None:
            await self._stream.close()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._line is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(deadline):
                    await self._line.close()

    # -- one command ----------------------------------------------------------------------------------------------

    async def _perform(self, start: Start) -> None:
        """Run a command to its end; every way in which this can end is a report."""
        assert self._line is not None
        mark, sent = say.new_mark(), False
        streams = Marked(mark), Marked(mark)
        try:
            body = say.command(start, self.host, brief=self._brief, payload=self._payload)
            async with asyncio.timeout(self._deadline):
                stream = self._stream = await self._entry.enter(self._line, deadline=self._deadline)
            stream.write(self._entry.message(body, mark))
            sent = True
            await asyncio.gather(
                self._follow(start, 1, streams[0], stream.read),
                self._follow(start, 2, streams[1], stream.read_err),
            )
        except (HostRefused, UsageError) as error:
            self._over(Refused(start.serial, getattr(error, "why", str(error))))
        except (HostError, TimeoutError, Noise) as error:
            why = getattr(error, "why", "") or str(error) or f"no session within {self._deadline:g}s"
            if not sent:
                self._over(Refused(start.serial, why))
            elif not (streams[0].begun or isinstance(error, LineLost)):
                self._over(Refused(start.serial, f"its sh made no sense: {why}"))
            else:
                await self._lost(start, why)
        else:
            await self._finish(start, *streams)

    async def _follow(
        self, start: Start, number: int, stream: Marked, read: Callable[[], Awaitable[bytes]]
    ) -> None:
        """Take in one stream up to its end, or to what is said of that."""
        while not self._all_said(stream):
            while self._allowed <= 0:
                self._more.clear()
                await self._more.wait()
            data = await read()
            before = stream.begun
            own = stream.feed(data) if data else stream.finish()
            if stream.begun and not before and number == 1:
                self._has_begun(start)
            if own:
                self._output(start, number, own)
            if not data:
                return

    @staticmethod
    def _all_said(stream: Marked) -> bool:
        return bool(stream.said) and stream.said[-1][:1] in (b"e", b"u")

    def _has_begun(self, start: Start) -> None:
        self._began = self._clock.steady()
        if self._kill is not None:
            self._say_kill()
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(BEGAN, self._tell_began, start.serial))

    def _tell_began(self, serial: int) -> None:
        if not (self._ended or self._leaving):
            self._deliver(Began(serial, self._clock.steady() - self._began))

    def _say_kill(self) -> None:
        assert self._kill is not None and self._stream is not None
        self._stream.write(b"k %d\n" % round(self._kill[0] * 100))

    def _output(self, start: Start, number: int, data: bytes) -> None:
        """Pass output on; what comes first waits a moment for the end."""
        self._allowed -= len(data)
        if self._told:
            self._piece(start, number, data)
            return
        if not self._gathered:
            later = asyncio.get_running_loop().call_later(GATHER, self._let_go, start)
            self._timers.append(later)
        self._gathered.append((number, data))
        if sum(len(each) for _, each in self._gathered) > CREDIT // 4:
            self._let_go(start)

    def _let_go(self, start: Start) -> None:
        gathered, self._gathered = self._gathered, []
        if gathered and not (self._ended or self._leaving):
            self._told = True
            for number, data in gathered:
                self._piece(start, number, data)

    def _piece(self, start: Start, number: int, data: bytes) -> None:
        offset = self._sizes[number - 1]
        self._sizes[number - 1] += len(data)
        if not self._leaving:
            self._deliver(Output(start.serial, number, offset, data))

    # -- its end ------------------------------------------------------------------------------------------------

    async def _finish(self, start: Start, out: Marked, err: Marked) -> None:
        """Both streams have ended: say how the command did."""
        if out.said == [b"u"]:
            await self._by_other(start)
            return
        told = Told.of(out.said)
        if told is None:
            await self._wordless(start, out, err)
            return
        ending, code, signal, detail = end_of(told, self._kill[1] if self._kill else None)
        streams = [b"".join(data for number, data in self._gathered if number == which) for which in (1, 2)]
        sizes = self._sizes if self._told else [len(streams[0]), len(streams[1])]
        elapsed = max(0.0, self._clock.steady() - self._began)
        both: tuple[bytes | None, bytes | None] = (None, None) if self._told else (streams[0], streams[1])
        self._over(
            Result(start.serial, ending, code, signal, elapsed, sizes[0], sizes[1], *both, detail=detail)
        )

    async def _wordless(self, start: Start, out: Marked, err: Marked) -> None:
        """The channel ended without a word about the command."""
        if out.begun:
            await self._lost(start, "what ran it there was ended")
            return
        lines = [line for line in (err.noise or out.noise).splitlines() if line.strip()]
        last = words(lines[-1].strip())[:300] if lines else "not a word"
        self._over(Refused(start.serial, f"it runs no command of ours: it said {last!r}"))

    async def _lost(self, start: Start, why: str) -> None:
        """The line is gone. Ask the host once more what is left, and have it ended."""
        self._still()
        ended = False
        with suppress(HostError, TimeoutError):
            async with asyncio.timeout(AFTERWARDS):
                line = await self._entry.line(deadline=AFTERWARDS)
                try:
                    ended = await self._sweep(line, [start.serial])
                finally:
                    await line.close()
        if ended:
            detail = f"{why}; it was ended there"
            elapsed = max(0.0, self._clock.steady() - self._began)
            self._let_go(start)
            self._told = True
            sizes = self._sizes
            ending = self._kill[1] if self._kill else Ending.INTERRUPTED
            self._over(
                Result(
                    start.serial, ending, None, None, elapsed, sizes[0], sizes[1], None, None, detail=detail
                )
            )
        else:
            self._over(Lost(start.serial, why))
        if not self._leaving:
            self._deliver(Down(why))

    async def _by_other(self, start: Start) -> None:
        """The host can't do it in this way: run the command in another."""
        if self._payload != NOTHING:
            self._over(
                Refused(start.serial, "it has no setsid or no /proc, and can't be given a script or input")
            )
            return
        link = self._other()
        try:
            await link.open([], given=start.serial, deliver=self._deliver, deadline=self._deadline)
        except HostError as error:
            self._over(Refused(start.serial, error.why))
            return
        self._inner = link
        link.ready()
        link.start([start])
        if self._kill is not None:
            link.kill([start.serial], grace=self._kill[0], ending=self._kill[1])

    def _over(self, report: Report) -> None:
        self._ended = True
        self._still()
        if not self._leaving:
            self._deliver(report)

    def _still(self) -> None:
        for timer in self._timers:
            timer.cancel()

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
