"""What every store owes, as tests: subclass StoreContract and give it the fixture `store`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from hostler.errors import RunBusy, StaleEpoch, StoreError, UsageError
from hostler.model.events import (
    AttemptSuperseded,
    Event,
    HostConnected,
    HostLost,
    HostReleased,
    HostStruck,
    JobsAccepted,
    JobsRequeued,
    RunFinished,
    RunStarted,
    StopRequested,
)
from hostler.model.jobs import Ending, JobState, OutputRef, Queued
from hostler.ports import Turn
from hostler.stores.reads.attempts import attempts, job
from hostler.stores.reads.events import UnknownEvent, events
from hostler.stores.reads.report import bad_jobs, maybe_doubled, slowest, span, worker_figures
from hostler.stores.reads.runs import has_owner, resolve, run, runs
from hostler.stores.sqlite import SqliteStore
from tests.contract.store_making import (
    AT,
    HOSTS,
    KEY,
    SPEC,
    Writer,
    accepted,
    begun,
    counts,
    dispatched,
    ended,
    failed,
    number_jobs,
    revoked,
    started,
    waiting,
    writer,
)


class StoreContract:
    """The tests."""

    # -- accepting ------------------------------------------------------------------------------------------

    async def test_an_accepted_batch_is_there_whole(self, store: SqliteStore) -> None:
        number = await accepted(store, 3)
        rows = await store.batch_rows(number)
        assert rows.spec == SPEC
        assert rows.counts == {state: 3 if state is JobState.QUEUED else 0 for state in JobState}
        assert [worker.host for worker in rows.workers] == list(HOSTS)
        assert [(worker.id, worker.token, worker.serial, worker.spool) for worker in rows.workers] == [
            (1, "0" * 16, 0, None),
            (2, "0" * 15 + "1", 0, None),
        ]
        assert rows.open == () and not rows.stopping
        assert await waiting(store, number) == [Queued(1, (b"1",)), Queued(2, (b"2",)), Queued(3, (b"3",))]
        row = run(store.reader, number)
        assert (row.uid, row.kind, row.state, row.epoch, row.owner) == (
            "a" * 32,
            "batch",
            "accepted",
            0,
            None,
        )
        assert (row.created, row.started, row.command) == (AT, None, "hostler batch -- echo")
        assert row.counts == {"queued": 3}

    async def test_runs_are_numbered_one_after_the_other(self, store: SqliteStore) -> None:
        assert [await accepted(store, 1, uid=letter * 32) for letter in "abc"] == [1, 2, 3]

    async def test_a_batch_without_jobs_is_refused_and_leaves_nothing(self, store: SqliteStore) -> None:
        with pytest.raises(UsageError, match="no jobs"):
            await accepted(store, 0)
        assert runs(store.reader) == []

    async def test_a_job_source_that_fails_leaves_nothing(self, store: SqliteStore) -> None:
        def source() -> Iterator[tuple[tuple[bytes, ...], bytes]]:
            yield from number_jobs(12_000)
            raise UsageError("jobs.txt:12001: can't be read")

        with pytest.raises(UsageError, match="12001"):
            await accepted(store, source())
        assert runs(store.reader) == []
        assert await counts(store, await accepted(store, 2)) == {"queued": 2}

    @pytest.mark.parametrize(
        "args",
        [
            (),
            (b"",),
            (b"", b""),
            (b"a b", b"", b"-n"),
            (bytes(range(1, 256)),),
            (b"line\nline\r\n", b"'\"$;`\\"),
            (b"x" * 100_000,),
            tuple(b"%d" % number for number in range(1000)),
        ],
        ids=["none", "empty", "two empty", "several", "every byte", "shell words", "100 kB", "1000"],
    )
    async def test_arguments_come_back_as_they_were(
        self, store: SqliteStore, args: tuple[bytes, ...]
    ) -> None:
        number = await accepted(store, [(args, KEY), ((b"next",), KEY)])
        assert [queued.args for queued in await waiting(store, number)] == [args, (b"next",)]
        assert job(store.reader, number, 1).args == args

    async def test_an_argument_with_a_nul_byte_is_refused(self, store: SqliteStore) -> None:
        with pytest.raises(UsageError, match="NUL"):
            await accepted(store, [((b"a",), KEY), ((b"b\0c",), KEY)])
        assert runs(store.reader) == []

    async def test_one_uid_is_accepted_once(self, store: SqliteStore) -> None:
        await accepted(store, 1)
        with pytest.raises(StoreError):
            await accepted(store, 1)
        assert len(runs(store.reader)) == 1

    # -- the queue ------------------------------------------------------------------------------------------

    async def test_waiting_jobs_come_by_the_windowful_and_retries_last(self, store: SqliteStore) -> None:
        mine = await begun(store, 7)
        number = mine.claim.run
        await mine.turn(dispatched(2), failed(2, then=JobState.QUEUED))
        first = await store.queued(number, after=(0, 0), limit=4)
        assert [queued.job for queued in first] == [1, 3, 4, 5]
        rest = await store.queued(number, after=(0, 5), limit=4)
        assert [(queued.tries, queued.job) for queued in rest] == [(0, 6), (0, 7), (1, 2)]
        assert await store.queued(number, after=(1, 2), limit=4) == []

    async def test_a_job_put_back_by_a_failure_tells_whom_to_avoid(self, store: SqliteStore) -> None:
        mine = await begun(store, 3)
        await mine.turn(dispatched(1, worker=2), dispatched(2, worker=2), dispatched(3, worker=2))
        await mine.turn(
            failed(1, then=JobState.QUEUED),
            revoked(2),
            revoked(3, detail="no space left on its disk"),
        )
        assert await waiting(store, mine.claim.run) == [
            Queued(2, (b"2",), tries=0, attempts=1, avoid=None),
            Queued(3, (b"3",), tries=0, attempts=1, avoid=2),
            Queued(1, (b"1",), tries=1, attempts=1, avoid=2),
        ]

    async def test_requeued_jobs_wait_again_with_all_their_tries(self, store: SqliteStore) -> None:
        mine = await begun(store, 4)
        await mine.turn(*(dispatched(number) for number in range(1, 5)))
        await mine.turn(ended(1), failed(2, tries=3), ended(3, ending=Ending.LOST, then=JobState.LOST))
        states = (JobState.FAILED.value, JobState.LOST.value)
        await mine.turn(JobsRequeued(at=AT, states=states, count=2))
        assert await counts(store, mine.claim.run) == {"queued": 2, "open": 1, "ok": 1}
        assert await waiting(store, mine.claim.run) == [
            Queued(2, (b"2",), tries=0, attempts=1),
            Queued(3, (b"3",), tries=0, attempts=1),
        ]

    async def test_a_requeue_that_counts_otherwise_than_the_rows_is_refused(self, store: SqliteStore) -> None:
        mine = await begun(store, 2)
        with pytest.raises(StoreError, match="2 jobs were to be put back"):
            await mine.turn(JobsRequeued(at=AT, states=(JobState.FAILED.value,), count=2))

    # -- attempts -------------------------------------------------------------------------------------------

    async def test_an_attempt_is_open_from_its_dispatch_to_its_end(self, store: SqliteStore) -> None:
        mine = await begun(store, 3)
        number = mine.claim.run
        await mine.turn(dispatched(1, worker=2, serial=7), dispatched(2, worker=2, serial=8))
        rows = await store.batch_rows(number)
        assert [(o.job, o.n, o.worker, o.serial, o.args, o.tries, o.started) for o in rows.open] == [
            (1, 1, 2, 7, (b"1",), 0, False),
            (2, 1, 2, 8, (b"2",), 0, False),
        ]
        assert [worker.serial for worker in rows.workers] == [0, 8]
        await mine.turn(started(1), started(2), ended(2))
        rows = await store.batch_rows(number)
        assert [(o.job, o.started, o.dispatched_at) for o in rows.open] == [(1, True, AT + 1)]
        assert await counts(store, number) == {"queued": 1, "open": 1, "ok": 1}

    async def test_an_attempt_keeps_all_that_is_known_of_it(self, store: SqliteStore) -> None:
        mine = await begun(store, 1)
        await mine.turn(dispatched(1))
        ref = OutputRef("out/1.dat", 10, 20, 30)
        await mine.turn(
            started(1), ended(1, ending=Ending.TIMEOUT, then=JobState.TIMEOUT, output=ref, detail="why")
        )
        [row] = attempts(store.reader, mine.claim.run)
        assert (row.job, row.n, row.worker, row.open, row.ending) == (1, 1, "web1", False, "timeout")
        assert (row.dispatched_at, row.started_at, row.ended_at) == (AT + 1, AT + 1.5, AT + 2)
        assert (row.file, row.offset, row.out, row.err, row.indexed) == ("out/1.dat", 10, 20, 30, False)
        assert (row.elapsed, row.code, row.signal, row.detail) == (0.5, None, None, "why")

    async def test_a_turn_may_hold_the_whole_life_of_a_job(self, store: SqliteStore) -> None:
        mine = await begun(store, 2)
        number = mine.claim.run
        await mine.turn(
            dispatched(1, 1, worker=1),
            started(1, 1),
            failed(1, 1, then=JobState.QUEUED),
            dispatched(1, 2, worker=2),
            started(1, 2),
            ended(1, 2, tries=1),
        )
        row = job(store.reader, number, 1)
        assert (row.state, row.tries, row.attempts) == (JobState.OK, 1, 2)
        assert [(a.n, a.worker, a.ending) for a in attempts(store.reader, number)] == [
            (1, "web1", "exit"),
            (2, "web2", "ok"),
        ]

    @pytest.mark.parametrize(
        "misfit",
        [
            [ended(2)],
            [ended(1), ended(1)],
            [ended(1, 2)],
            [started(2)],
            [ended(1), started(1)],
            [dispatched(1, 2)],
            [dispatched(1, 1)],
            [dispatched(99)],
            [dispatched(3), ended(3), dispatched(3, 2)],
            [dispatched(4)],
        ],
        ids=[
            "end of what is not open",
            "two ends",
            "end of another attempt",
            "start of what is not open",
            "start after the end",
            "second attempt beside the first",
            "same attempt again",
            "unknown job",
            "dispatch after the end",
            "dispatch of a job that is done",
        ],
    )
    async def test_a_turn_that_does_not_fit_the_rows_is_refused_whole(
        self, store: SqliteStore, misfit: list[Event]
    ) -> None:
        mine = await begun(store, 5)
        await mine.turn(dispatched(1), dispatched(4), ended(4))
        before = await store.batch_rows(mine.claim.run)
        with pytest.raises(StoreError):
            await mine.turn(dispatched(5), *misfit)
        assert await store.batch_rows(mine.claim.run) == before
        await mine.turn(dispatched(5), ended(1))
        assert await counts(store, mine.claim.run) == {"queued": 2, "open": 1, "ok": 2}

    async def test_serials_only_grow(self, store: SqliteStore) -> None:
        mine = await begun(store, 3)
        await mine.turn(dispatched(1, serial=9))
        await mine.turn(dispatched(2, serial=5))
        assert (await store.batch_rows(mine.claim.run)).workers[0].serial == 9

    # -- one writer -----------------------------------------------------------------------------------------

    async def test_a_turn_of_an_older_epoch_is_refused(self, store: SqliteStore) -> None:
        old = await begun(store, 2)
        await store.release(old.claim)
        new = await writer(store, old.claim.run)
        assert (old.claim.epoch, new.claim.epoch) == (1, 2)
        with pytest.raises(StaleEpoch):
            await old.turn(dispatched(1))
        await new.turn(dispatched(1))
        with pytest.raises(StaleEpoch):
            await old.turn(ended(1))
        assert await counts(store, old.claim.run) == {"queued": 1, "open": 1}

    async def test_a_turn_that_is_not_the_next_is_refused(self, store: SqliteStore) -> None:
        mine = await begun(store, 2)
        await mine.turn(dispatched(1))
        for seq in (mine.seq - 1, mine.seq + 1):
            with pytest.raises(StoreError, match="event"):
                await Writer(store, mine.claim, seq).turn(dispatched(2))
        await mine.turn(dispatched(2))

    async def test_a_turn_of_an_unknown_run_is_refused(self, store: SqliteStore) -> None:
        with pytest.raises(StoreError, match="run 9"):
            await store.commit(Turn(run=9, epoch=1, seq=1, events=[]))

    async def test_a_claimed_run_is_busy_until_it_is_released(self, store: SqliteStore) -> None:
        mine = await begun(store, 2)
        with pytest.raises(RunBusy, match=r"me \(pid 1\)"):
            await writer(store, mine.claim.run, owner="other")
        assert has_owner(store.reader, mine.claim.run)
        await mine.turn(dispatched(1))
        await store.release(mine.claim)
        assert not has_owner(store.reader, mine.claim.run)
        other = await writer(store, mine.claim.run, owner="other")
        assert (other.claim.epoch, other.claim.seq, other.claim.uid) == (2, mine.seq, "a" * 32)
        assert run(store.reader, mine.claim.run).owner == "other"

    async def test_an_unknown_run_can_not_be_claimed_and_the_last_is_named(self, store: SqliteStore) -> None:
        with pytest.raises(UsageError, match="no run 999; there are none yet"):
            await store.claim(999, owner="me", at=AT)
        await accepted(store)
        with pytest.raises(UsageError, match="no run 999; the last is 1"):
            await store.claim(999, owner="me", at=AT)
        with pytest.raises(UsageError, match="no run 999"):
            await store.batch_rows(999)

    async def test_turns_of_two_runs_at_once_do_not_mix(self, store: SqliteStore) -> None:
        one, two = await begun(store, 50), await begun(store, 50, uid="b" * 32)

        async def work(mine: Writer) -> None:
            for number in range(1, 51):
                await mine.turn(dispatched(number))
                await mine.turn(ended(number))

        await asyncio.gather(work(one), work(two))
        for mine in (one, two):
            assert await counts(store, mine.claim.run) == {"ok": 50}

    # -- the run --------------------------------------------------------------------------------------------

    async def test_a_run_tells_how_it_stands(self, store: SqliteStore) -> None:
        mine = await begun(store, 2)
        number = mine.claim.run
        await mine.turn(RunStarted(at=AT + 1, epoch=1, owner="me", options={"retries": 1}))
        row = run(store.reader, number)
        assert (row.state, row.started, row.finished, row.exit_code) == ("running", AT + 1, None, None)
        await mine.turn(StopRequested(at=AT + 2, why="Ctrl-C"), dispatched(1), ended(1))
        assert (await store.batch_rows(number)).stopping
        await mine.turn(RunFinished(at=AT + 3, state="stopped", exit_code=130))
        row = run(store.reader, number)
        assert (row.state, row.finished, row.exit_code, row.owner) == ("stopped", AT + 3, 130, None)
        assert row.counts == {"queued": 1, "ok": 1}
        await mine.turn(RunStarted(at=AT + 4, epoch=1, owner="me", options={}))
        row = run(store.reader, number)
        assert (row.state, row.started, row.finished, row.exit_code) == ("running", AT + 1, None, None)
        assert not (await store.batch_rows(number)).stopping

    async def test_runs_are_listed_newest_first(self, store: SqliteStore) -> None:
        for letter in "abc":
            await accepted(store, 1, uid=letter * 32)
        assert [row.uid[0] for row in runs(store.reader)] == ["c", "b", "a"]
        assert [row.number for row in runs(store.reader, limit=2)] == [3, 2]

    async def test_a_run_is_found_by_number_last_or_uid(self, store: SqliteStore) -> None:
        with pytest.raises(UsageError, match="no run yet"):
            resolve(store.reader, "last")
        await accepted(store, 1, uid="abcd" + "0" * 28)
        await accepted(store, 1, uid="abce" + "1" * 28)
        await accepted(store, 1, uid="2222" + "2" * 28)
        assert [resolve(store.reader, text) for text in ("last", "1", "abce", "2222")] == [3, 1, 2, 3]
        for text, words in (
            ("999", "no run 999; the last is 3"),
            ("abc", "at least 4"),
            ("9" * 30, "no run 9"),
            ("-1", "give a number"),
            ("ffff", "no run ffff"),
            ("", "give a number"),
            ("٣", "give a number"),
        ):
            with pytest.raises(UsageError, match=words):
                resolve(store.reader, text)
        await accepted(store, 1, uid="abcd" + "5" * 28)
        with pytest.raises(UsageError, match="several"):
            resolve(store.reader, "abcd")

    async def test_workers_tell_how_they_stand(self, store: SqliteStore) -> None:
        mine = await begun(store, 2)
        number = mine.claim.run
        await mine.turn(
            HostConnected(at=AT, worker=1, spool="spool-1", boot="boot-1"),
            HostStruck(at=AT, worker=2, why="refused"),
            HostStruck(at=AT, worker=2, why="refused again"),
        )
        rows = await store.batch_rows(number)
        assert [(worker.spool, worker.boot) for worker in rows.workers] == [
            ("spool-1", "boot-1"),
            (None, None),
        ]
        await mine.turn(HostLost(at=AT, worker=2, why="gone"), HostReleased(at=AT, worker=1))
        assert [(w.state, w.strikes, w.why) for w in worker_figures(store.reader, number)] == [
            ("released", 0, ""),
            ("lost", 2, "gone"),
        ]
        await mine.turn(RunStarted(at=AT, epoch=1, owner="me", options={}))
        assert [w.state for w in worker_figures(store.reader, number)] == ["new", "new"]

    # -- history --------------------------------------------------------------------------------------------

    async def test_events_come_back_in_order_and_from_any_point(self, store: SqliteStore) -> None:
        mine = await begun(store, 300)
        told: list[Event] = [RunStarted(at=AT, epoch=1, owner="me", options={"j": 2})]
        told.append(HostConnected(at=AT, worker=1, spool="s", boot="b"))
        await mine.turn(*told)
        ref = OutputRef("out/1.dat", 0, 2, 0)
        for number in range(1, 301):
            turn: list[Event] = [dispatched(number), started(number), ended(number, output=ref, detail="d")]
            if number % 7 == 0:
                late = AttemptSuperseded(at=AT, job=number - 1, n=1, ending=Ending.EXIT, code=1)
                turn.insert(1, HostStruck(at=AT, worker=2, why="w"))
                turn.append(late)
            told += turn
            if number % 2:
                await mine.turn(*turn)
            else:
                for event in turn:
                    await mine.turn(event)
        told.append(RunFinished(at=AT, state="finished", exit_code=0))
        await mine.turn(told[-1])
        found = list(events(store.reader, mine.claim.run))
        assert [seq for seq, _ in found] == list(range(1, len(told) + 3))
        first, second = found[0][1], found[1][1]
        assert isinstance(first, UnknownEvent) and first.type == "run.accepted"
        assert second == JobsAccepted(at=AT, first=1, last=300)
        assert [event for _, event in found[2:]] == told
        for since in (0, 1, 5, 111, len(told), len(told) + 2, len(told) + 99):
            assert list(events(store.reader, mine.claim.run, since=since)) == found[since:]

    async def test_a_run_without_events_yet_has_those_of_its_acceptance(self, store: SqliteStore) -> None:
        number = await accepted(store)
        assert [seq for seq, _ in events(store.reader, number)] == [1, 2]
        assert list(events(store.reader, 77)) == []

    # -- figures --------------------------------------------------------------------------------------------

    async def test_attempts_are_told_by_job_and_by_how_they_left_it(self, store: SqliteStore) -> None:
        mine = await begun(store, 4)
        number = mine.claim.run
        await mine.turn(*(dispatched(each) for each in (1, 2, 3)))
        await mine.turn(ended(1), failed(2, then=JobState.QUEUED), dispatched(2, 2, worker=2))
        await mine.turn(failed(2, 2, tries=2))

        def told(**wanted: object) -> list[tuple[int, int]]:
            return [(row.job, row.n) for row in attempts(store.reader, number, **wanted)]  # type: ignore[arg-type]

        assert told() == [(1, 1), (2, 1), (2, 2), (3, 1)]
        assert told(job=2) == [(2, 1), (2, 2)]
        assert told(job=4) == []
        assert told(states=[JobState.FAILED]) == [(2, 2)]
        assert told(states=[JobState.OPEN, JobState.QUEUED]) == [(2, 1), (3, 1)]
        assert told(limit=2) == [(1, 1), (2, 1)]
        with pytest.raises(UsageError, match="no job 9; its jobs are 1 to 4"):
            job(store.reader, number, 9)

    async def test_a_report_adds_up(self, store: SqliteStore) -> None:
        mine = await begun(store, 5)
        number = mine.claim.run
        assert span(store.reader, number) is None
        await mine.turn(*(dispatched(each, worker=1 + each % 2) for each in (1, 2, 3, 4)))
        await mine.turn(
            ended(1, elapsed=3.0),
            ended(2, elapsed=1.0),
            ended(3, ending=Ending.EXIT, then=JobState.FAILED, tries=1, elapsed=5.0),
            revoked(4),
            dispatched(4, 2, worker=1),
        )
        await mine.turn(ended(4, 2, ending=Ending.LOST, then=JobState.LOST, elapsed=None))
        bad = list(bad_jobs(store.reader, number))
        assert [(each.job, each.args, each.state) for each in bad] == [
            (3, (b"3",), JobState.FAILED),
            (4, (b"4",), JobState.LOST),
        ]
        assert [each.last.n for each in bad if each.last] == [1, 2]
        assert [each.job for each in bad_jobs(store.reader, number, states=[JobState.LOST])] == [4]
        assert [each.last for each in bad_jobs(store.reader, number, states=[JobState.QUEUED])] == [None]
        assert [row.job for row in slowest(store.reader, number, limit=2)] == [3, 1]
        one, two = worker_figures(store.reader, number)
        assert (one.name, one.attempts, one.ok, one.failed, one.open, one.busy, one.mean) == (
            "web1", 2, 1, 1, 0, 1.0, 1.0,
        )  # fmt: skip
        assert (two.name, two.attempts, two.ok, two.failed, two.open, two.busy, two.mean) == (
            "web2", 2, 1, 1, 0, 8.0, 4.0,
        )  # fmt: skip
        assert span(store.reader, number) == (AT + 1, AT + 5)

    async def test_a_job_that_may_have_run_twice_is_told(self, store: SqliteStore) -> None:
        mine = await begun(store, 4)
        await mine.turn(*(dispatched(each) for each in (1, 2, 3, 4)))
        await mine.turn(
            ended(1, ending=Ending.LOST, then=JobState.QUEUED),
            ended(2, ending=Ending.LOST, then=JobState.LOST),
            revoked(3),
            ended(4, ending=Ending.INTERRUPTED, then=JobState.QUEUED),
        )
        assert maybe_doubled(store.reader, mine.claim.run) == []
        await mine.turn(dispatched(1, 2), dispatched(3, 2), dispatched(4, 2))
        await mine.turn(ended(1, 2), ended(3, 2), revoked(4, 2))
        assert maybe_doubled(store.reader, mine.claim.run) == [1]
