"""What the batch engine makes of requests, and of hosts that work on without us, one story each."""

from __future__ import annotations

from typing import Any

from hostler.engine import facts as f
from hostler.engine.batch import Batch
from hostler.engine.turn import step
from hostler.model.events import (
    AttemptEnded,
    Event,
    HostEnrolled,
    JobsCancelled,
    RequestAnswered,
    SettingChanged,
)
from hostler.model.hosts import Host
from hostler.model.jobs import Ending, JobState, Queued
from hostler.model.reports import Began, Hello, Result, Revoked, Standing
from hostler.model.requests import Add, Cancel, Change, Pause, Stop, Unpause, Wish
from hostler.model.runs import DETACHED, BatchRows, BatchSpec, OpenAttempt, Worker


def loaded(jobs: int, *, workers: int = 1, held: int = 0, **spec: Any) -> Batch:
    """A batch with so many jobs, of which the first worker holds the first few since another life."""
    rows = BatchRows(
        spec=BatchSpec(**spec),
        counts={JobState.QUEUED: jobs - held, JobState.OPEN: held},
        open=tuple(
            OpenAttempt(
                job=n, n=1, worker=1, serial=n, args=(b"x",), tries=0, started=True, dispatched_at=0.0
            )
            for n in range(1, held + 1)
        ),
        workers=tuple(
            Worker(id=w, host=Host(name=f"h{w}", address="a"), token="t", spool="s", serial=held)
            for w in range(1, workers + 1)
        ),
    )
    return Batch.load(rows)


def at_work(jobs: int, *, workers: int = 1, slots: int = 2, **spec: Any) -> Batch:
    """A batch whose hosts are up and hold what they can."""
    batch = loaded(jobs, workers=workers, held=0, **spec)
    step(batch, [], at=0.0)
    waiting = tuple(Queued(job, (b"x",)) for job in range(1, jobs + 1))
    hello = Hello(spool="s", boot="b", account="0", python="3", slots=slots, standings={})
    step(batch, [f.JobsLoaded(waiting), *(f.HostUp(w, hello) for w in range(1, workers + 1))], at=1.0)
    return batch


def ask(
    batch: Batch, wish: Wish | None, *, number: int = 1, stale: bool = False, **standings: JobState
) -> tuple[list[Event], list[f.Effect]]:
    """Ask for something; `standings` are by job: j5=JobState.QUEUED."""
    jobs = tuple((int(name[1:]), state) for name, state in standings.items())
    kind = wish.kind if wish else "dance"
    return step(batch, [f.Asked(number, "ann", kind, wish, standings=jobs, stale=stale)], at=2.0)


def words(events: list[Event]) -> list[str]:
    return [event.words for event in events if isinstance(event, RequestAnswered)]


def killed(serial: int, ending: Ending = Ending.CANCELLED) -> f.Heard:
    return f.Heard(1, Result(serial, ending, None, 15, 0.1, 0, 0, b"", b""))


def test_a_pause_takes_back_what_has_not_begun_and_a_job_given_back_waits() -> None:
    batch = at_work(6)
    assert len(batch.hands[1].open) == 4
    step(batch, [f.Heard(1, Began(1, 0.0)), f.Heard(1, Began(2, 0.0))], at=1.5)
    events, effects = ask(batch, Pause())
    assert [event.type for event in events] == ["request.made", "run.paused", "request.answered"]
    assert effects == [f.TakeBack(1, (3, 4))]
    _, effects = step(batch, [f.Heard(1, Revoked(3)), f.Heard(1, Revoked(4))], at=3.0)
    assert effects == [] and batch.counts[JobState.QUEUED] == 4
    _, effects = ask(batch, Unpause(), number=2)
    assert [len(e.attempts) for e in effects if isinstance(e, f.Send)] == [2]


def test_a_paused_run_with_idle_hosts_is_not_over() -> None:
    batch = at_work(3)
    ask(batch, Pause())
    ended = [f.Heard(1, Result(n, Ending.OK, 0, None, 0.1, 0, 0, b"", b"")) for n in (1, 2)]
    _, effects = step(batch, [*ended, f.Heard(1, Revoked(3))], at=3.0)
    assert not batch.finished and not any(isinstance(e, (f.Release, f.Finish)) for e in effects)


def test_a_job_that_runs_is_cancelled_once_its_host_says_so() -> None:
    batch = at_work(2)
    events, effects = ask(batch, Cancel(jobs=(1,)), j1=JobState.OPEN)
    assert words(events) == []
    assert effects[:2] == [f.TakeBack(1, (1,)), f.End(1, (1,), Ending.CANCELLED)]
    events, _ = step(batch, [killed(1)], at=3.0)
    assert words(events) == ["job 1: cancelled"] and batch.counts[JobState.CANCELLED] == 1


def test_a_job_that_ends_while_it_is_being_cancelled_keeps_its_ending_and_is_not_tried_again() -> None:
    batch = at_work(2, retries=3)
    ask(batch, Cancel(jobs=(1, 2)), j1=JobState.OPEN, j2=JobState.OPEN)
    failed = f.Heard(1, Result(1, Ending.EXIT, 3, None, 0.1, 0, 0, b"", b""))
    events, _ = step(batch, [failed, killed(2, Ending.INTERRUPTED)], at=3.0)
    assert [e.then for e in events if isinstance(e, AttemptEnded)] == [JobState.FAILED, JobState.CANCELLED]
    assert words(events) == ["job 1: failed; job 2: cancelled"]


def test_waiting_jobs_are_struck_off_and_what_is_no_job_of_the_run_is_named() -> None:
    batch = at_work(9, slots=1)
    events, _ = ask(batch, Cancel(jobs=(8, 9, 99)), j8=JobState.QUEUED, j9=JobState.OK)
    assert [e.jobs for e in events if isinstance(e, JobsCancelled)] == [(8,)]
    assert words(events) == ["job 8: cancelled; job 9: ok before; job 99: not in this run"]
    step(batch, [f.JobsLoaded((Queued(8, (b"x",)),))], at=3.0)  # it was loaded a moment before
    assert 8 not in {queued.job for queued in batch.window}


def test_the_next_owner_goes_on_with_a_cancelling_that_was_not_done() -> None:
    batch = loaded(2, held=2)
    asked = f.Asked(7, "ann", "cancel", Cancel(jobs=(2,)), standings=((2, JobState.OPEN),), again=True)
    events, effects = step(batch, [asked], at=1.0)
    assert events == [] and [e.ask for e in effects if isinstance(e, f.Connect)] == [(1, 2)]
    standings = {1: Standing.RUNNING, 2: Standing.UNKNOWN}
    hello = Hello(spool="s", boot="b", account="0", python="3", slots=2, standings=standings)
    _, effects = step(batch, [f.HostUp(1, hello)], at=2.0)
    assert not any(isinstance(e, f.Send) for e in effects)
    assert f.End(1, (2,), Ending.CANCELLED) in effects
    events, _ = step(batch, [f.Heard(1, Revoked(2))], at=3.0)
    assert words(events) == ["job 2: cancelled"]


def test_what_had_begun_when_slots_were_taken_away_counts_as_at_work() -> None:
    batch = at_work(6, slots=3)
    step(batch, [f.Heard(1, Began(serial, 0.0)) for serial in (1, 2, 3)], at=1.5)
    ask(batch, Change(slots=1))
    assert batch.running == 3


def test_new_slots_reach_hosts_at_once_and_a_new_timeout_what_has_not_begun() -> None:
    batch = at_work(6)
    step(batch, [f.Heard(1, Began(1, 0.0))], at=1.5)
    events, effects = ask(batch, Change(slots=5, timeout=30.0))
    assert [(e.name, e.value) for e in events if isinstance(e, SettingChanged)] == [
        ("slots", 5),
        ("timeout", 30.0),
    ]
    assert effects[:2] == [f.Resize(1, 5), f.TakeBack(1, (2, 3, 4))]
    assert (batch.spec.slots, batch.spec.timeout, batch.hands[1].slots) == (5, 30.0, 5)


def test_hosts_that_join_are_reached_and_one_that_was_given_up_gets_another_chance() -> None:
    batch = at_work(20)
    step(batch, [f.HostDown(1, "no key accepted", fatal=True)], at=1.5)
    hosts = tuple(Host(name=name, address="b") for name in ("h1", "h9"))
    events, effects = ask(batch, Add(hosts=hosts))
    assert [(e.worker, e.name) for e in events if isinstance(e, HostEnrolled)] == [(1, "h1"), (2, "h9")]
    assert {e.worker for e in effects if isinstance(e, f.Connect)} == {1, 2}


def test_jobs_that_come_when_all_was_done_are_begun_on_the_hosts_that_were_let_go() -> None:
    batch = at_work(1)
    ended = f.Heard(1, Result(1, Ending.OK, 0, None, 0.1, 0, 0, b"", b""))
    _, effects = step(batch, [ended], at=3.0)
    assert f.Release(1) in effects and not batch.finished
    ask(batch, Add(jobs=2))
    _, effects = step(batch, [f.WorkerReleased(1)], at=4.0)
    assert [e.worker for e in effects if isinstance(e, f.Connect)] == [1]


def test_a_visit_only_answers_and_asks_the_hosts_that_it_must() -> None:
    batch = loaded(5, workers=2, held=2)
    batch.visiting = True
    _, effects = ask(batch, Pause())
    assert effects == [f.Finish(False)]
    batch = loaded(5, workers=2, held=2)
    batch.visiting = True
    _, effects = ask(batch, Cancel(jobs=(2,)), j2=JobState.OPEN)
    assert [e.worker for e in effects if isinstance(e, f.Connect)] == [1] and not batch.finished
    hello = Hello(spool="s", boot="b", account="0", python="3", slots=2, standings={1: Standing.RUNNING})
    step(batch, [f.HostUp(1, hello)], at=3.0)
    _, effects = step(batch, [killed(2)], at=4.0)
    assert f.Finish(False) in effects and not any(isinstance(e, f.Release) for e in effects)


def test_a_visit_that_stops_goes_to_every_host_that_may_hold_something() -> None:
    batch = loaded(5, workers=3, held=1)
    batch.visiting = True
    events, effects = ask(batch, Stop())
    assert [event.type for event in events] == ["request.made", "run.stop-requested", "request.answered"]
    assert {e.worker for e in effects if isinstance(e, f.Connect)} == {1, 2, 3}
    step(batch, [f.HostDown(1, "refused"), f.HostDown(2, "refused")], at=3.0)
    hello = Hello(spool="s", boot="b", account="0", python="3", slots=2, standings={})
    _, effects = step(batch, [f.HostUp(3, hello)], at=4.0)
    assert f.Release(3) in effects
    _, effects = step(batch, [f.WorkerReleased(3)], at=5.0)
    assert batch.finished and batch.counts[JobState.OPEN] == 1


def test_a_stop_that_was_asked_of_an_owner_that_is_no_more_is_not_obeyed() -> None:
    batch = at_work(3)
    events, _ = ask(batch, Stop(), stale=True)
    assert not batch.stopping and "taken up anew" in words(events)[0]
    events, _ = ask(batch, None, number=2)
    assert words(events) == ["its owner is of a version that doesn't know 'dance'"]


def test_what_a_detached_host_holds_is_never_given_to_another() -> None:
    batch = at_work(2, workers=2, slots=1, lease=DETACHED)
    _, effects = step(batch, [f.HostDown(1, "cut")], at=50.0)
    assert [type(e).__name__ for e in effects] == ["Connect"]
    ended = f.Heard(2, Result(1, Ending.OK, 0, None, 0.1, 0, 0, b"", b""))
    _, effects = step(batch, [ended], at=1e8)
    assert not batch.finished and not any(isinstance(e, f.Send) for e in effects)
    # A host that refuses us will not be asked again: the run ends, and what it holds waits for a resume.
    step(batch, [f.HostDown(1, "no key accepted", fatal=True)], at=1e8 + 1)
    step(batch, [f.WorkerReleased(2)], at=1e8 + 2)
    assert batch.finished and batch.counts[JobState.OPEN] == 1
