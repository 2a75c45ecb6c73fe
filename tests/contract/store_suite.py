"""What every store owes, as tests: subclass StoreContract and give it the fixture `store`.

What is accepted, what turns do to it, and who may write. What can be asked of it is in `store_reads_suite`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from hostler.errors import RunBusy, StaleEpoch, StoreError, UsageError
from hostler.model.events import (
    Event,
    JobsRequeued,
)
from hostler.model.hosts import Host
from hostler.model.jobs import Ending, JobState, OutputRef, Queued
from hostler.ports import Turn
from hostler.stores.reads.attempts import attempts, job
from hostler.stores.reads.runs import has_owner, run, runs
from hostler.stores.store import RowStore
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

    async def test_an_accepted_batch_is_there_whole(self, store: RowStore) -> None:
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

    async def test_each_job_of_a_fan_out_is_pinned_to_the_host_of_its_number(self, store: RowStore) -> None:
        number = await accepted(store, 2, spec=replace(SPEC, fanout=True, waves="1,100%"))
        assert run(store.reader, number).kind == "fanout"
        assert await waiting(store, number) == [Queued(1, (b"1",), pin=1), Queued(2, (b"2",), pin=2)]
        mine = await writer(store, number)
        await mine.turn(dispatched(1), failed(1), dispatched(2, worker=2))
        rows = await store.batch_rows(number)
        assert rows.spec.waves == "1,100%" and [(each.job, each.pin) for each in rows.open] == [(2, 2)]
        await mine.turn(JobsRequeued(at=AT, states=(int(JobState.FAILED),), count=1))
        assert await waiting(store, number) == [Queued(1, (b"1",), 0, 1, pin=1)]

    async def test_runs_are_numbered_one_after_the_other(self, store: RowStore) -> None:
        assert [await accepted(store, 1, uid=letter * 32) for letter in "abc"] == [1, 2, 3]

    async def test_a_batch_without_jobs_is_refused_and_leaves_nothing(self, store: RowStore) -> None:
        with pytest.raises(UsageError, match="no jobs"):
            await accepted(store, 0)
        assert runs(store.reader) == []

    async def test_a_job_source_that_fails_leaves_nothing(self, store: RowStore) -> None:
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
    async def test_arguments_come_back_as_they_were(self, store: RowStore, args: tuple[bytes, ...]) -> None:
        number = await accepted(store, [(args, KEY), ((b"next",), KEY)])
        assert [queued.args for queued in await waiting(store, number)] == [args, (b"next",)]
        assert job(store.reader, number, 1).args == args

    async def test_an_argument_with_a_nul_byte_is_refused(self, store: RowStore) -> None:
        with pytest.raises(UsageError, match="NUL"):
            await accepted(store, [((b"a",), KEY), ((b"b\0c",), KEY)])
        assert runs(store.reader) == []

    async def test_one_uid_is_accepted_once(self, store: RowStore) -> None:
        await accepted(store, 1)
        with pytest.raises(StoreError):
            await accepted(store, 1)
        assert len(runs(store.reader)) == 1

    async def test_hosts_that_join_later_come_behind_and_nobody_is_renumbered(self, store: RowStore) -> None:
        mine = await begun(store)
        await mine.turn(dispatched(1, worker=2, serial=5))
        moved = Host(name="web2", address="10.9.9.9")
        more = [Host(name=name, address="10.0.0.7") for name in ("web3", "web4")]
        await store.add_workers(mine.claim, [more[0], moved, *more])
        workers = (await store.batch_rows(mine.claim.run)).workers
        assert [(each.id, each.host) for each in workers] == [
            (1, HOSTS[0]), (2, moved), (3, more[0]), (4, more[1]),
        ]  # fmt: skip
        assert (workers[1].token, workers[1].serial) == ("0" * 15 + "1", 5)
        assert len({each.token for each in workers}) == 4 and len(workers[3].token) == 16
        await mine.turn(dispatched(2, worker=4))
        await store.release(mine.claim)
        await writer(store, mine.claim.run)
        with pytest.raises(StaleEpoch):
            await store.add_workers(mine.claim, more)

    # -- the queue ------------------------------------------------------------------------------------------

    async def test_waiting_jobs_come_by_the_windowful_and_retries_last(self, store: RowStore) -> None:
        mine = await begun(store, 7)
        number = mine.claim.run
        await mine.turn(dispatched(2), failed(2, then=JobState.QUEUED))
        first = await store.queued(number, after=(0, 0), limit=4)
        assert [queued.job for queued in first] == [1, 3, 4, 5]
        rest = await store.queued(number, after=(0, 5), limit=4)
        assert [(queued.tries, queued.job) for queued in rest] == [(0, 6), (0, 7), (1, 2)]
        assert await store.queued(number, after=(1, 2), limit=4) == []

    async def test_a_job_put_back_by_a_failure_tells_whom_to_avoid(self, store: RowStore) -> None:
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
            Queued(1, (b"1",), tries=1, attempts=1, avoid=2, since=AT + 2),
        ]

    async def test_requeued_jobs_wait_again_with_all_their_tries(self, store: RowStore) -> None:
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

    async def test_a_requeue_that_counts_otherwise_than_the_rows_is_refused(self, store: RowStore) -> None:
        mine = await begun(store, 2)
        with pytest.raises(StoreError, match="2 jobs were to be put back"):
            await mine.turn(JobsRequeued(at=AT, states=(JobState.FAILED.value,), count=2))

    # -- attempts -------------------------------------------------------------------------------------------

    async def test_an_attempt_is_open_from_its_dispatch_to_its_end(self, store: RowStore) -> None:
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

    async def test_an_attempt_keeps_all_that_is_known_of_it(self, store: RowStore) -> None:
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

    async def test_a_turn_may_hold_the_whole_life_of_a_job(self, store: RowStore) -> None:
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
        self, store: RowStore, misfit: list[Event]
    ) -> None:
        mine = await begun(store, 5)
        await mine.turn(dispatched(1), dispatched(4), ended(4))
        before = await store.batch_rows(mine.claim.run)
        with pytest.raises(StoreError):
            await mine.turn(dispatched(5), *misfit)
        assert await store.batch_rows(mine.claim.run) == before
        await mine.turn(dispatched(5), ended(1))
        assert await counts(store, mine.claim.run) == {"queued": 2, "open": 1, "ok": 2}

    async def test_serials_only_grow(self, store: RowStore) -> None:
        mine = await begun(store, 3)
        await mine.turn(dispatched(1, serial=9))
        await mine.turn(dispatched(2, serial=5))
        assert (await store.batch_rows(mine.claim.run)).workers[0].serial == 9

    # -- one writer -----------------------------------------------------------------------------------------

    async def test_a_turn_of_an_older_epoch_is_refused(self, store: RowStore) -> None:
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

    async def test_a_turn_that_is_not_the_next_is_refused(self, store: RowStore) -> None:
        mine = await begun(store, 2)
        await mine.turn(dispatched(1))
        for seq in (mine.seq - 1, mine.seq + 1):
            with pytest.raises(StoreError, match="event"):
                await Writer(store, mine.claim, seq).turn(dispatched(2))
        await mine.turn(dispatched(2))

    async def test_a_turn_of_an_unknown_run_is_refused(self, store: RowStore) -> None:
        with pytest.raises(StoreError, match="run 9"):
            await store.commit(Turn(run=9, epoch=1, seq=1, events=[]))

    async def test_a_claimed_run_is_busy_until_it_is_released(self, store: RowStore) -> None:
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

    async def test_an_unknown_run_can_not_be_claimed_and_the_last_is_named(self, store: RowStore) -> None:
        with pytest.raises(UsageError, match="no run 999: there are no runs yet"):
            await store.claim(999, owner="me", at=AT)
        await accepted(store)
        with pytest.raises(UsageError, match="no run 999; the newest is 1"):
            await store.claim(999, owner="me", at=AT)
        with pytest.raises(UsageError, match="no run 999"):
            await store.batch_rows(999)

    async def test_turns_of_two_runs_at_once_do_not_mix(self, store: RowStore) -> None:
        one, two = await begun(store, 50), await begun(store, 50, uid="b" * 32)

        async def work(mine: Writer) -> None:
            for number in range(1, 51):
                await mine.turn(dispatched(number))
                await mine.turn(ended(number))

        await asyncio.gather(work(one), work(two))
        for mine in (one, two):
            assert await counts(store, mine.claim.run) == {"ok": 50}
