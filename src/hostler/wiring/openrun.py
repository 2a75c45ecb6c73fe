"""A run that this process owns: worked on to its end, its figures at any moment."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from hostler.bus import Bus
from hostler.clock import Clock, SystemClock
from hostler.engine.hands import Line
from hostler.engine.summary import Pace, Progress, exit_code
from hostler.model.durations import format_duration
from hostler.model.events import RunFinished
from hostler.model.jobs import JobState
from hostler.model.runs import Worker
from hostler.ports import Transport
from hostler.stores.ownership import BEAT
from hostler.views.live import Live
from hostler.views.tables import counted, listed
from hostler.views.workerlogs import WorkerLogs
from hostler.work.batch import BatchWork

if TYPE_CHECKING:
    from hostler.transports.sessionkeys import SessionKeys


class OpenRun:
    """A run that this process owns, ready to be worked on."""

    def __init__(
        self, work: BatchWork, bus: Bus, live: Live, *, number: int, workers: dict[int, Worker],
        transport: Transport,
    ) -> None:  # fmt: skip
        self.work, self.number, self.live = work, number, live
        self._bus, self._workers, self._transport = bus, workers, transport
        self._pace: Pace | None = None
        self._counts, self.was_over = work.batch.counts.copy(), False
        self.signal: int | None = None
        #: Whether this process only does what was asked of a run that nobody works on.
        self.visit = False
        self.beat: Callable[[], None] = lambda: None
        self.logs: WorkerLogs | None = None
        self.keys: SessionKeys | None = None
        #: What is called once the run is over and all of it was seen.
        self.last_words: list[Callable[[], None]] = []

    async def go(self) -> int:
        """Work until the run is over, and record how; its exit code. Raises StoreError."""
        clock = SystemClock()
        beside = [asyncio.create_task(self.live.run()), asyncio.create_task(self._beating(clock))]
        if self.keys is not None and not self.visit:
            beside.append(asyncio.create_task(self.keys.run()))
        try:
            stuck = await self.work.run()
            # Not where the store has failed: another controller may have the run, and its key.
            if self.keys is not None and not (self.visit and self.work.batch.visiting):
                await self.keys.end()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            self.live.end()
            await self._transport.close()
            if self.logs is not None:
                self.logs.flush()
        counts = self.work.batch.counts
        left = bool(counts[JobState.QUEUED] + counts[JobState.OPEN])
        batch = self.work.batch
        # Who is stopped by a request is stopped as by TERM, only that the word took another way.
        cut = left or (batch.spec.fanout and bool(counts[JobState.INTERRUPTED]))
        asked = signal.SIGTERM if batch.stopped_for and cut else None
        code = exit_code(counts, signal=self.signal or asked, halted=batch.halted and left)
        # What a silent host holds was not stopped: it may run on there, whoever asked for the end.
        state = "left" if counts[JobState.OPEN] else "stopped" if stuck or left else "finished"
        visited = self.visit and batch.visiting
        # A stop that did not reach all hosts has not stopped the run; jobs that joined it have opened it again.
        unreached = self.visit and not batch.visiting and counts[JobState.OPEN]
        joined = sum(counts.values()) > sum(self._counts.values())
        if not unreached and (not visited or (self.was_over and not joined and counts != self._counts)):
            await self._bus.commit([RunFinished(at=clock.now(), state=state, exit_code=code)])
        for say in self.last_words:
            say()
        return code

    async def _beating(self, clock: Clock) -> None:
        """Leave signs of life, by which the next owner knows how long hosts have been without us."""
        while True:
            self.beat()
            await clock.sleep(BEAT)

    def stop(self, number: int, why: str) -> None:
        """Ask for the end, because of the signal `number`."""
        self.signal = number
        self.work.stop(why)

    def unfinished(self) -> list[tuple[str, list[int]]]:
        """Hosts that may still be working for this run, with the jobs they hold."""
        hands = [hand for hand in self.work.batch.hands.values() if hand.open]
        return [
            (self._workers[hand.id].host.name, [held.queued.job for held in hand.open.values()])
            for hand in hands
        ]

    def progress(self) -> Progress:
        """The run at this moment."""
        batch, counts = self.work.batch, self.work.batch.counts
        hands = [hand for hand in batch.hands.values() if hand.id in self._workers]
        up = [hand for hand in hands if hand.line in (Line.UP, Line.LEAVING, Line.RELEASED)]
        out = [hand for hand in hands if hand.line in (Line.RESTING, Line.LOST) or hand.failures]
        unseen = [hand for hand in hands if hand.open and hand.went]
        done = sum(count for state, count in counts.items() if state.final)
        now = SystemClock().steady()
        left = counts[JobState.QUEUED] + counts[JobState.OPEN]
        if self._pace is None and (up or done):
            self._pace = Pace.begin(now, done)
        elif self._pace is not None:
            self._pace = self._pace.seen(now, done)
        phase = ""
        if batch.draining and not batch.halted:
            phase = f"draining: waiting for {counted(counts[JobState.OPEN], 'job')} to end"
        elif batch.halted or batch.draining:
            phase = f"halting: waiting for {counted(counts[JobState.OPEN], 'job')} to end"
        elif batch.stopping:
            phase = f"stopping: waiting for {counted(counts[JobState.OPEN], 'job')} to end"
        elif batch.paused:
            phase = "paused"
        elif not up and left:
            phase = "connecting"
        elif batch.later and not counts[JobState.OPEN]:
            rest = round(max(0.0, batch.later[0][0] - batch.at))
            phase = f"{counted(len(batch.later), 'job')} wait for a next try, the first in {format_duration(rest)}"
        elif unseen and not any(hand.open for hand in hands if not hand.went):
            jobs = counted(sum(len(hand.open) for hand in unseen), "job")
            names = listed([self._workers[hand.id].host.name for hand in unseen], shown=2)
            rest = round(max(0.0, min(hand.until for hand in unseen) - SystemClock().now()))
            phase = f"{jobs} left on {names}, given up in {format_duration(rest)}"
        known = (JobState.OK, JobState.FAILED, JobState.TIMEOUT, JobState.LOST)
        return Progress(
            number=self.number,
            total=done + left,
            queued=counts[JobState.QUEUED],
            running=batch.running,
            ok=counts[JobState.OK],
            failed=counts[JobState.FAILED],
            timed_out=counts[JobState.TIMEOUT],
            lost=counts[JobState.LOST],
            other=done - sum(counts[state] for state in known),
            hosts_up=len(up),
            hosts_total=len(hands),
            hosts_out=tuple(self._workers[hand.id].host.name for hand in out if hand not in up),
            rate=self._pace.rate if self._pace else None,
            eta=self._pace.eta(left) if self._pace else None,
            phase=phase,
            verb=batch.spec.verb,
        )
