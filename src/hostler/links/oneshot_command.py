"""One remote command from its beginning to its end, told in reports.

Its streams come as they are written, within the credit that was given; only what comes first waits a moment, since most
commands have ended by then and all is told at once. It must never take what a command writes for what is said about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from hostler.clock import Clock
from hostler.errors import HostError, HostRefused, LineLost, UsageError
from hostler.links import oneshot_words as say
from hostler.links.brief import Brief
from hostler.links.decode import words
from hostler.links.oneshot_end import Told, end_of
from hostler.links.oneshot_entry import Entry
from hostler.links.oneshot_stream import Marked, Noise
from hostler.links.oneshot_words import Payload
from hostler.model.jobs import Ending, Start
from hostler.model.reports import Began, Output, Refused, Report, Result
from hostler.ports import Connection, Stream

#: Output that a host may send before we have written some of it to disk, in bytes.
CREDIT = 1 << 20
#: Seconds in which what comes first is gathered, and bytes.
GATHER, GATHERED = 0.02, CREDIT // 4
#: Seconds after which a command that has not ended is said to have begun.
BEGAN = 0.2


class Credit:
    """How much output may still come, from all commands of a line one after the other."""

    def __init__(self) -> None:
        self._left = CREDIT
        self._more = asyncio.Event()

    def give(self, size: int) -> None:
        """Allow more."""
        self._left += size
        self._more.set()

    def take(self, size: int) -> None:
        """So much has come."""
        self._left -= size

    async def some(self) -> None:
        """Wait until more may come."""
        while self._left <= 0:
            self._more.clear()
            await self._more.wait()


class Command:
    """One attempt on an open line. `deliver` takes reports; `unfit` is told when the host can't do it in this way,
    `lost` when the line went, with the reason. Neither is called once it was left.
    """

    def __init__(
        self, start: Start, *, deliver: Callable[[Report], None], lost: Callable[[Command, str], Awaitable[None]],
        unfit: Callable[[Command], Awaitable[None]], credit: Credit, clock: Clock,
    ) -> None:  # fmt: skip
        self.start, self._deliver, self._lost, self._unfit = start, deliver, lost, unfit
        self._credit, self._clock = credit, clock
        self.stream: Stream | None = None
        self.kill: tuple[float, Ending] | None = None
        self.began = 0.0
        self.ended = self.left = False
        self._told = False
        self._sizes, self._came = [0, 0], [0, 0]
        self._most = 1 << 62
        self._gathered: list[tuple[int, bytes]] = []
        self._timers: list[asyncio.TimerHandle] = []

    async def perform(
        self, entry: Entry, line: Connection, *, brief: Brief, payload: Payload, deadline: float
    ) -> None:
        """Run it to its end; every way in which this can end is a report."""
        start, mark, sent = self.start, say.new_mark(), False
        self._most = brief.output_limit
        out, err = Marked(mark), Marked(mark)
        try:
            body = say.command(start, entry.host, brief=brief, payload=payload)
            async with asyncio.timeout(deadline):
                stream = self.stream = await entry.enter(line, deadline=deadline)
            stream.write(entry.message(body, mark))
            sent = True
            await asyncio.gather(self._follow(1, out, stream.read), self._follow(2, err, stream.read_err))
        except (HostRefused, UsageError) as error:
            self.over(Refused(start.serial, getattr(error, "why", str(error))))
        except (HostError, TimeoutError, Noise) as error:
            why = getattr(error, "why", "") or str(error) or f"no session within {deadline:g}s"
            if not sent:
                self.over(Refused(start.serial, why))
            elif out.begun or isinstance(error, LineLost):
                await self._lost(self, why)
            else:
                self.over(Refused(start.serial, f"its sh made no sense: {why}"))
        else:
            await self._finish(out, err)

    def end(self, grace: float, ending: Ending) -> None:
        """Have the host end it, once it has begun."""
        self.kill = (grace, ending)
        if self.began:
            self._say_kill()

    def leave(self) -> None:
        """Say nothing more about it."""
        self.left = True
        self._still()

    def over(self, report: Report) -> None:
        """It has ended, and this says how."""
        self.ended = True
        self._still()
        if not self.left:
            self._deliver(report)

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return max(0.0, self._clock.steady() - self.began)

    # -- its streams ----------------------------------------------------------------------------------------------

    async def _follow(self, number: int, stream: Marked, read: Callable[[], Awaitable[bytes]]) -> None:
        """Take in one stream up to its end, or to what is said of that."""
        while not (stream.said and stream.said[-1][:1] in (b"e", b"u")):
            await self._credit.some()
            data = await read()
            own = stream.feed(data) if data else stream.finish()
            if stream.begun and number == 1 and not self.began:
                self._has_begun()
            if own:
                self._output(number, own)
            if not data:
                return

    def _has_begun(self) -> None:
        self.began = self._clock.steady()
        if self.kill is not None:
            self._say_kill()
        self._timers.append(asyncio.get_running_loop().call_later(BEGAN, self._tell_began))

    def _tell_began(self) -> None:
        self._deliver(Began(self.start.serial, self.elapsed))

    def _say_kill(self) -> None:
        assert self.kill is not None and self.stream is not None
        self.stream.write(b"k %d\n" % round(self.kill[0] * 100))

    def _output(self, number: int, data: bytes) -> None:
        """Pass output on; what comes first waits a moment for the end. A stream that is too long ends the command."""
        self._came[number - 1] += len(data)
        beyond = self._came[number - 1] - self._most
        if beyond > 0:
            if self.kill is None:
                self.end(0.0, Ending.OUTPUT_LIMIT)
            data = data[: max(0, len(data) - beyond)]
            if not data:
                return
        self._credit.take(len(data))
        if self._told:
            self._piece(number, data)
            return
        if not self._gathered:
            self._timers.append(asyncio.get_running_loop().call_later(GATHER, self.let_go))
        self._gathered.append((number, data))
        if sum(len(each) for _, each in self._gathered) > GATHERED:
            self.let_go()

    def let_go(self) -> None:
        """Tell what was gathered."""
        gathered, self._gathered = self._gathered, []
        for number, data in gathered:
            self._told = True
            self._piece(number, data)

    def _piece(self, number: int, data: bytes) -> None:
        offset = self._sizes[number - 1]
        self._sizes[number - 1] += len(data)
        if not self.left:
            self._deliver(Output(self.start.serial, number, offset, data))

    # -- its end ------------------------------------------------------------------------------------------------

    async def _finish(self, out: Marked, err: Marked) -> None:
        """Both streams have ended: say how the command did."""
        if out.said == [b"u"]:
            await self._unfit(self)
        elif (told := Told.of(out.said)) is not None:
            ending, code, signal, detail = end_of(told, self.kill[1] if self.kill else None)
            if ending is Ending.OUTPUT_LIMIT:
                detail = f"a stream was longer than {self._most} bytes; the rest was dropped"
            self.result(ending, code, signal, detail)
        elif out.begun:
            await self._lost(self, "what ran it there was ended")
        else:
            lines = [line for line in (err.noise or out.noise).splitlines() if line.strip()]
            last = words(lines[-1].strip())[:300] if lines else "not a word"
            self.over(Refused(self.start.serial, f"it runs no command of ours: it said {last!r}"))

    def result(self, ending: Ending, code: int | None, signal: int | None, detail: str) -> None:
        """It ended so."""
        out, err = (b"".join(data for number, data in self._gathered if number == which) for which in (1, 2))
        size, errors = self._sizes if self._told else (len(out), len(err))
        both: tuple[bytes | None, bytes | None] = (None, None) if self._told else (out, err)
        self.over(
            Result(
                self.start.serial, ending, code, signal, self.elapsed, size, errors, both[0], both[1], detail
            )
        )

    def _still(self) -> None:
        for timer in self._timers:
            timer.cancel()
