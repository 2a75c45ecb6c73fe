"""The store against a model of it: after every step of any history, what it gives back is what the model says.

Steps are what a controller does, and what is done to one: turns, closing without a word, claims by another, and writes
of one that was thought dead.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hostler.errors import StaleEpoch
from hostler.model.events import (
    Event,
    JobsCancelled,
    JobsRequeued,
    RunPaused,
    RunStarted,
    RunUnpaused,
    StopRequested,
)
from hostler.model.hosts import Host
from hostler.model.jobs import BLAMES_JOB, RETRYABLE, STATE_AFTER, Ending, JobState
from hostler.ports import Turn
from hostler.stores.reads.attempts import attempts
from hostler.stores.reads.runs import run
from hostler.stores.sqlite import open_store
from tests.contract.store_making import AT, HOSTS, Writer, accepted, dispatched, ended, started, writer

T = TypeVar("T")
ENDINGS = [each for each in Ending if each in STATE_AFTER]


@dataclass
class Job:
    """What the model knows of a job."""

    state: JobState = JobState.QUEUED
    n: int = 0
    tries: int = 0
    worker: int = 0
    serial: int = 0
    started: bool = False


class StoreMachine(RuleBasedStateMachine):
    """One run in a SQLite file."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="store-machine-"))
        self.loop = asyncio.Runner()
        self.store = open_store(self.folder)
        self.jobs: dict[int, Job] = {}
        self.ends: list[tuple[int, int, Ending]] = []
        self.hosts = [host.name for host in HOSTS]
        self.serials: Counter[int] = Counter()
        self.stopping = self.paused = False

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)

    @initialize(count=st.integers(1, 5))
    def accept(self, count: int) -> None:
        self.number = self.do(accepted(self.store, count))
        self.jobs = {number: Job() for number in range(1, count + 1)}
        self.owner: Writer = self.do(writer(self.store, self.number))

    def turn(self, *events: Event) -> None:
        self.do(self.owner.turn(*events))

    def those(self, *states: JobState) -> list[int]:
        return [number for number, job in self.jobs.items() if job.state in states]

    # -- what a controller does -------------------------------------------------------------------------------

    @precondition(lambda self: self.those(JobState.QUEUED))
    @rule(data=st.data())
    def dispatch(self, data: st.DataObject) -> None:
        chosen = data.draw(st.lists(st.sampled_from(self.those(JobState.QUEUED)), min_size=1, unique=True))
        events = []
        for number in chosen:
            job, worker = self.jobs[number], data.draw(st.integers(1, len(self.hosts)))
            self.serials[worker] += 1
            job.state, job.n, job.worker, job.serial = JobState.OPEN, job.n + 1, worker, self.serials[worker]
            events.append(dispatched(number, job.n, worker=worker, serial=job.serial))
        self.turn(*events)

    @precondition(lambda self: any(not self.jobs[each].started for each in self.those(JobState.OPEN)))
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        waiting = [each for each in self.those(JobState.OPEN) if not self.jobs[each].started]
        number = data.draw(st.sampled_from(waiting))
        self.jobs[number].started = True
        self.turn(started(number, self.jobs[number].n))

    @precondition(lambda self: self.those(JobState.OPEN))
    @rule(data=st.data(), ending=st.sampled_from(ENDINGS), again=st.booleans())
    def end(self, data: st.DataObject, ending: Ending, again: bool) -> None:
        number = data.draw(st.sampled_from(self.those(JobState.OPEN)))
        job = self.jobs[number]
        job.tries += ending in BLAMES_JOB
        job.started = False
        job.state = JobState.QUEUED if again and ending is not Ending.OK else STATE_AFTER[ending]
        self.ends.append((number, job.n, ending))
        self.turn(ended(number, job.n, ending=ending, then=job.state, tries=job.tries))

    @rule()
    def put_back(self) -> None:
        mine = self.those(*RETRYABLE)
        for number in mine:
            self.jobs[number].state, self.jobs[number].tries = JobState.QUEUED, 0
        self.turn(JobsRequeued(at=AT, states=tuple(map(int, RETRYABLE)), count=len(mine)))

    @precondition(lambda self: self.those(JobState.QUEUED))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        chosen = data.draw(st.lists(st.sampled_from(self.those(JobState.QUEUED)), min_size=1, unique=True))
        for number in chosen:
            self.jobs[number].state = JobState.CANCELLED
        self.turn(JobsCancelled(at=AT, jobs=tuple(chosen)))

    @rule(pause=st.booleans())
    def pause(self, pause: bool) -> None:
        self.paused = pause
        self.turn(RunPaused(at=AT) if pause else RunUnpaused(at=AT))

    @rule()
    def stop(self) -> None:
        self.stopping = True
        self.turn(StopRequested(at=AT, why="Ctrl-C"))

    @rule()
    def enrol(self) -> None:
        name = f"more{len(self.hosts)}"
        self.hosts.append(name)
        self.do(self.store.add_workers(self.owner.claim, [Host(name=name, address=f"{name}.example")]))

    # -- what is done to one ------------------------------------------------------------------------------------

    @rule()
    def die_and_be_followed(self) -> None:
        before = self.owner.claim.epoch
        self.do(self.store.close())
        self.store = open_store(self.folder)
        self.owner = self.do(writer(self.store, self.number, owner="another"))
        assert self.owner.claim.epoch == before + 1
        self.stopping = False
        self.turn(RunStarted(at=AT, epoch=before + 1, owner="another", options={}))

    @precondition(lambda self: self.those(JobState.QUEUED))
    @rule()
    def a_dead_one_writes(self) -> None:
        number = self.those(JobState.QUEUED)[0]
        claim = self.owner.claim
        late = Turn(
            run=claim.run,
            epoch=claim.epoch - 1,
            seq=self.owner.seq + 1,
            events=[dispatched(number, self.jobs[number].n + 1, serial=10_000)],
        )
        with pytest.raises(StaleEpoch):
            self.do(self.store.commit(late))

    # -- what must hold -----------------------------------------------------------------------------------------

    @invariant()
    def it_says_what_the_model_says(self) -> None:
        if not self.jobs:
            return
        rows = self.do(self.store.batch_rows(self.number))
        states = Counter(job.state for job in self.jobs.values())
        assert {state: count for state, count in rows.counts.items() if count} == dict(states)
        assert (rows.stopping, rows.paused) == (self.stopping, self.paused)
        assert [worker.host.name for worker in rows.workers] == self.hosts
        assert {worker.id: worker.serial for worker in rows.workers if worker.serial} == dict(self.serials)
        assert {row.job: (row.n, row.worker, row.serial, row.started, row.tries) for row in rows.open} == {
            number: (job.n, job.worker, job.serial, job.started, job.tries)
            for number, job in self.jobs.items()
            if job.state is JobState.OPEN
        }
        queued = self.do(self.store.queued(self.number, after=(0, 0), limit=100))
        assert {each.job: (each.attempts, each.tries) for each in queued} == {
            number: (self.jobs[number].n, self.jobs[number].tries) for number in self.those(JobState.QUEUED)
        }
        told = attempts(self.store.reader, self.number)
        assert sorted((row.job, row.n, row.ending) for row in told if row.ending) == sorted(self.ends)
        assert run(self.store.reader, self.number).epoch == self.owner.claim.epoch

    def teardown(self) -> None:
        self.do(self.store.close())
        self.loop.close()
        shutil.rmtree(self.folder)


def test_after_every_step_the_store_says_what_the_model_says() -> None:
    run_state_machine_as_test(StoreMachine, settings=settings(max_examples=25, stateful_step_count=25))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_after_every_step_of_many_histories_the_store_says_what_the_model_says() -> None:
    run_state_machine_as_test(
        StoreMachine, settings=settings(max_examples=250, stateful_step_count=50, derandomize=False)
    )
