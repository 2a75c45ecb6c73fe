"""What every store owes to requests, as tests: subclass StoreRequestsContract and give it the fixture `store`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hostler.errors import StoreError, UsageError
from hostler.model.events import (
    HostConnected,
    HostEnrolled,
    HostLost,
    JobsAccepted,
    JobsCancelled,
    RequestAnswered,
    RequestMade,
    RunPaused,
    RunStarted,
    RunUnpaused,
    SettingChanged,
    StopRequested,
)
from hostler.model.hosts import Host
from hostler.model.jobs import JobState, Queued
from hostler.model.requests import Add, Cancel, Change, Pause, Stop, Unpause, Wish
from hostler.stores.reads.events import events
from hostler.stores.reads.report import worker_figures
from hostler.stores.reads.requests import request, requests
from hostler.stores.reads.runs import run
from hostler.stores.store import RowStore
from tests.contract.store_making import (
    AT,
    HOSTS,
    KEY,
    Writer,
    accepted,
    begun,
    counts,
    dispatched,
    ended,
    number_jobs,
    waiting,
    writer,
)

WHO = "ann@laptop (pid 7)"


async def asked(store: RowStore, mine: Writer, wish: Wish, *, jobs: int = 0) -> int:
    """Something that is wanted of a run."""
    return await store.make_request(mine.claim.run, wish, who=WHO, at=AT, jobs=number_jobs(jobs))


async def told(store: RowStore, mine: Writer) -> int:
    """The version that was seen by a look of now: one that must ask a server says what it heard last."""
    store.version()
    await store.requests(mine.claim.run)
    return store.version()


class StoreRequestsContract:
    """The tests."""

    @pytest.mark.parametrize(
        "wish",
        [
            Stop(),
            Stop(drain=True),
            Pause(),
            Unpause(),
            Change(slots=3, timeout=2.5),
            Cancel(jobs=(1, 7)),
            Add(hosts=HOSTS),
        ],
        ids=lambda wish: wish.kind,
    )
    async def test_a_request_comes_back_as_it_was_made(self, store: RowStore, wish: Wish) -> None:
        mine = await begun(store)
        number = await asked(store, mine, wish)
        [found] = await store.requests(mine.claim.run)
        assert (found.id, found.wish, found.kind, found.who, found.at) == (number, wish, wish.kind, WHO, AT)
        assert (found.taken, found.answered, found.done, found.words) == (None, None, False, "")

    async def test_a_request_waits_until_it_is_answered_and_is_answered_once(self, store: RowStore) -> None:
        mine = await begun(store)
        one, two = await asked(store, mine, Pause()), await asked(store, mine, Unpause())
        await mine.turn(RequestMade(at=AT + 1, request=one, who=WHO, kind="pause"))
        assert [found.taken for found in await store.requests(mine.claim.run)] == [AT + 1, None]
        answer = RequestAnswered(at=AT + 2, request=one, done=True, words="paused")
        await mine.turn(answer)
        assert [found.id for found in await store.requests(mine.claim.run)] == [two]
        found = request(store.reader, one)
        assert found is not None and (found.answered, found.done, found.words) == (AT + 2, True, "paused")
        assert [found.id for found in requests(store.reader, mine.claim.run)] == [one, two]
        with pytest.raises(StoreError, match="does not wait"):
            await mine.turn(answer)
        assert request(store.reader, 99) is None

    async def test_requests_are_told_by_run_and_one_for_an_unknown_run_is_refused(
        self, store: RowStore
    ) -> None:
        mine, other = await begun(store), await begun(store, uid="b" * 32)
        await asked(store, other, Pause())
        assert await store.requests(mine.claim.run) == []
        with pytest.raises(UsageError, match="no run 99"):
            await store.make_request(99, Pause(), who=WHO, at=AT)

    async def test_a_request_is_noticed_without_looking_at_a_table(self, store: RowStore) -> None:
        mine = await begun(store)
        before = await told(store, mine)
        assert await told(store, mine) == before
        await asked(store, mine, Pause())
        assert await told(store, mine) != before

    async def test_making_a_request_changes_nothing_of_the_run(self, store: RowStore) -> None:
        mine = await begun(store)
        before, row = await store.batch_rows(mine.claim.run), run(store.reader, mine.claim.run)
        await asked(store, mine, Add(), jobs=3)
        await asked(store, mine, Stop())
        assert await store.batch_rows(mine.claim.run) == before
        assert run(store.reader, mine.claim.run) == row
        await mine.turn(dispatched(1))

    async def test_jobs_that_were_added_join_behind_the_others(self, store: RowStore) -> None:
        mine = await begun(store, 2)
        number = await asked(store, mine, Add(), jobs=7_001)
        [found] = await store.requests(mine.claim.run)
        assert found.wish == Add(jobs=7_001)
        await mine.turn(
            JobsAccepted(at=AT, first=3, last=7_003, request=number),
            RequestAnswered(at=AT, request=number, done=True, words="added"),
        )
        assert await counts(store, mine.claim.run) == {"queued": 7_003}
        found_jobs = await store.queued(mine.claim.run, after=(0, 2), limit=9_999)
        assert found_jobs[0] == Queued(3, (b"1",)) and found_jobs[-1] == Queued(7_003, (b"7001",))
        assert store.reader.one("SELECT count(*) FROM request_job") == (0,)
        assert store.reader.one("SELECT total FROM run WHERE number = ?", mine.claim.run) == (7_003,)

    async def test_jobs_that_are_not_all_there_do_not_join(self, store: RowStore) -> None:
        mine = await begun(store, 2)
        number = await asked(store, mine, Add(), jobs=2)
        with pytest.raises(StoreError, match="3 jobs were to join, 2 are there"):
            await mine.turn(JobsAccepted(at=AT, first=3, last=5, request=number))
        assert await counts(store, mine.claim.run) == {"queued": 2}

    async def test_a_source_of_more_jobs_that_fails_leaves_nothing(self, store: RowStore) -> None:
        def source() -> Iterator[tuple[tuple[bytes, ...], bytes]]:
            yield (b"a",), KEY
            raise UsageError("can't be read")

        mine = await begun(store, 2)
        with pytest.raises(UsageError, match="can't be read"):
            await store.make_request(mine.claim.run, Add(), who=WHO, at=AT, jobs=source())
        assert await store.requests(mine.claim.run) == []
        assert store.reader.one("SELECT count(*) FROM request_job") == (0,)

    async def test_hosts_that_were_added_are_enrolled_or_renewed(self, store: RowStore) -> None:
        mine = await begun(store)
        await mine.turn(
            HostConnected(at=AT, worker=1, spool="s", boot="b"), HostLost(at=AT, worker=2, why="x")
        )
        moved, new = Host(name="web2", address="10.9.9.9", slots=2), Host(name="web3", address="10.0.0.3")
        number = await asked(store, mine, Add(hosts=(moved, new)))
        await mine.turn(
            HostEnrolled(at=AT, worker=2, name="web2", request=number),
            HostEnrolled(at=AT, worker=3, name="web3", request=number),
        )
        workers = await store.workers(mine.claim.run)
        assert [(each.id, each.host) for each in workers] == [(1, HOSTS[0]), (2, moved), (3, new)]
        assert len({each.token for each in workers}) == 3 and len(workers[2].token) == 16
        assert [each.state for each in worker_figures(store.reader, mine.claim.run)] == ["up", "new", "new"]
        await mine.turn(dispatched(1, worker=3))

    async def test_waiting_jobs_are_cancelled_and_no_others(self, store: RowStore) -> None:
        mine = await begun(store, 4)
        await mine.turn(dispatched(1), dispatched(2), ended(2), JobsCancelled(at=AT, jobs=(3, 4)))
        assert await counts(store, mine.claim.run) == {"open": 1, "ok": 1, "cancelled": 2}
        for job in (1, 2, 3, 99):
            with pytest.raises(StoreError, match="1 jobs were to be cancelled, 0 of them wait"):
                await mine.turn(JobsCancelled(at=AT, jobs=(job,)))
        assert await waiting(store, mine.claim.run) == []
        assert await store.standings(mine.claim.run, [1, 2, 3, 99]) == {
            1: JobState.OPEN,
            2: JobState.OK,
            3: JobState.CANCELLED,
        }

    async def test_a_pause_lasts_until_it_is_taken_back_whoever_works_on_the_run(
        self, store: RowStore
    ) -> None:
        mine = await begun(store)
        number = mine.claim.run
        await mine.turn(RunPaused(at=AT))
        assert (await store.batch_rows(number)).paused and run(store.reader, number).paused
        await mine.turn(StopRequested(at=AT, why="w", drain=True))
        rows = await store.batch_rows(number)
        assert (rows.stopping, rows.draining) == (True, True) and run(store.reader, number).draining
        await mine.turn(RunStarted(at=AT, epoch=1, owner="me", options={}))
        rows = await store.batch_rows(number)
        assert (rows.paused, rows.stopping, rows.draining) == (True, False, False)
        await mine.turn(RunUnpaused(at=AT))
        assert not (await store.batch_rows(number)).paused

    async def test_a_setting_that_changed_is_the_specs_from_then_on(self, store: RowStore) -> None:
        mine = await begun(store)
        await mine.turn(
            SettingChanged(at=AT, name="slots", value=9), SettingChanged(at=AT, name="timeout", value=2.5)
        )
        spec = (await store.batch_rows(mine.claim.run)).spec
        assert (spec.slots, spec.timeout, spec.retries) == (9, 2.5, 2)

    async def test_what_was_wanted_is_told_in_the_history(self, store: RowStore) -> None:
        mine = await begun(store)
        number = await asked(store, mine, Cancel(jobs=(1, 2)))
        told = [
            RequestMade(at=AT, request=number, who=WHO, kind="cancel"),
            JobsCancelled(at=AT, jobs=(1, 2)),
            RequestAnswered(at=AT, request=number, done=True, words="jobs 1 and 2 cancelled"),
            RunPaused(at=AT),
            SettingChanged(at=AT, name="retries", value=1),
        ]
        await mine.turn(*told)
        assert [event for _, event in events(store.reader, mine.claim.run, since=2)] == told

    async def test_another_owner_finds_what_the_last_one_left_unanswered(self, store: RowStore) -> None:
        number = await accepted(store)
        mine = await writer(store, number)
        asked_for = await asked(store, mine, Cancel(jobs=(1,)))
        await mine.turn(RequestMade(at=AT, request=asked_for, who=WHO, kind="cancel"))
        await store.release(mine.claim)
        await writer(store, number, owner="other")
        [found] = await store.requests(number)
        assert (found.id, found.taken) == (asked_for, AT)
