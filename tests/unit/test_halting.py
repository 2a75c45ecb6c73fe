"""Runs that end before their jobs have: halt rules, a deadline, a delay between starts; all by the engine alone."""

from __future__ import annotations

from typing import Any

import pytest

from hostler.engine import facts as f
from hostler.engine.batch import Batch
from hostler.engine.turn import step
from hostler.errors import UsageError
from hostler.model.events import StopRequested
from hostler.model.halting import HaltRule
from hostler.model.hosts import Host
from hostler.model.jobs import Ending, JobState, Queued
from hostler.model.reports import Hello, Result
from hostler.model.runs import BatchRows, BatchSpec, Worker


def begun(jobs: int, *, slots: int = 2, counts: dict[JobState, int] | None = None, **spec: Any) -> Batch:
    """A batch with one worker that is up, at second 10."""
    worker = Worker(id=1, host=Host(name="h", address="a"), token="t")
    rows = BatchRows(
        spec=BatchSpec(**spec), counts={JobState.QUEUED: jobs, **(counts or {})}, workers=(worker,)
    )
    batch = Batch.load(rows)
    step(batch, [], at=0.0)
    step(batch, [f.JobsLoaded(tuple(Queued(job, (b"x",)) for job in range(1, jobs + 1)))], at=0.0)
    hello = Hello(spool="s", boot="b", account="0", python="3", slots=slots, standings={})
    step(batch, [f.HostUp(1, hello)], at=10.0)
    return batch


def ended(serial: int, ending: Ending = Ending.OK) -> f.Heard:
    return f.Heard(1, Result(serial, ending, int(ending is Ending.EXIT), None, 1.0, 0, 0, b"", b""))


def kinds(effects: list[f.Effect]) -> list[str]:
    return [type(effect).__name__ for effect in effects]


@pytest.mark.parametrize(
    "text", ["now,fail=1", "soon,fail=3%", "soon,success=2", "now,done=100%", "soon,fail=0.5%"]
)
def test_a_rule_is_written_as_it_is_read(text: str) -> None:
    assert str(HaltRule.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "2", "fail=1", "later,fail=1", "now,fails=1", "now,fail", "now,fail=0", "now,fail=101%",
             "now,fail=1.5", "now,fail=-1", "now,fail=1,soon", "now;fail=1"]
)  # fmt: skip
def test_what_is_no_rule_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        HaltRule.parse(text)
    assert repr(text) in str(caught.value)


def test_a_part_is_one_of_all_jobs_and_cancelled_ones_have_not_failed() -> None:
    rule = HaltRule.parse("soon,fail=10%")
    assert rule is not None
    assert not rule.met({JobState.OK: 5, JobState.FAILED: 1, JobState.QUEUED: 5, JobState.CANCELLED: 3})
    assert rule.met({JobState.FAILED: 1, JobState.LOST: 1, JobState.QUEUED: 18})
    assert not rule.met({JobState.QUEUED: 3})


def test_soon_takes_back_what_waits_and_lets_end_what_runs() -> None:
    batch = begun(9, halt="soon,fail=1")
    events, effects = step(batch, [ended(1, Ending.EXIT)], at=11.0)
    [stop] = [event for event in events if isinstance(event, StopRequested)]
    assert (stop.drain, stop.halted, stop.why) == (True, True, "--halt soon,fail=1: 1 job failed")
    assert kinds(effects) == ["TakeBack", "Ack"]
    assert list(batch.hands[1].open) == [2]  # with a rule nothing is sent ahead of need
    _, effects = step(batch, [ended(2)], at=12.0)
    assert "Release" in kinds(effects) and batch.halted
    assert batch.counts[JobState.OK] == 1 and batch.counts[JobState.QUEUED] == 7


def test_now_ends_what_runs_and_leaves_it_to_a_resume() -> None:
    batch = begun(9, halt="now,success=1")
    _, effects = step(batch, [ended(1)], at=11.0)
    assert kinds(effects) == ["TakeBack", "End", "Ack"]


def test_a_job_that_will_be_tried_again_has_not_failed_yet() -> None:
    batch = begun(2, halt="now,fail=1", retries=1)
    step(batch, [ended(1, Ending.EXIT)], at=11.0)
    assert not batch.stopping


def test_a_rule_that_is_met_by_the_last_job_halts_nothing() -> None:
    batch = begun(1, halt="now,fail=1")
    step(batch, [ended(1, Ending.EXIT)], at=11.0)
    assert not batch.halted


def test_a_halted_run_that_is_taken_up_again_counts_anew() -> None:
    batch = begun(9, halt="now,fail=2", counts={JobState.FAILED: 2})
    step(batch, [ended(1, Ending.EXIT)], at=11.0)
    assert not batch.stopping
    step(batch, [ended(2, Ending.EXIT)], at=12.0)
    assert batch.stopping
    fresh = begun(9, halt="now,fail=2", counts={JobState.FAILED: 1})
    step(fresh, [ended(1, Ending.EXIT)], at=11.0)
    assert fresh.stopping


def test_a_drain_may_become_a_stop_and_never_the_other_way() -> None:
    batch = begun(9)
    step(batch, [f.StopWanted("slowly", drain=True)], at=11.0)
    assert not batch.ending
    assert kinds(step(batch, [f.StopWanted("INT")], at=12.0)[1]) == ["TakeBack", "End"]
    assert kinds(step(batch, [f.StopWanted("slowly", drain=True)], at=13.0)[1]) == []
    assert batch.ending


def test_at_the_deadline_running_jobs_are_ended() -> None:
    batch = begun(9, until=100.0)
    assert not batch.stopping
    events, effects = step(batch, [f.Woke(100.0)], at=100.0)
    assert kinds(effects) == ["TakeBack", "End"] and batch.halted
    assert "--deadline" in next(event.why for event in events if isinstance(event, StopRequested))


def test_a_deadline_is_waited_for_once_and_again_when_the_clock_came_too_early() -> None:
    worker = Worker(id=1, host=Host(name="h", address="a"), token="t")
    batch = Batch.load(BatchRows(spec=BatchSpec(until=100.0), counts={JobState.QUEUED: 1}, workers=(worker,)))
    assert f.Wake(100.0, 90.0) in step(batch, [], at=10.0)[1]
    assert "Wake" not in kinds(step(batch, [], at=11.0)[1])
    assert f.Wake(100.0, 1.0) in step(batch, [f.Woke(100.0)], at=99.0)[1]


def test_with_a_delay_one_job_begins_at_a_time_and_nothing_is_sent_ahead() -> None:
    batch = begun(5, slots=2, delay=2.0)
    assert len(batch.hands[1].open) == 1
    assert step(batch, [], at=11.0)[1] == []
    step(batch, [f.Woke(12.0)], at=12.0)
    assert len(batch.hands[1].open) == 2
    step(batch, [f.Woke(14.0)], at=14.0)
    assert len(batch.hands[1].open) == 2  # no slot is free
    step(batch, [ended(1)], at=15.0)
    assert [held.queued.job for held in batch.hands[1].open.values()] == [2, 3]
