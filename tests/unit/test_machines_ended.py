"""Machines that were launched for a batch and have ended, as the engine sees it: their jobs are free at once."""

from __future__ import annotations

from msgspec.structs import replace

from hostler.engine import facts as f
from hostler.engine.hands import STRIKES, Line
from hostler.model.events import AttemptEnded, HostLost, HostStruck
from hostler.model.hosts import Host
from hostler.model.jobs import Ending, JobState
from hostler.model.reports import Began
from hostler.model.requests import Add
from hostler.model.runs import DETACHED
from tests.unit.test_trust import Effects, Play, rests, sent


def play(jobs: int, *, workers: int = 2) -> Play:
    """A batch whose first worker was launched for it."""
    made = Play(jobs, workers=workers)
    made.batch.hands[1].launched = True
    return made


def asked_after(effects: Effects) -> list[int]:
    return [e.worker for e in effects if isinstance(e, f.AskAfter)]


def test_a_launched_host_is_asked_after_whenever_it_is_out_of_reach_and_no_other_ever() -> None:
    batch = play(4)
    batch.up(1), batch.up(2)
    assert asked_after(batch.down(1)) == [1]
    assert asked_after(batch.down(1)) == [1]
    assert asked_after(batch.down(2)) == []


def test_jobs_of_a_machine_that_has_ended_are_lost_at_once_and_go_to_others() -> None:
    batch = play(4)
    batch.up(1, slots=1), batch.up(2, slots=4)
    batch.hear(1, Began(1, 0.0))
    held = {held.queued.job for held in batch.batch.hands[1].open.values()}
    assert held
    batch.down(1)
    effects = batch.turn(f.MachineEnded(1, "sandbox"), later=0.1)
    ended = [event for event in batch.events if isinstance(event, AttemptEnded)]
    assert {event.job for event in ended} == held
    assert all((each.ending, each.then) == (Ending.LOST, JobState.QUEUED) for each in ended)
    assert {each.detail for each in ended} == {"its machine has ended, sandbox says"}
    assert [each.kills for each in ended].count(1) == 1  # the one that had begun
    assert {job for worker, job in sent(effects) if worker == 2} == held
    assert batch.last(HostLost).why == "its machine has ended, sandbox says"


def test_a_host_that_is_added_anew_after_its_machine_has_ended_is_tried_again_like_any_other() -> None:
    batch = play(4)
    batch.up(2)
    batch.down(1)
    batch.turn(f.MachineEnded(1, "sandbox"))
    batch.turn(f.Asked(1, "me", "add", Add(hosts=(Host(name="h1", address="h1"),))))
    (rest,) = [rest for _ in range(STRIKES) for rest in rests(batch.down(1))]
    effects = batch.turn(f.Rested(1), later=rest)
    assert any(isinstance(effect, f.Connect) for effect in effects)


def test_a_machine_that_has_ended_is_neither_struck_nor_tried_again() -> None:
    batch = play(4)
    batch.up(2)
    batch.down(1), batch.down(1)
    assert rests(batch.down(1))  # it is struck for being out of reach, and rests
    strikes = batch.happened(HostStruck)
    batch.turn(f.MachineEnded(1, "sandbox"))
    effects = batch.turn(f.Rested(1), later=1000.0)
    assert not any(isinstance(effect, f.Connect) for effect in effects)
    assert batch.batch.hands[1].line is Line.LOST
    assert batch.happened(HostStruck) == strikes and batch.happened(HostLost) == 1
    batch.turn(f.MachineEnded(1, "sandbox"))
    assert batch.happened(HostLost) == 1


def test_one_that_answers_is_not_believed_to_have_ended() -> None:
    batch = play(4)
    batch.up(1)
    held = len(batch.batch.hands[1].open)
    batch.turn(f.MachineEnded(1, "sandbox"))
    assert batch.batch.hands[1].line is Line.UP and len(batch.batch.hands[1].open) == held
    assert batch.happened(HostLost) == 0


def test_a_lease_that_ends_afterwards_changes_nothing() -> None:
    batch = play(1, workers=1)
    batch.up(1)
    effects = batch.down(1)
    [lease] = [effect for effect in effects if isinstance(effect, f.AwaitLease)]
    batch.turn(f.MachineEnded(1, "sandbox"))
    batch.turn(f.LeaseOver(1, lease.since), later=200.0)
    assert batch.happened(AttemptEnded) == 1 and batch.happened(HostStruck) == 0


def test_hosts_that_work_on_without_us_are_waited_for_no_longer_once_their_machine_has_ended() -> None:
    batch = play(1, workers=1)
    batch.batch.spec = replace(batch.batch.spec, lease=DETACHED)
    batch.up(1)
    batch.down(1)
    effects = batch.turn(f.MachineEnded(1, "sandbox"))
    assert batch.last(AttemptEnded).ending is Ending.LOST
    assert [e.stuck for e in effects if isinstance(e, f.Finish)] == [True]


def test_who_only_visits_asks_nobody() -> None:
    batch = play(1, workers=1)
    batch.up(1)
    batch.batch.visiting = True
    assert asked_after(batch.down(1)) == []
