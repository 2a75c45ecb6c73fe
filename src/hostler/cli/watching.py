"""Following a run that another process works on: its output as it is recorded, and its exit code.

It only reads. When the owner is gone without having ended the run, it says so by answering None.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from hostler.cli.following import glances
from hostler.cli.looking import by_state
from hostler.clock import Clock, SystemClock
from hostler.engine.summary import Pace, Progress
from hostler.model.events import AttemptEnded
from hostler.model.jobs import JobState
from hostler.stores.reading import Reader
from hostler.stores.reads.events import events
from hostler.stores.reads.kept import reading
from hostler.stores.reads.runs import run
from hostler.stores.store import RowStore
from hostler.views.console import Console
from hostler.views.live import Live


async def watch(
    store: RowStore,
    number: int,
    *,
    quiet: bool,
    colour: bool,
    draws: bool = True,
    clock: Clock | None = None,
) -> int | None:
    """Follow run `number` until it ends; its exit code, or None when its owner has died.

    Nothing is drawn beneath its output unless `draws`.
    """
    clock = clock or SystemClock()
    reader, folder = store.reader, store.run_folder(number)
    assert folder is not None, "a run is followed in a store on disk"
    read = reading(reader, number, folder=folder)
    console = Console.of_process()
    if not quiet:
        owner = run(reader, number).owner
        console.note(f"hostler: batch {number} is being worked on by {owner}: following it")
    standing = _Standing(reader, number, clock)
    seen = max((seq for seq, _ in events(reader, number)), default=0)
    live = Live(console, standing.progress, clock=clock, colour=colour, quiet=quiet or not draws)
    try:
        async for glance in glances(
            reader, number, clock=clock, tell=lambda line: console.note(f"hostler: {line}")
        ):
            if glance.news:
                for seq, event in events(reader, number, since=seen):
                    seen = seq
                    if isinstance(event, AttemptEnded) and event.output is not None:
                        with suppress(OSError):
                            console.job_output(*(read(event.output, of) for of in (1, 2)))
            standing.look(news=glance.news)
            live.tick()
        return run(reader, number).exit_code
    finally:
        live.end()
        with suppress(asyncio.CancelledError):
            await console.drained()


class _Standing:
    """How the followed run stands, by its rows."""

    def __init__(self, reader: Reader, number: int, clock: Clock) -> None:
        self._reader, self._number, self._clock = reader, number, clock
        self._stale, self._next = True, 0.0
        self._counts: dict[JobState, int] = {}
        self._pace: Pace | None = None

    def look(self, *, news: bool) -> None:
        """Count anew if something has changed since; only part of our time, since a million jobs take a while."""
        now = self._clock.steady()
        self._stale = self._stale or news
        if self._stale and now >= self._next:
            self._stale, self._counts = False, by_state(run(self._reader, self._number).counts)
            self._next = self._clock.steady() + 10 * (self._clock.steady() - now)
        done = self._done
        self._pace = self._pace.seen(now, done) if self._pace else Pace.begin(now, done)

    @property
    def _done(self) -> int:
        return sum(count for state, count in self._counts.items() if state.final)

    def progress(self) -> Progress:
        """The figures of the last look."""
        counts, done = self._counts, self._done
        known = (JobState.OK, JobState.FAILED, JobState.TIMEOUT, JobState.LOST)
        ok, failed, timed_out, lost = (counts.get(state, 0) for state in known)
        queued, running = counts.get(JobState.QUEUED, 0), counts.get(JobState.OPEN, 0)
        return Progress(
            number=self._number,
            total=done + queued + running,
            queued=queued,
            running=running,
            ok=ok,
            failed=failed,
            timed_out=timed_out,
            lost=lost,
            other=done - ok - failed - timed_out - lost,
            rate=self._pace.rate if self._pace else None,
            eta=self._pace.eta(queued + running) if self._pace else None,
            phase="followed",
        )
