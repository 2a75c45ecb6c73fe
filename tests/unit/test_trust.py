"""Hosts that misbehave, as the engine sees them: struck, probed, let back in, retired; jobs that take hosts along."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from hostler.engine import facts as f
from hostler.engine.batch import Batch
from hostler.engine.hands import STRIKES, SUSPECT, Line
from hostler.engine.trust import PROOF
from hostler.engine.turn import PUT_UP_WITH, step
from hostler.model.events import (
    AttemptDispatched,
    AttemptEnded,
    Event,
    HostLost,
    HostRetired,
    HostStruck,
    HostTrusted,
    StopRequested,
)
from hostler.model.health import LONGEST_REST, REST, Fault, Health
from hostler.model.hosts import Host
from hostler.model.jobs import Ending, JobState, Queued
from hostler.model.reports import Began, Hello, Lost, Refused, Renewed, Report, Result, Revoked, Standing
from hostler.model.requests import Add
from hostler.model.runs import BatchRows, BatchSpec, OpenAttempt, Worker

Effects = list[f.Effect]


class Play:
    """A batch in memory, turn by turn; `at` is now."""

    def __init__(
        self, jobs: int, *, workers: int = 1, health: dict[str, Health] | None = None, **wanted: Any
    ) -> None:
        hosts = [Host(name=f"h{w}", address=f"h{w}") for w in range(1, workers + 1)]
        self.batch = Batch.load(
            BatchRows(
                spec=BatchSpec(**wanted),
                counts={JobState.QUEUED: jobs},
                workers=tuple(Worker(id=w, host=host, token="t") for w, host in enumerate(hosts, 1)),
                health=health or {},
            )
        )
        self.at = 1000.0
        self.events: list[Event] = []
        self.turn()
        self.turn(f.JobsLoaded(tuple(Queued(job, (b"x",)) for job in range(1, jobs + 1))))

    def turn(self, *facts: f.Fact, later: float = 0.0) -> Effects:
        self.at += later
        events, effects = step(self.batch, facts, at=self.at)
        self.events += events
        return effects

    def up(self, worker: int = 1, *, slots: int = 2, spool: str = "s", **standings: int) -> Effects:
        known = {int(serial[1:]): Standing(standing) for serial, standing in standings.items()}
        hello = Hello(
            spool=f"{spool}{worker}", boot="b", account="0", python="3", slots=slots, standings=known
        )
        return self.turn(f.HostUp(worker, hello), later=0.01)

    def down(self, worker: int = 1, *, fatal: bool = False, later: float = 0.1) -> Effects:
        return self.turn(f.HostDown(worker, "no route", fatal), later=later)

    def hear(self, worker: int, *reports: Report, later: float = 0.1) -> Effects:
        return self.turn(*(f.Heard(worker, report) for report in reports), later=later)

    def last(self, kind: type[Event]) -> Any:
        return next(event for event in reversed(self.events) if isinstance(event, kind))

    def happened(self, kind: type[Event]) -> int:
        return sum(isinstance(event, kind) for event in self.events)


def sent(effects: Effects) -> list[tuple[int, int]]:
    return [(e.worker, job) for e in effects if isinstance(e, f.Send) for _, job, _, _ in e.attempts]


def rests(effects: Effects) -> list[float]:
    return [e.seconds for e in effects if isinstance(e, f.Rest)]


def done(serial: int, code: int = 0) -> Result:
    return Result(serial, Ending.EXIT if code else Ending.OK, code, None, 1.0, 0, 0, b"", b"")


def queued(*jobs: int, **more: Any) -> f.JobsLoaded:
    return f.JobsLoaded(tuple(Queued(job, (b"x",), **more) for job in jobs))


# -- nonsense ----------------------------------------------------------------------------------------------------------


def test_a_line_that_ended_in_nonsense_is_made_anew_and_a_host_that_spoils_each_is_done_without() -> None:
    """A job may have written into it. A host that always does would be sent the same jobs for ever."""
    play = Play(9)
    spoilt = f.HostDown(1, "its runner made no sense", nonsense=True)
    for ended in (True, False):
        for _ in range(STRIKES - 1):
            play.up()
            assert any(isinstance(effect, f.Connect) for effect in play.turn(spoilt, later=6.0))
        if ended:
            play.up()
            play.hear(1, done(min(play.batch.hands[1].open)))
            play.down(later=6.0)
    play.up()
    assert rests(play.turn(spoilt, later=6.0)) == [LONGEST_REST] and play.happened(HostLost) == 1


def test_a_host_that_was_well_and_answers_in_other_words_is_as_one_out_of_reach_and_a_new_one_is_done_without() -> (
    None
):
    """Somebody may just be mending its Python or its logins: what it holds is not to be given up for that."""
    strange = f.HostDown(1, "its runner said: sh: 0: cannot open login", fatal=True, nonsense=True)
    play = Play(9)
    play.up()
    for _ in range(3 * STRIKES):
        assert any(isinstance(effect, f.Connect) for effect in play.turn(strange, later=6.0))
    play.up()
    assert not play.happened(HostLost) and play.batch.counts[JobState.OPEN]
    play = Play(9)
    assert rests(play.turn(strange)) == [LONGEST_REST] and play.happened(HostLost) == 1


# -- out of reach -----------------------------------------------------------------------------------------------------


def test_a_host_out_of_reach_is_struck_and_rests_longer_each_time_and_one_connect_lets_it_back_in() -> None:
    play = Play(4, workers=2)
    play.up(2)
    for _ in range(STRIKES - 1):
        assert not rests(play.down())
    assert rests(play.down()) == [REST]
    for longer in (2 * REST, 4 * REST):
        play.turn(f.Rested(1), later=play.last(HostStruck).until - play.at)
        assert rests(play.down()) == [longer]
    play.turn(f.Rested(1), later=REST)
    effects = play.up(1, slots=1)
    assert play.batch.health["h1 port 22"].probation is False and sent(effects) == []
    play.hear(2, done(1), done(2))
    assert not play.batch.hands[1].out


def test_a_machine_known_to_be_bad_is_tried_once_where_another_does_the_work_and_nobody_waits_for_it() -> (
    None
):
    bad = {"h1 port 22": Health().struck(990.0, Fault.UNREACHABLE, "no route")}
    play = Play(4, workers=2, health=bad)
    assert len(sent(play.up(2, slots=4))) == 4
    assert rests(play.down(1)) == [2 * REST]
    alone = Play(4, health=bad)
    assert rests(alone.down(1)) == []


def test_a_host_that_holds_work_is_knocked_at_until_its_lease_is_over() -> None:
    play = Play(2, lease=60.0)
    play.up(1)
    for _ in range(20):
        effects = play.down(1, later=1.0)
        assert not rests(effects)
        assert all(e.delay <= 1.5 for e in effects if isinstance(e, f.Connect))
    assert play.happened(HostStruck) == 1 and play.batch.hands[1].line is Line.CONNECTING


def test_a_host_that_said_no_is_asked_again_much_later_but_not_with_a_password() -> None:
    play = Play(2, workers=2)
    play.up(2)
    assert rests(play.down(1, fatal=True)) == [LONGEST_REST]
    effects = play.turn(f.Rested(1), later=LONGEST_REST)
    assert [e.worker for e in effects if isinstance(e, f.Connect)] == [1]
    play.down(1, fatal=True)
    assert play.happened(HostLost) == 1
    secret = Play(2, workers=2, secrets="--ssh-password")
    secret.up(2)
    assert rests(secret.down(1, fatal=True)) == []


# -- refusals and losses ----------------------------------------------------------------------------------------------


def test_a_host_that_refuses_rests_is_probed_by_one_job_and_has_its_full_share_once_that_has_ended() -> None:
    play = Play(9, workers=1)
    play.up(1, slots=4)
    held = list(play.batch.hands[1].open)
    for count in range(STRIKES):
        effects = play.hear(1, *(Refused(serial, "its disk is full") for serial in held))
        rest = rests(effects)[0]
        if count == STRIKES - 1:
            assert any(isinstance(e, (f.Release, f.Finish)) for e in effects), "nobody else can do the work"
            break
        assert not sent(effects)
        effects = play.turn(f.Rested(1), later=rest)
        assert len(sent(effects)) == 1, "one job shows whether it is well"
        held = list(play.batch.hands[1].open)
    assert play.batch.counts[JobState.QUEUED] == 9

    play = Play(9, workers=1)
    play.up(1, slots=4)
    play.hear(1, *(Refused(serial, "its disk is full") for serial in list(play.batch.hands[1].open)))
    assert len(sent(play.turn(f.Rested(1), later=1.0))) == 1
    [serial] = play.batch.hands[1].open
    effects = play.hear(1, done(serial, code=1))
    assert play.happened(HostTrusted) == 1 and len(sent(effects)) >= 4
    assert play.batch.counts[JobState.FAILED] == 1


def test_a_host_that_gives_jobs_back_unasked_rests_like_one_that_refuses_them() -> None:
    play = Play(9, workers=1)
    play.up(1, slots=4)
    held = list(play.batch.hands[1].open)
    given, effects = 0, Effects()
    for _ in range(100):
        effects = play.hear(1, *(Revoked(serial) for serial in held))
        given += len(held)
        if rests(effects):
            break
        held = [serial for e in effects if isinstance(e, f.Send) for serial, *_ in e.attempts]
    assert 4 + PUT_UP_WITH < given < 40 and not sent(effects)
    assert play.batch.counts[JobState.QUEUED] == 9
    assert "it gives jobs back unasked" in play.last(HostStruck).why


def test_a_host_that_gives_back_what_it_was_asked_for_is_not_struck() -> None:
    play = Play(40, workers=1)
    play.up(1, slots=30)
    play.turn(f.StopWanted("enough"))
    effects = play.hear(1, *(Revoked(serial) for serial in list(play.batch.hands[1].open)))
    assert not rests(effects) and not play.happened(HostStruck)


def test_what_was_taken_back_before_our_time_is_not_held_against_the_host() -> None:
    """A second Ctrl-C may leave before the host's word of that is on record: who resumes sends it all again."""
    play, jobs = Play(1), range(1, 41)
    held = [
        OpenAttempt(
            job=job, n=1, worker=1, serial=job, args=(b"x",), tries=0, started=False, dispatched_at=900.0
        )
        for job in jobs
    ]
    host = Host(name="h1", address="h1")
    worker = Worker(id=1, host=host, token="t", spool="s1", serial=40)
    counts = {JobState.OPEN: 40}
    play.batch = Batch.load(BatchRows(spec=BatchSpec(), counts=counts, open=tuple(held), workers=(worker,)))
    play.turn()
    assert sent(play.up()) == [(1, job) for job in jobs]
    play.hear(1, *(Revoked(serial) for serial in jobs))
    assert not play.happened(HostStruck) and play.batch.counts[JobState.QUEUED] == 40
    assert sent(play.turn(queued(*jobs, attempts=1)))


def test_a_host_that_gave_jobs_back_unasked_is_not_struck_again_for_other_words_of_it() -> None:
    play = Play(60)
    play.up()
    while not play.happened(HostStruck):
        play.hear(1, Revoked(min(play.batch.hands[1].open)))
    play.turn(f.Rested(1), later=2.0)
    for _ in range(STRIKES):
        play.hear(1, Renewed(0.01), later=10.0)
    assert play.happened(HostStruck) == 1
    play.hear(1, *(Revoked(serial) for serial in list(play.batch.hands[1].open)))
    assert play.happened(HostStruck) == 2


def test_a_probe_that_runs_long_enough_is_as_good_as_one_that_ends() -> None:
    play = Play(9, health={"h1 port 22": Health().struck(990.0, Fault.LOST, "rebooted")})
    assert len(sent(play.up(1, slots=3))) == 1
    effects = play.hear(1, Began(1, 0.0))
    [wake] = [e for e in effects if isinstance(e, f.Wake) and e.seconds == PROOF]
    assert len(sent(play.turn(f.Woke(wake.moment), later=PROOF))) >= 2
    assert play.happened(HostTrusted) == 1


def test_one_reboot_is_one_strike_however_many_jobs_it_takes_and_costs_none_of_them_a_retry() -> None:
    play = Play(8)
    play.up(1, slots=2)
    play.down(1)
    effects = play.up(1, slots=2, spool="new")
    assert play.happened(HostStruck) == 1 and play.last(HostStruck).fault == Fault.LOST
    ended = [event for event in play.events if isinstance(event, AttemptEnded)]
    assert {(event.ending, event.then, event.tries) for event in ended} == {(Ending.LOST, JobState.QUEUED, 0)}
    assert sum(event.kills for event in ended) == 2, "what had not begun there is not blamed"
    assert len(sent(effects)) == 1


# -- jobs that take hosts with them -----------------------------------------------------------------------------------


def test_a_job_that_takes_three_hosts_with_it_is_quarantined_and_says_so() -> None:
    play = Play(1, workers=3)
    for worker in (1, 2, 3):
        play.up(worker)
    for _ in range(3):
        [hand] = [hand for hand in play.batch.hands.values() if hand.open]
        play.hear(hand.id, Lost(next(iter(hand.open)), "its runner died"))
    end = play.last(AttemptEnded)
    assert (end.then, end.kills) == (JobState.QUARANTINED, 3)
    assert end.detail == "its runner died; 3 hosts were lost while this job ran there"
    assert play.batch.counts[JobState.QUARANTINED] == 1 and not play.batch.counts[JobState.QUEUED]


def test_a_suspect_waits_for_a_host_that_has_nothing_else_to_do_and_has_it_to_itself() -> None:
    play = Play(3)
    play.batch.window[0] = replace(play.batch.window[0], kills=SUSPECT)
    first = play.batch.window.popleft()
    play.batch.suspects.append(first)
    assert {job for _, job in sent(play.up(1, slots=4))} == {2, 3}
    assert sent(play.hear(1, done(1))) == []
    assert sent(play.hear(1, done(2))) == [(1, 1)]
    play.turn(queued(9), later=0.1)
    play.batch.counts[JobState.QUEUED] += 1
    assert sent(play.turn(later=0.1)) == [], "nothing else runs beside it"
    assert (1, 9) in sent(play.hear(1, done(3)))


def test_a_suspect_goes_to_another_host_than_the_last_that_was_lost_with_it_where_there_is_one() -> None:
    """One bad host would else take the same job three times, and the job would count as what kills hosts."""
    play = Play(2, workers=2)
    play.batch.window.clear()
    play.batch.suspects.append(Queued(1, (b"x",), kills=SUSPECT, avoid=1))
    play.batch.suspects.append(Queued(2, (b"x",), kills=SUSPECT, avoid=2))
    play.batch.paused = True
    play.up(1), play.up(2)
    play.batch.paused = False
    play.turn()
    given = {event.job: event.worker for event in play.events if isinstance(event, AttemptDispatched)}
    assert given == {1: 2, 2: 1}


def test_what_is_not_to_be_tried_again_after_a_loss_is_left_lost() -> None:
    play = Play(1, retry_on="failed,timeout")
    play.up(1)
    play.hear(1, Lost(1, "its runner died"))
    assert play.batch.counts[JobState.LOST] == 1


def test_what_is_not_to_be_tried_again_when_interrupted_is_left_so() -> None:
    play = Play(1, retry_on="failed")
    play.up(1)
    play.hear(1, Result(1, Ending.INTERRUPTED, None, 15, 1.0, 0, 0, b"", b""))
    assert play.batch.counts[JobState.INTERRUPTED] == 1


# -- retries ----------------------------------------------------------------------------------------------------------


def test_only_the_named_exit_codes_are_tried_again() -> None:
    play = Play(2, retries=3, retry_on="75")
    play.up(1)
    play.hear(1, done(1, code=75), done(2, code=1))
    assert play.batch.counts[JobState.FAILED] == 1 and play.batch.counts[JobState.QUEUED] == 1


def test_a_failed_job_is_not_sent_before_its_delay_is_over_and_others_are() -> None:
    play = Play(2, retries=5, retry_delay=10.0, retry_delay_max=15.0)
    play.up(1, slots=1)
    play.hear(1, done(1, code=1), done(2))
    failed = play.at
    again = Queued(1, (b"x",), tries=1, attempts=1, avoid=1, since=failed)
    effects = play.turn(f.JobsLoaded((again,)))
    [wake] = [e for e in effects if isinstance(e, f.Wake)]
    assert wake.moment == failed + 10.0 and sent(effects) == []
    assert not any(isinstance(e, f.Finish) for e in effects)
    assert sent(play.turn(f.Woke(wake.moment), later=10.0)) == [(1, 1)]
    play.hear(1, done(3, code=1))
    play.turn(f.JobsLoaded((replace(again, tries=2, attempts=2, since=play.at),)))
    assert sent(play.turn(later=14.9)) == [] and sent(play.turn(later=0.2)) == [(1, 1)]


def test_a_delayed_job_can_be_cancelled() -> None:
    play = Play(1, retries=5, retry_delay=10.0)
    play.up(1)
    play.hear(1, done(1, code=1))
    play.turn(f.JobsLoaded((Queued(1, (b"x",), tries=1, attempts=1, since=play.at),)))
    play.batch.forget([1])
    assert sent(play.turn(later=30.0)) == []


# -- strikes of the user's --------------------------------------------------------------------------------------------


def test_so_many_failures_in_a_row_retire_a_host_and_the_last_job_is_put_back() -> None:
    play = Play(6, workers=2, strikes=2)
    play.up(1, slots=1)
    play.up(2, slots=1)
    mine = sorted(play.batch.hands[1].open)
    play.hear(1, done(mine[0], code=1))
    held = sorted(play.batch.hands[1].open)
    effects = play.hear(1, done(held[0], code=1))
    end = play.last(AttemptEnded)
    assert (end.then, end.tries) == (JobState.QUEUED, 0), "the last failure is not held against its job"
    assert play.last(HostRetired).why == "2 jobs in a row failed or timed out on it (--strikes 2)"
    assert [e.worker for e in effects if isinstance(e, f.TakeBack)] in ([1], [])
    assert all(worker == 2 for worker, _ in sent(effects))
    assert play.batch.counts[JobState.FAILED] == 1


def test_a_job_that_ends_well_takes_all_strikes_of_the_user_away() -> None:
    play = Play(20, strikes=2)
    play.up(1, slots=1)
    for serial, code in enumerate((1, 0, 1, 0, 1), 1):
        play.hear(1, done(serial, code=code))
    assert play.happened(HostRetired) == 0


def test_when_every_host_is_retired_the_run_is_halted_and_its_jobs_wait() -> None:
    play = Play(5, strikes=1)
    play.up(1, slots=1)
    play.hear(1, done(1, code=1))
    stop = play.last(StopRequested)
    assert stop.halted and stop.why == "--strikes 1: every host has been retired"


def test_a_retired_host_is_not_tried_again_until_somebody_adds_it_anew() -> None:
    play = Play(9, workers=2, strikes=1)
    play.up(1, slots=1)
    play.up(2, slots=1)
    for serial in sorted(play.batch.hands[1].open):
        play.hear(1, done(serial, code=1))
        break
    for serial in list(play.batch.hands[1].open):
        play.hear(1, done(serial))
    play.turn(f.WorkerReleased(1))
    assert not any(isinstance(e, f.Connect) for e in play.turn(later=1.0))
    play.turn(f.Asked(1, "w", "add", Add(hosts=(Host(name="h1", address="h1"),))))
    assert play.batch.hands[1].line is Line.CONNECTING and not play.batch.hands[1].retired


# -- too many bad hosts -----------------------------------------------------------------------------------------------


def test_more_bad_hosts_than_are_put_up_with_halt_the_run_and_what_runs_is_let_end() -> None:
    play = Play(9, workers=3, max_bad_hosts="1")
    play.up(3)
    for worker in (1, 2):
        assert play.happened(StopRequested) == 0
        play.down(worker, fatal=True)
    stop = play.last(StopRequested)
    assert stop.halted and stop.drain
    assert stop.why == "--max-bad-hosts 1: 2 of 3 hosts are bad (h1, h2)"


def test_a_part_of_all_hosts_may_be_bad() -> None:
    play = Play(9, workers=4, max_bad_hosts="50%")
    play.up(4)
    for worker in (1, 2):
        play.down(worker, fatal=True)
    assert play.happened(StopRequested) == 0
    play.down(3, fatal=True)
    assert play.happened(StopRequested) == 1


def test_a_host_that_came_back_is_bad_no_longer() -> None:
    play = Play(9, workers=3, max_bad_hosts="1")
    play.up(3)
    play.down(1, fatal=True)
    play.turn(f.Rested(1), later=LONGEST_REST)
    play.up(1)
    play.down(2, fatal=True)
    assert play.happened(StopRequested) == 0
