"""The batch engine against a world that breaks: cut after any turn, resumed from rows, each job ends once."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest

from hostler.engine import facts as f
from hostler.engine.batch import Batch
from hostler.engine.turn import step
from hostler.model.events import (
    AttemptDispatched,
    AttemptEnded,
    Event,
    HostOut,
    JobsAccepted,
    JobsCancelled,
    RunStarted,
)
from hostler.model.hosts import Host
from hostler.model.jobs import Ending, JobState, Queued
from hostler.model.reports import Hello, Renewed, Result, Revoked, Standing
from hostler.model.requests import Add, Cancel, Change, Pause, Stop, Unpause, Wish
from hostler.model.runs import DETACHED, BatchRows, BatchSpec, OpenAttempt, Worker
from hostler.ports import Turn
from hostler.stores.sqlite import open_store
from hostler.stores.store import RowStore
from hostler.work.asking import Asking
from tests.unit.world import World


async def play(seed: int, *, jobs: int = 25, cut: float = 0.15, wishes: int = 0, **wanted: Any) -> None:
    """One run from its submission to its end, with the controller killed after turns, by chance.

    What is `wanted` is part of the spec. So many `wishes` come from other processes, at moments of chance; the last
    one is that the run is not paused.
    """
    random = Random(seed)
    workers, retries = random.randint(1, 4), random.randint(0, 2)
    world = World(
        random, workers=workers, slots=random.randint(1, 3), flaky=0.15, deaths=random.randint(0, 3)
    )
    store = open_store(None)
    # Every fourth one's hosts work on whatever becomes of us.
    spec = BatchSpec(retries=retries, lease=DETACHED if seed % 4 == 3 else 120.0, **wanted)
    hosts = [Host(name=f"h{w}", address=f"h{w}") for w in range(1, workers + 1)]
    number = await store.create_batch(
        uid="u" * 32, spec=spec, command="c", hosts=hosts, tokens=[f"t{w}" for w in range(workers)],
        jobs=(((b"%d" % i,), bytes(32)) for i in range(jobs)), at=0.0,
    )  # fmt: skip
    history: list[Event] = [JobsAccepted(at=0.0, first=1, last=jobs)]
    accepted: Counter[int] = Counter()
    asker = Asker(random, store, number, wishes)
    clock = 0.0
    for _ in range(200):  # lives of controllers
        claim = await store.claim(number, owner="test", at=clock)
        seq = claim.seq
        started = RunStarted(at=clock, epoch=claim.epoch, owner="test", options={})
        await store.commit(Turn(run=number, epoch=claim.epoch, seq=seq + 1, events=[started]))
        seq, history = seq + 1, [*history, started]
        batch = Batch.load(await store.batch_rows(number))
        facts: list[f.Fact] = []
        finished: bool | None = False
        asking = Asking(store, number)
        while not finished:
            clock += random.random()
            await asker.ask(batch, at=clock)
            facts = [*[await asking.standing(asked) for asked in await asking.look()], *facts]
            held = batch.holding
            events, effects = step(batch, facts, at=clock)
            if held and batch.holding:
                assert not any(isinstance(e, AttemptDispatched) for e in events), f"seed {seed}"
            for worker in batch.hands:
                world.joined(worker)
            facts = []
            if events:
                await store.commit(Turn(run=number, epoch=claim.epoch, seq=seq + 1, events=events))
                seq += len(events)
                history += events
                accepted.update(e.job for e in events if isinstance(e, AttemptEnded) and e.then.final)
                accepted.update(job for e in events if isinstance(e, JobsCancelled) for job in e.jobs)
            if random.random() < cut / 10:
                break
            for effect in effects:
                if isinstance(effect, f.NeedJobs):
                    found = await store.queued(number, after=effect.after, limit=random.randint(1, 8))
                    facts.append(f.JobsLoaded(tuple(found)))
                elif isinstance(effect, f.Finish):
                    finished = None if effect.stuck else True  # every host refused: somebody resumes it later
                else:
                    world.perform(effect)
                if random.random() < cut / 20:
                    finished = None  # killed between two effects
                    break
            if finished is None:
                break
            for _ in range(random.randint(1, 6)):
                world.live()
            facts += world.inbox
            world.inbox = []
        await check_rows(store, number, spec, hosts, history, claim.epoch)
        await store.release(claim)
        if finished and not await unfinished(store, number):
            break
        world.controller_died()
        cut *= 0.97
    else:
        pytest.fail(f"seed {seed}: not finished after 200 lives")
    assert [one.kind for one in await store.requests(number)] == [], f"seed {seed}: not answered"
    states = await store.standings(number, range(1, jobs + asker.jobs + 1))
    # What is put back when its host is retired may run once more for each host and life.
    most = 1_000 if spec.strikes else max(retries, asker.retries)
    judge(world, states, jobs + asker.jobs, accepted, most, seed)
    await store.close()


async def unfinished(store: RowStore, number: int) -> bool:
    """Whether a job waits or is open, or somebody waits for an answer."""
    counts = (await store.batch_rows(number)).counts
    return bool(counts[JobState.QUEUED] or counts[JobState.OPEN] or await store.requests(number))


class Asker:
    """Other processes, who want so many things of a run, and at last that it goes on."""

    def __init__(self, random: Random, store: RowStore, number: int, wishes: int) -> None:
        self.random, self.store, self.number, self.left = random, store, number, wishes
        self.jobs = self.hosts = self.retries = 0

    async def ask(self, batch: Batch, *, at: float) -> None:
        """Want something, by chance."""
        if self.random.random() < 0.9:
            return
        if self.left:
            self.left -= 1
            await self.make(self.wish(), at=at)
        elif batch.paused:
            await self.make(Unpause(), at=at)

    async def make(self, wish: Wish, *, at: float) -> None:
        jobs = [((b"more",), bytes(32))] * self.random.randint(1, 9) if wish == Add() else []
        self.jobs += len(jobs)
        await self.store.make_request(self.number, wish, who="w", at=at, jobs=jobs)

    def wish(self) -> Wish:
        random = self.random
        kind = random.randrange(8)
        if kind < 2:
            return Cancel(jobs=tuple(random.sample(range(1, 30), random.randint(1, 5))))
        if kind == 2:
            self.hosts += 1
            return Add(hosts=(Host(name=f"h{random.randint(1, 6)}", address="10.0.0.9"),))
        if kind == 3:
            change = Change(slots=random.randint(1, 4), timeout=9.0, retries=random.randint(0, 2))
            self.retries = max(self.retries, change.retries or 0)
            return change
        return (Add(), Stop(drain=random.random() < 0.5), Pause(), Unpause())[kind - 4]


async def check_rows(
    store: RowStore, number: int, spec: BatchSpec, hosts: list[Host], history: list[Event], epoch: int
) -> None:
    """What the store gives back is what folding every event gives."""
    loaded = Batch.load(await store.batch_rows(number))
    workers = tuple(Worker(id=i, host=host, token="") for i, host in enumerate(hosts, 1))
    folded = Batch.load(BatchRows(spec=spec, counts={}, workers=workers))
    for event in history:
        folded.apply(event)
    assert loaded.durable() == folded.durable()


def judge(
    world: World, states: dict[int, JobState], jobs: int, accepted: Counter[int], retries: int, seed: int
) -> None:
    """The world's own record against what the store says."""
    assert len(states) == jobs, f"seed {seed}"
    assert all(state.final for state in states.values()), f"seed {seed}: {states}"
    assert max(world.started.values(), default=1) == 1, f"seed {seed}: an attempt was started twice"
    for job in range(1, jobs + 1):
        assert accepted[job] <= 1, f"seed {seed}: job {job} ended {accepted[job]} times"
        if job not in world.torn:
            # One that was to be cancelled and whose host went silent is lost: nobody can say whether it ever ran.
            least = states[job] not in (JobState.CANCELLED, JobState.LOST)
            assert least <= world.effects[job] <= 1 + retries, (
                f"seed {seed}: job {job} ran {world.effects[job]} times and is {states[job].word}"
            )


@pytest.mark.parametrize("block", range(6))
def test_whatever_others_want_of_it_meanwhile_each_job_ends_once_and_each_is_answered(block: int) -> None:
    for seed in range(block * 40, block * 40 + 40):
        asyncio.run(play(seed, wishes=8))


@pytest.mark.parametrize("block", range(8))
def test_cut_after_any_turn_and_resumed_each_job_ends_exactly_once(block: int) -> None:
    for seed in range(block * 40, block * 40 + 40):
        asyncio.run(play(seed))


@pytest.mark.parametrize("rule", ["soon,fail=1", "now,fail=2", "soon,done=20%", "now,success=3"])
def test_halted_again_and_again_and_taken_up_each_job_ends_exactly_once(rule: str) -> None:
    for seed in range(30):
        asyncio.run(play(seed, halt=rule, delay=0.5 if seed % 3 == 0 else 0.0))


@pytest.mark.parametrize(
    "wanted",
    [
        {"retry_delay": 0.7, "retry_delay_max": 2.0},
        {"max_bad_hosts": "30%"},
        {"retry_on": "timeout,lost,interrupted"},
        {"strikes": 2, "retry_delay": 0.5},
    ],
    ids=str,
)
def test_whatever_is_done_about_bad_hosts_and_failures_each_job_ends_exactly_once(
    wanted: dict[str, Any],
) -> None:
    for seed in range(14):
        asyncio.run(play(seed, **wanted))


def up(
    batch: Batch,
    worker: int = 1,
    *,
    slots: int = 2,
    spool: str = "s",
    standings: dict[int, Standing] | None = None,
) -> list[f.Effect]:
    hello = Hello(spool=spool, boot="b", account="0", python="3", slots=slots, standings=standings or {})
    return step(batch, [f.HostUp(worker, hello)], at=10.0)[1]


def small(jobs: int, *, workers: int = 1, retries: int = 0) -> Batch:
    rows = BatchRows(
        spec=BatchSpec(retries=retries),
        counts={JobState.QUEUED: jobs},
        workers=tuple(
            Worker(id=w, host=Host(name=f"h{w}", address="a"), token="t") for w in range(1, workers + 1)
        ),
    )
    batch = Batch.load(rows)
    step(batch, [], at=0.0)
    step(batch, [f.JobsLoaded(tuple(Queued(job, (b"x",)) for job in range(1, jobs + 1)))], at=0.0)
    return batch


def sent(effects: list[f.Effect]) -> list[tuple[int, int]]:
    return [(e.worker, job) for e in effects if isinstance(e, f.Send) for _, job, _, _ in e.attempts]


def done(serial: int, code: int = 0, elapsed: float = 1.0) -> Result:
    return Result(serial, Ending.EXIT if code else Ending.OK, code, None, elapsed, 0, 0, b"", b"")


def test_jobs_are_spread_in_equal_parts_over_hosts_that_are_up() -> None:
    batch = small(4, workers=2)
    hello = Hello(spool="s", boot="b", account="0", python="3", slots=8, standings={})
    _, effects = step(batch, [f.HostUp(1, hello), f.HostUp(2, hello)], at=1.0)
    assert Counter(worker for worker, _ in sent(effects)) == {1: 2, 2: 2}


def test_a_dispatched_attempt_is_committed_before_it_is_sent() -> None:
    batch = small(1)
    hello = Hello(spool="s", boot="b", account="0", python="3", slots=1, standings={})
    events, effects = step(batch, [f.HostUp(1, hello)], at=1.0)
    assert [event.type for event in events] == ["host.connected", "attempt.dispatched"]
    assert sent(effects) == [(1, 1)]


def test_a_failed_job_is_tried_again_on_another_host() -> None:
    batch = small(1, workers=2, retries=1)
    assert sent(up(batch, 1)) == [(1, 1)]
    up(batch, 2)
    _, effects = step(batch, [f.Heard(1, done(1, code=3))], at=11.0)
    need = next(e for e in effects if isinstance(e, f.NeedJobs))
    assert need.after == (0, 1)  # a job that failed once comes after all that have not been tried
    again = Queued(1, (b"x",), tries=1, attempts=1, avoid=1)
    _, effects = step(batch, [f.JobsLoaded((again,))], at=11.0)
    assert sent(effects) == [(2, 1)]
    events, _ = step(batch, [f.Heard(2, done(1, code=3))], at=12.0)
    assert batch.counts[JobState.FAILED] == 1 and events[0].tries == 2  # type: ignore[attr-defined]


def test_an_attempt_that_never_arrived_is_sent_again_and_one_that_runs_is_followed() -> None:
    batch = small(2)
    assert sent(up(batch)) == [(1, 1), (1, 2)]
    _, effects = step(batch, [f.HostDown(1, "cut")], at=11.0)
    connect = next(e for e in effects if isinstance(e, f.Connect))
    assert connect.ask == (1, 2)
    effects = up(batch, standings={1: Standing.RUNNING, 2: Standing.UNKNOWN})
    assert sent(effects) == [(1, 2)]
    assert [e.attempts for e in effects if isinstance(e, f.Follow)] == [((1, 1, 1),)]


def test_what_a_new_spool_has_forgotten_is_lost_and_waits_again() -> None:
    batch = small(1)
    up(batch, spool="old")
    step(batch, [f.HostDown(1, "cut")], at=11.0)
    effects = up(batch, spool="new", standings={1: Standing.UNKNOWN})
    assert [e.attempts[0][:3] for e in effects if isinstance(e, f.Send)] == [(2, 1, 2)]


def test_a_silent_host_keeps_its_jobs_until_the_lease_and_its_margin_are_over() -> None:
    batch = small(1, workers=2)
    up(batch, 1)
    step(batch, [f.Heard(1, Renewed(0.1))], at=20.0)
    up(batch, 2)
    _, effects = step(batch, [f.HostDown(1, "cut")], at=25.0)
    wait = next(e for e in effects if isinstance(e, f.AwaitLease))
    assert wait.seconds == 120.0 + 10.0 - 5.0 and not sent(effects)
    _, effects = step(batch, [f.LeaseOver(1, wait.since)], at=150.0)
    assert sent(effects) == [(2, 1)]


@pytest.mark.parametrize(
    ("seen", "at", "seconds"),
    [(200.0, 231.0, 120.0 + 10.0 - 31.0), (200.0, 9000.0, 0.0), (9000.0, 231.0, 120.0 + 10.0)],
    ids=["as clocks go", "long ago", "by a clock that was ahead"],
)
def test_the_lease_of_a_host_counts_from_when_the_last_controller_was_seen(
    seen: float, at: float, seconds: float
) -> None:
    left = OpenAttempt(
        job=1,
        n=1,
        worker=1,
        serial=1,
        args=(b"x",),
        tries=0,
        started=True,
        dispatched_at=100.0,
        started_at=100.0,
    )
    worker = Worker(id=1, host=Host(name="h1", address="a"), token="t")
    rows = BatchRows(
        spec=BatchSpec(), counts={JobState.OPEN: 1}, open=(left,), workers=(worker,), last_seen=seen
    )
    batch = Batch.load(rows)
    step(batch, [], at=at - 1.0)
    _, effects = step(batch, [f.HostDown(1, "no route to host")], at=at)
    [wait] = [e for e in effects if isinstance(e, f.AwaitLease)]
    assert wait.seconds == seconds


def test_a_line_that_breaks_is_told_of_with_the_moment_at_which_the_hosts_jobs_are_given_up() -> None:
    batch = small(1)
    up(batch)
    step(batch, [f.Heard(1, Renewed(0.1))], at=20.0)
    told = [step(batch, [f.HostDown(1, "cut")], at=at)[0] for at in (25.0, 26.0, 28.0, 31.0)]
    assert [[event.type for event in events] for events in told] == [
        ["host.out"],
        ["host.out"],
        [],
        ["host.struck"],
    ]
    assert told[0] == [HostOut(at=25.0, worker=1, why="cut", until=20.0 + 120.0 + 10.0)]


def test_a_late_result_of_a_lost_attempt_changes_nothing() -> None:
    batch = small(1, workers=2)
    up(batch, 1)
    up(batch, 2)
    _, effects = step(batch, [f.HostDown(1, "cut")], at=11.0)
    since = next(e.since for e in effects if isinstance(e, f.AwaitLease))
    step(batch, [f.LeaseOver(1, since)], at=200.0)
    step(batch, [f.Heard(2, done(1))], at=201.0)
    hello = Hello(spool="s", boot="b", account="0", python="3", slots=2, standings={})
    batch.finished = False
    events, effects = step(batch, [f.HostUp(1, hello), f.Heard(1, done(1, code=9))], at=202.0)
    assert [event.type for event in events if event.type.startswith("attempt")] == ["attempt.superseded"]
    assert batch.counts[JobState.OK] == 1 and any(isinstance(e, f.Ack) and e.worker == 1 for e in effects)


def test_a_few_jobs_are_kept_for_hosts_that_are_just_coming_but_not_for_long() -> None:
    batch = small(4, workers=2)
    effects = up(batch, 1, slots=4)
    assert len(sent(effects)) == 2 and f.Wake(11.0, 1.0) in effects
    _, effects = step(batch, [f.Woke(11.0)], at=11.1)
    assert len(sent(effects)) == 2


def test_jobs_that_wait_on_a_busy_host_are_taken_back_when_another_is_idle() -> None:
    batch = small(4, workers=2)
    up(batch, 1, slots=2)
    step(batch, [f.Woke(11.0)], at=11.1)
    assert len(batch.hands[1].open) == 4
    effects = up(batch, 2, slots=2)
    assert [(e.worker, len(e.serials)) for e in effects if isinstance(e, f.TakeBack)] == [(1, 1)]


def test_a_host_that_was_quick_gives_up_what_waits_there_once_it_is_quick_no_more() -> None:
    batch, now = small(40, workers=2), 11.1
    up(batch, 1, slots=1)
    up(batch, 2, slots=1)

    def end(worker: int) -> list[f.Effect]:
        serial = min(batch.hands[worker].open)
        done = Result(serial, Ending.OK, 0, None, 0.001, 0, 0, b"", b"")
        return step(batch, [f.Heard(worker, done)], at=now)[1]

    step(batch, [f.Rested(1)], at=now)
    while batch.counts[JobState.QUEUED]:
        for worker in (1, 2):
            now += 0.001
            end(worker)
    effects: list[f.Effect] = []
    while batch.hands[2].open:
        now += 0.001
        effects += end(2)
    waiting = len(batch.hands[1].open) - 1
    assert waiting > 1
    assert not any(isinstance(e, f.TakeBack) for e in effects)  # it would be through with them in no time
    [wake, *_] = [e for e in effects if isinstance(e, f.Wake)]
    _, effects = step(batch, [f.Woke(wake.moment)], at=wake.moment + 1.0)
    assert [e.worker for e in effects if isinstance(e, f.TakeBack)] == [1]


def test_hosts_that_all_refuse_end_the_run_and_say_that_jobs_are_left() -> None:
    batch = small(1)
    _, effects = step(batch, [f.HostDown(1, "no key accepted", fatal=True)], at=1.0)
    assert effects[-1] == f.Finish(stuck=True)


def test_a_stop_takes_back_what_waits_and_ends_what_runs() -> None:
    batch = small(3)
    up(batch, slots=2)
    _, effects = step(batch, [f.StopWanted("INT")], at=11.0)
    assert [type(e).__name__ for e in effects] == ["TakeBack", "End"]
    interrupted = Result(1, Ending.INTERRUPTED, None, 15, 0.5, 0, 0, b"", b"")
    interrupted2 = Result(2, Ending.INTERRUPTED, None, 15, 0.5, 0, 0, b"", b"")
    _, effects = step(
        batch, [f.Heard(1, Revoked(3)), f.Heard(1, interrupted), f.Heard(1, interrupted2)], at=12.0
    )
    assert any(isinstance(e, f.Release) for e in effects)
    assert batch.counts[JobState.QUEUED] == 3


def test_one_job_ahead_is_sent_when_jobs_are_long_and_many_when_they_are_short() -> None:
    batch = small(500)
    up(batch, slots=2)
    step(batch, [f.Heard(1, done(1, elapsed=30.0))], at=40.0)
    assert len(batch.hands[1].open) == 3
    for serial in range(2, 60):  # the other slot is quick: 100 jobs in a second
        step(batch, [f.Heard(1, done(serial, elapsed=0.01))], at=40.0 + serial / 100)
    assert len(batch.hands[1].open) > 20
