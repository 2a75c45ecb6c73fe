"""Turns written in bulk leave the same rows as their events written one by one."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hostler.model.events import (
    AttemptSuperseded,
    Event,
    HostConnected,
    HostLost,
    HostStruck,
    JobsRequeued,
    RunFinished,
    RunStarted,
    StopRequested,
)
from hostler.model.jobs import RETRYABLE, STATE_AFTER, Ending, JobState, OutputRef
from hostler.model.runs import BatchRows
from hostler.stores.reads.events import events
from hostler.stores.sqlite import open_store
from hostler.stores.store import RowStore
from tests.contract.store_making import AT, begun, dispatched, ended, started

JOBS = 6


class History:
    """Events that could happen to a run of a few jobs, one after the other."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice
        self._states = dict.fromkeys(range(1, JOBS + 1), JobState.QUEUED)
        self._attempts = dict.fromkeys(self._states, 0)
        self._tries = dict.fromkeys(self._states, 0)
        self._started: set[int] = set()
        self._serial = 0

    def next(self) -> Event:
        """Something that may happen now."""
        job = self._dice.choice(list(self._states))
        if self._dice.random() < 0.15:
            return self._rare(job)
        if self._states[job] is JobState.QUEUED:
            self._states[job] = JobState.OPEN
            self._attempts[job] += 1
            self._serial += 1
            return dispatched(job, self._attempts[job], worker=self._dice.choice((1, 2)), serial=self._serial)
        if self._states[job] is not JobState.OPEN:
            return self._rare(job)
        if job not in self._started and self._dice.random() < 0.5:
            self._started.add(job)
            return started(job, self._attempts[job])
        return self._end(job)

    def _end(self, job: int) -> Event:
        ending = self._dice.choice(list(Ending))
        self._started.discard(job)
        self._tries[job] += ending in (Ending.EXIT, Ending.TIMEOUT)
        then = (
            JobState.QUEUED if ending is not Ending.OK and self._dice.random() < 0.5 else STATE_AFTER[ending]
        )
        self._states[job] = then
        return ended(
            job,
            self._attempts[job],
            ending=ending,
            then=then,
            tries=self._tries[job],
            elapsed=self._dice.choice((None, 0.25)),
            output=self._dice.choice((None, OutputRef("out/1.dat", self._dice.randrange(99), 3, 4, True))),
            detail=self._dice.choice(("", "why")),
        )

    def _rare(self, job: int) -> Event:
        worker = self._dice.choice((1, 2))
        kind = self._dice.randrange(8)
        if kind == 0:
            mine = [each for each, state in self._states.items() if state in RETRYABLE]
            for each in mine:
                self._states[each], self._tries[each] = JobState.QUEUED, 0
            return JobsRequeued(at=AT, states=tuple(map(int, RETRYABLE)), count=len(mine))
        return (
            RunFinished(at=AT, state="stopped", exit_code=1),
            RunStarted(at=AT, epoch=1, owner="me", options={}),
            StopRequested(at=AT, why="Ctrl-C"),
            HostConnected(at=AT, worker=worker, spool=f"spool {job}", boot="boot"),
            HostStruck(at=AT, worker=worker, why=f"why {job}"),
            HostLost(at=AT, worker=worker, why="lost"),
            AttemptSuperseded(at=AT, job=job, n=1, ending=Ending.OK, code=0),
        )[kind - 1]


def dump(store: RowStore) -> dict[str, list[tuple[Any, ...]]]:
    """Every row there is, but for what tells turns apart."""
    names = ("run", "job", "attempt", "worker", "event")
    return {name: store.reader.all(f"SELECT * FROM {name} ORDER BY 1, 2, 3") for name in names}


async def written(turns: list[list[Event]]) -> tuple[dict[str, list[tuple[Any, ...]]], BatchRows, list[Any]]:
    """The rows, the engine's view and the history that these turns leave."""
    store = open_store(None)
    mine = await begun(store, JOBS)
    for turn in turns:
        await mine.turn(*turn)
    found = dump(store), await store.batch_rows(1), list(events(store.reader, 1))
    await store.close()
    return found


@settings(max_examples=60)
@given(st.integers(0, 1 << 30), st.lists(st.integers(0, 25), min_size=1, max_size=8))
def test_bulk_and_one_by_one_leave_the_same_rows(seed: int, sizes: list[int]) -> None:
    history = History(Random(seed))
    turns = [[history.next() for _ in range(size)] for size in sizes]

    async def both() -> None:
        bulk = await written(turns)
        assert bulk == await written([[event] for turn in turns for event in turn])
        assert [event for _, event in bulk[2]][2:] == [event for turn in turns for event in turn]

    asyncio.run(both())
