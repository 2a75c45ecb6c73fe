"""A fan-out's engine: one pinned job per host, no more lines than may be open, waves, and hosts that can't be had."""

from __future__ import annotations

from typing import Any

from hostler.engine import facts as f
from hostler.engine.batch import Batch
from hostler.engine.turn import step
from hostler.model.events import AttemptDispatched, AttemptEnded, Event, HostLost, StopRequested
from hostler.model.hosts import Host
from hostler.model.jobs import Ending, JobState, Queued
from hostler.model.reports import Hello, Lost, Report, Result
from hostler.model.runs import BatchRows, BatchSpec, OpenAttempt, Worker


class Fan:
    """A fan-out over so many hosts, whose facts are said one by one."""

    def __init__(self, hosts: int, *, open: tuple[OpenAttempt, ...] = (), **wanted: Any) -> None:
        spec = BatchSpec(fanout=True, lease=0.0, retry_on="none", slots=1, **wanted)
        workers = tuple(
            Worker(id=i, host=Host(name=f"n{i}", address=f"n{i}"), token="t") for i in hosts_of(hosts)
        )
        counts = {JobState.QUEUED: hosts - len(open), JobState.OPEN: len(open)}
        self.batch = Batch.load(BatchRows(spec=spec, counts=counts, workers=workers, open=open))
        self.events: list[Event] = []
        self.effects: list[f.Effect] = []
        self.at, taken = 0.0, {each.job for each in open}
        self.say()
        if self.of(f.NeedJobs):
            self.say(f.JobsLoaded(tuple(Queued(i, (b"",), pin=i) for i in hosts_of(hosts) if i not in taken)))

    def say(self, *facts: f.Fact) -> None:
        """One turn, and those that follow from what it lets go."""
        self.at += 1.0
        events, effects = step(self.batch, facts, at=self.at)
        self.events += events
        self.effects += effects
        if gone := [f.WorkerReleased(e.worker) for e in effects if isinstance(e, f.Release)]:
            self.say(*gone)

    def of(self, kind: type[Any]) -> list[Any]:
        return [each for each in [*self.events, *self.effects] if isinstance(each, kind)]

    @property
    def called(self) -> list[int]:
        return [each.worker for each in self.of(f.Connect)]

    def up(self, *workers: int) -> None:
        hello = Hello(spool="o", boot="", account="", python="", slots=1, standings={})
        self.say(*(f.HostUp(worker, hello) for worker in workers))

    def hear(self, worker: int, report: Report) -> None:
        self.say(f.Heard(worker, report))

    def end(self, worker: int, code: int = 0) -> None:
        ending = Ending.EXIT if code else Ending.OK
        self.hear(worker, Result(1, ending, code, None, 0.1, 0, 0, b"", b""))

    @property
    def counts(self) -> dict[str, int]:
        return {state.word: count for state, count in self.batch.counts.items() if count}


def hosts_of(count: int) -> range:
    return range(1, count + 1)


def test_each_job_goes_to_its_own_host_and_to_no_other() -> None:
    fan = Fan(3)
    assert fan.called == [1, 2, 3]
    fan.up(2)
    fan.end(2)
    fan.up(3, 1)
    assert [(e.job, e.worker) for e in fan.of(AttemptDispatched)] == [(2, 2), (1, 1), (3, 3)]
    assert not fan.of(f.TakeBack)


def test_no_more_lines_are_held_than_may_be_and_each_is_let_go_with_its_job() -> None:
    fan = Fan(5, forks=2)
    assert fan.called == [1, 2]
    fan.up(1, 2)
    fan.end(2)
    assert [e.worker for e in fan.of(f.Release)] == [2] and fan.called == [1, 2, 3]
    fan.say(f.HostDown(3, "refused"))
    assert fan.called == [1, 2, 3, 4]


def test_a_host_that_can_not_be_had_ends_its_job_at_once_with_the_reason() -> None:
    fan = Fan(2)
    fan.say(f.HostDown(1, "no route to n1"))
    (ended,) = fan.of(AttemptEnded)
    assert (ended.job, ended.ending, ended.then, ended.detail) == (
        1, Ending.UNREACHABLE, JobState.LOST, "no route to n1",
    )  # fmt: skip
    assert [e.worker for e in fan.of(HostLost)] == [1] and not fan.of(f.Rest)
    fan.up(2)
    fan.end(2)
    assert fan.batch.finished and fan.counts == {"ok": 1, "lost": 1} and fan.called == [1, 2]


def test_a_job_that_was_lost_is_not_done_again_by_itself() -> None:
    fan = Fan(1)
    fan.up(1)
    fan.hear(1, Lost(1, "its line broke"))
    fan.say(f.HostDown(1, "the line broke"))
    assert fan.batch.finished and fan.counts == {"lost": 1} and len(fan.of(AttemptDispatched)) == 1


def test_a_job_whose_end_nobody_heard_of_is_asked_after_and_never_sent_again() -> None:
    left = OpenAttempt(
        job=1, n=1, worker=1, serial=1, args=(), tries=0, started=True, dispatched_at=0.0, pin=1
    )
    fan = Fan(2, open=(left,))
    asked = {e.worker: e.ask for e in fan.of(f.Connect)}
    assert asked == {1: (1,), 2: ()}


def test_with_retries_a_failed_job_goes_to_its_own_host_again() -> None:
    fan = Fan(2, retries=1)
    fan.batch.retry = fan.batch.retry.parse("failed")
    fan.up(1, 2)
    fan.end(1, 3)
    assert [(e.job, e.n, e.worker) for e in fan.of(AttemptDispatched)] == [(1, 1, 1), (2, 1, 2), (1, 2, 1)]


def test_a_wave_begins_when_the_one_before_has_ended() -> None:
    fan = Fan(6, waves="1,2,100%")
    assert fan.called == [1]
    fan.up(1)
    fan.end(1)
    assert fan.called == [1, 2, 3]
    fan.up(2, 3)
    fan.end(3)
    assert fan.called == [1, 2, 3]
    fan.end(2, 1)
    assert fan.called == [1, 2, 3, 4, 5, 6]


def test_after_enough_failures_nothing_more_begins_and_what_runs_is_let_end() -> None:
    fan = Fan(9, waves="3", halt="soon,fail=2")
    fan.up(1)
    fan.say(f.HostDown(2, "refused"))
    fan.end(1, 1)
    (stopped,) = fan.of(StopRequested)
    assert stopped.halted and stopped.drain and stopped.why == "--stop-after 2: 2 hosts failed"
    assert not fan.of(f.End) and fan.called == [1, 2, 3]


def test_a_paused_fan_out_calls_nobody_more() -> None:
    fan = Fan(3, forks=1)
    fan.batch.paused = True
    fan.up(1)
    fan.say(f.HostDown(1, "gone"))
    assert fan.called == [1] and fan.counts == {"queued": 3}
