"""A host that is not there: scripted jobs, real rules. What MemoryLink is a link to.

It keeps what every host owes its controllers (one start per serial, results until they are acknowledged, the lease,
epochs) and nothing of the world: no process, no file, no time but its Clock's. It must never be more forgiving than a
host.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from hostler.clock import Clock
from hostler.errors import HostRefused
from hostler.links.brief import Brief
from hostler.model.hosts import Host
from hostler.model.jobs import Ending, Start, attempt_id
from hostler.model.reports import Began, Down, Lost, Output, Refused, Report, Result, Revoked, Standing

CHUNK = 64 << 10
INLINE = 8 << 10


class Act(Struct, frozen=True, kw_only=True):
    """What a job does: it writes `out` and `err`, works for `seconds`, and ends by `code` or `signal`.

    A `deaf` one pays no heed to TERM, an `immortal` one not even to KILL. `refused` is why its host won't start it.
    """

    out: bytes = b""
    err: bytes = b""
    code: int = 0
    signal: int | None = None
    seconds: float = 0.0
    deaf: bool = False
    immortal: bool = False
    refused: str = ""


class _Attempt(Struct, eq=False):
    start: Start
    act: Act
    began: float
    result: Result | None = None
    sent: list[int] = field(default_factory=lambda: [0, 0])
    said: bool = False
    task: asyncio.Task[None] | None = None
    dying: bool = False


class Line(Protocol):
    """A controller's end, as its host knows it: what it wants, how much output it may be told, and whom to tell."""

    host: Host
    brief: Brief
    slots: int | None
    is_ready: bool
    allowed: int

    def hear(self, report: Report) -> None:
        """Take in a report."""
        ...

    def lose(self, down: Down) -> None:
        """Be left."""
        ...


class MemoryHost:
    """What is at the far end, whatever becomes of the links to it.

    `script` says what a start does; `slots` is how many run at once when a link doesn't say. `log` holds ("+" or "-",
    attempt id) for each beginning and end of a job, in order.

    >>> host = MemoryHost(clock=SystemClock(), script=lambda start: Act(out=start.words[0]))  # doctest: +SKIP
    """

    def __init__(
        self, *, clock: Clock, script: Callable[[Start], Act] = lambda start: Act(), slots: int = 2
    ) -> None:
        self.clock, self.script, self.slots = clock, script, slots
        self.log: list[tuple[str, str]] = []
        self.uid = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._line: Line | None = None
        self._epoch = 0
        self._lease: asyncio.Task[None] | None = None
        self._forget()

    def _forget(self) -> None:
        self.spool = secrets.token_hex(16)
        self.waiting: dict[int, Start] = {}
        self.running: dict[int, _Attempt] = {}
        self.ended: dict[int, _Attempt] = {}
        self.high = 0
        self._unseen: set[int] = set()
        self._barred: set[int] = set()

    # -- what a test does to it -------------------------------------------------------------------------------

    def cut(self, why: str = "the line was cut") -> None:
        """Break the line; what runs goes on."""
        if self._line is not None:
            self._line.lose(Down(why))

    def wipe(self) -> None:
        """Lose everything, as a host does that was made anew."""
        self.cut()
        for attempt in self.running.values():
            if attempt.task is not None:
                attempt.task.cancel()
        self._forget()

    async def end(self) -> None:
        """Stop everything that it does."""
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- what a link asks of it -------------------------------------------------------------------------------

    def attach(self, line: Line) -> None:
        """Serve this link from now on. Raises HostRefused when a newer controller was here."""
        epoch = line.brief.epoch
        if epoch < self._epoch:
            raise HostRefused(line.host.name, "a newer controller has taken this run over")
        if self._line is not None:
            newer = epoch > self._epoch
            why = "a newer controller has taken this run over" if newer else "another line came"
            self._line.lose(Down(why, fatal=newer))
        self._line, self._epoch, self.uid = line, epoch, line.brief.uid
        for attempt in (*self.running.values(), *self.ended.values()):
            attempt.sent, attempt.said = [0, 0], False
        self.renew(line)

    def detach(self, line: Line) -> None:
        """The link is gone; the lease runs."""
        if self._line is line:
            self._line = None

    def renew(self, line: Line) -> None:
        """Count the lease from now."""
        if self._lease is not None:
            self._lease.cancel()
        self._lease = self.spawn(self._expire(line))

    def standing(self, serial: int) -> Standing:
        """What is known of a serial."""
        if serial in self.waiting:
            return Standing.WAITING
        if serial in self.running:
            return Standing.RUNNING
        if serial in self.ended:
            return Standing.DONE
        seen = serial <= self.high and serial not in self._unseen and serial not in self._barred
        return Standing.LOST if seen else Standing.UNKNOWN

    def accept(self, start: Start) -> None:
        """Queue a start, unless it was seen before."""
        if start.serial in self._barred:
            self.say(Revoked(start.serial))
        elif start.serial > self.high or start.serial in self._unseen:
            self._unseen.discard(start.serial)
            self.high = max(self.high, start.serial)
            self.waiting[start.serial] = start
        elif self.standing(start.serial) is Standing.LOST:
            self.say(Lost(start.serial, "it was here before, and is forgotten"))

    def revoke(self, serial: int) -> None:
        """Give back what has not begun."""
        if (attempt := self.running.get(serial)) is not None:
            self.say(Began(serial, self.clock.steady() - attempt.began))
        elif self.waiting.pop(serial, None) is not None or self.standing(serial) is Standing.UNKNOWN:
            self._barred.add(serial)
            self._unseen.discard(serial)
            self.say(Revoked(serial))
        elif serial not in self.ended:
            self.say(Lost(serial, "it was here before, and is forgotten"))

    def kill(self, serial: int, grace: float, ending: Ending) -> None:
        """End what runs."""
        attempt = self.running.get(serial)
        if attempt is not None and not attempt.dying:
            attempt.dying = True
            if attempt.task is not None:
                attempt.task.cancel()
            attempt.task = self.spawn(self._die(attempt, grace, ending))

    def follow(self, serial: int, out: int, err: int) -> None:
        """Go on with an attempt's output from here."""
        attempt = self.running.get(serial) or self.ended.get(serial)
        if attempt is not None:
            attempt.sent = [out, err]

    def ack(self, serial: int) -> None:
        """Forget a result."""
        self.ended.pop(serial, None)

    def abandon(self) -> None:
        """Nothing is wanted any more."""
        for attempt in self.running.values():
            if attempt.task is not None:
                attempt.task.cancel()
            self.log.append(("-", self._id(attempt.start)))
        self._forget()

    def begin(self) -> None:
        """Start what waits while slots are free."""
        slots = (self._line.slots if self._line is not None else None) or self.slots
        while self.waiting and len(self.running) < slots:
            start = self.waiting.pop(next(iter(self.waiting)))
            act = self.script(start)
            if act.refused:
                self._barred.add(start.serial)
                self.say(Refused(start.serial, act.refused))
                continue
            attempt = self.running[start.serial] = _Attempt(start, act, self.clock.steady())
            self.log.append(("+", self._id(start)))
            attempt.task = self.spawn(self._work(attempt))

    def late(self) -> None:
        """Say of what has ended while nobody listened when it began."""
        for serial, attempt in self.ended.items():
            if not attempt.said:
                self.say(Began(serial, self.clock.steady() - attempt.began))

    def tell(self) -> None:
        """Say what there is to say: output within the credit, results behind their output."""
        line = self._line
        if line is None or not line.is_ready:
            return
        for attempt in self.ended.values():
            result = attempt.result
            if attempt.said or not result or any(attempt.sent):
                continue
            if result.out_size + result.err_size <= INLINE:
                attempt.said = True
                self.say(replace(result, out=attempt.act.out, err=attempt.act.err))
        turns = [attempt for attempt in self.running.values() if attempt.act.seconds]
        turns += [attempt for attempt in self.ended.values() if not attempt.said]
        while sum(self._piece(line, attempt) for attempt in turns):
            pass
        for attempt in turns:
            result = attempt.result
            if result and attempt.sent == [result.out_size, result.err_size]:
                attempt.said = True
                self.say(result)

    # -- how it goes about it ---------------------------------------------------------------------------------

    def say(self, report: Report) -> None:
        """Report to whoever listens."""
        if self._line is not None:
            self._line.hear(report)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something beside."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _id(self, start: Start) -> str:
        return attempt_id(self.uid, start.job, start.n)

    def _piece(self, line: Line, attempt: _Attempt) -> bool:
        """Say a chunk of each stream, within the credit; whether there was one."""
        before = list(attempt.sent)
        for i, data in enumerate((attempt.act.out, attempt.act.err)):
            at = attempt.sent[i]
            piece = data[at : at + min(CHUNK, line.allowed)]
            if piece:
                attempt.sent[i] += len(piece)
                line.allowed -= len(piece)
                self.say(Output(attempt.start.serial, i + 1, at, piece))
        return attempt.sent != before

    async def _work(self, attempt: _Attempt) -> None:
        act, limit = attempt.act, attempt.start.timeout
        if act.seconds:
            self.say(Began(attempt.start.serial, 0.0))
            self.tell()
        if limit is not None and act.seconds > limit:
            await self.clock.sleep(limit)
            attempt.dying = True
            await self._die(
                attempt, self._line.brief.grace if self._line is not None else 0.0, Ending.TIMEOUT
            )
            return
        await self.clock.sleep(act.seconds)
        if act.signal is not None:
            self._over(attempt, Ending.SIGNAL, None, act.signal)
        else:
            self._over(attempt, Ending.EXIT if act.code else Ending.OK, act.code, None)

    async def _die(self, attempt: _Attempt, grace: float, ending: Ending) -> None:
        if attempt.act.deaf or attempt.act.immortal:
            await self.clock.sleep(grace)
        if attempt.act.immortal:
            self._over(attempt, Ending.KILL_FAILED, None, None, "still alive: pid 4711")
        else:
            self._over(attempt, ending, None, 9 if attempt.act.deaf else 15)

    def _over(
        self, attempt: _Attempt, ending: Ending, code: int | None, signal: int | None, detail: str = ""
    ) -> None:
        start, act = attempt.start, attempt.act
        elapsed = self.clock.steady() - attempt.began
        sizes = (len(act.out), len(act.err))
        attempt.result = Result(start.serial, ending, code, signal, elapsed, *sizes, None, None, detail)
        self.ended[start.serial] = self.running.pop(start.serial)
        self.log.append(("-", self._id(start)))
        self.tell()
        self.begin()

    async def _expire(self, line: Line) -> None:
        await self.clock.sleep(line.brief.lease)
        if self._line is not None:
            self._line.lose(Down("the lease has ended"))
        self._unseen.update(self.waiting)
        self.waiting.clear()
        for serial in list(self.running):
            self.kill(serial, line.brief.grace, Ending.INTERRUPTED)
