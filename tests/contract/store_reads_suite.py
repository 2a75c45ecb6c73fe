"""What can be asked of every store, as tests: subclass StoreReadsContract and give it the fixture `store`."""

from __future__ import annotations

from typing import Any

import pytest

from hostler.errors import UsageError
from hostler.model.events import (
    AttemptSuperseded,
    Event,
    HostConnected,
    HostLost,
    HostReleased,
    HostStruck,
    JobsAccepted,
    RunAccepted,
    RunFinished,
    RunStarted,
    StopRequested,
)
from hostler.model.jobs import Ending, JobState, OutputRef
from hostler.stores.reads.attempts import attempts, job
from hostler.stores.reads.batch import spec
from hostler.stores.reads.board import jobs_page, rests, stamps, worker_counts
from hostler.stores.reads.events import events
from hostler.stores.reads.report import bad_jobs, maybe_doubled, slowest, span, worker_figures
from hostler.stores.reads.runs import resolve, run, runs
from hostler.stores.store import RowStore
from tests.contract.store_making import (
    AT,
    accepted,
    begun,
    counts,
    dispatched,
    ended,
    failed,
    revoked,
    started,
    waiting,
    writer,
)


class StoreReadsContract:
    """The tests."""

    # -- the run --------------------------------------------------------------------------------------------

    async def test_a_run_tells_how_it_stands(self, store: RowStore) -> None:
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

    async def test_runs_are_listed_newest_first(self, store: RowStore) -> None:
        for letter in "abc":
            await accepted(store, 1, uid=letter * 32)
        assert [row.uid[0] for row in runs(store.reader)] == ["c", "b", "a"]
        assert [row.number for row in runs(store.reader, limit=2)] == [3, 2]

    async def test_a_run_is_found_by_number_last_or_uid(self, store: RowStore) -> None:
        with pytest.raises(UsageError, match="no run last: there are no runs yet"):
            resolve(store.reader, "last")
        await accepted(store, 1, uid="abcd" + "0" * 28)
        await accepted(store, 1, uid="abce" + "1" * 28)
        await accepted(store, 1, uid="2222" + "2" * 28)
        assert [resolve(store.reader, text) for text in ("last", "1", "abce", "2222")] == [3, 1, 2, 3]
        for text, words in (
            ("999", "no run 999; the newest is 3"),
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

    async def test_workers_tell_how_they_stand(self, store: RowStore) -> None:
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

    async def test_events_come_back_in_order_and_from_any_point(self, store: RowStore) -> None:
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
        assert isinstance(first, RunAccepted) and first.kind == "batch"
        assert second == JobsAccepted(at=AT, first=1, last=300)
        assert [event for _, event in found[2:]] == told
        for since in (0, 1, 5, 111, len(told), len(told) + 2, len(told) + 99):
            assert list(events(store.reader, mine.claim.run, since=since)) == found[since:]

    async def test_a_run_without_events_yet_has_those_of_its_acceptance(self, store: RowStore) -> None:
        number = await accepted(store)
        assert [seq for seq, _ in events(store.reader, number)] == [1, 2]
        assert list(events(store.reader, 77)) == []

    # -- figures --------------------------------------------------------------------------------------------

    async def test_attempts_are_told_by_job_and_by_how_they_left_it(self, store: RowStore) -> None:
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

    async def test_an_answer_half_taken_does_not_blind_the_engine(self, store: RowStore) -> None:
        mine = await begun(store, 2_000)
        await mine.turn(*(dispatched(each) for each in range(1, 1_001)))
        rows = attempts(store.reader, mine.claim.run)
        next(rows)
        await mine.turn(*(dispatched(each) for each in range(1_001, 2_000)))
        assert [each.job for each in await waiting(store, mine.claim.run)] == [2_000]
        assert await counts(store, mine.claim.run) == {"open": 1_999, "queued": 1}
        assert len([*rows]) >= 999

    async def test_a_report_adds_up(self, store: RowStore) -> None:
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
        assert (one.name, one.attempts, one.ok, one.failed, one.gone) == ("web1", 2, 1, 0, 1)
        assert (two.name, two.attempts, two.ok, two.failed, two.gone) == ("web2", 2, 1, 1, 0)
        assert [(each.open, each.busy, each.mean) for each in (one, two)] == [(0, 1.0, 1.0), (0, 8.0, 4.0)]
        assert span(store.reader, number) == (AT + 1, AT + 5)

    async def test_options_given_when_a_run_is_taken_up_override_its_own(self, store: RowStore) -> None:
        mine = await begun(store, 1)
        options = {"slots": 7, "timeout": 2.5}
        await mine.turn(RunStarted(at=AT, epoch=mine.claim.epoch, owner="me", options=options))
        wanted = (await store.batch_rows(mine.claim.run)).spec
        assert (wanted.slots, wanted.timeout) == (7, 2.5)
        assert spec(store.reader, mine.claim.run) == wanted

    async def test_a_job_that_may_have_run_twice_is_told(self, store: RowStore) -> None:
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

    # -- what a screen asks again and again ----------------------------------------------------------------------

    async def test_a_page_of_jobs_begins_with_those_that_run(self, store: RowStore) -> None:
        mine = await begun(store, 9)
        number = mine.claim.run
        await mine.turn(dispatched(1), started(1), ended(1), dispatched(5), dispatched(6), started(6))
        await mine.turn(dispatched(8, worker=2), started(8), dispatched(2), failed(2, then=JobState.QUEUED))

        def page(limit: int = 100, offset: int = 0, **more: Any) -> list[int]:
            found = jobs_page(store.reader, number, limit=limit, offset=offset, **more)
            return [each.job for each in found]

        assert page() == [6, 8, 5, 1, 2, 3, 4, 7, 9]
        # Page by page it is the same list, wherever it is cut.
        for size in (1, 2, 3, 4, 8):
            assert [each for first in range(0, 12, size) for each in page(size, first)] == page()
        assert page(states=(JobState.OPEN,)) == [6, 8, 5]
        assert page(states=(JobState.QUEUED,)) == [2, 3, 4, 7, 9]
        assert page(states=()) == []
        assert page(workers=[2]) == [8] and page(workers=[]) == []
        assert page(numbers=[1, 8, 77]) == [8, 1]
        assert page(2, 1, workers=[1]) == [5, 1]
        lines = {each.job: each for each in jobs_page(store.reader, number, limit=100)}
        assert (lines[8].state, lines[8].args) == (JobState.OPEN, (b"8",))
        last = lines[8].last
        assert last is not None and (last.worker, last.open) == ("web2", True)
        assert lines[9].last is None

    async def test_the_slowest_jobs_are_those_that_took_or_have_run_longest(self, store: RowStore) -> None:
        mine = await begun(store, 6)
        number = mine.claim.run
        for which, elapsed in ((1, 2.0), (2, 9.0), (3, 0.5)):
            await mine.turn(dispatched(which), started(which), ended(which, elapsed=elapsed))
        await mine.turn(dispatched(4), started(4), dispatched(5))
        began = AT + 4.5

        def slowest(at: float, **more: Any) -> list[int]:
            found = jobs_page(store.reader, number, slowest=at, limit=100, **more)
            return [each.job for each in found]

        assert slowest(began + 5.0) == [2, 4, 1, 3]
        assert slowest(began + 1.0) == [2, 1, 4, 3]
        assert slowest(began + 1.0, states=(JobState.OK,)) == [2, 1, 3]
        assert slowest(began + 1.0, workers=[2]) == []

    async def test_a_run_s_stamp_changes_with_whatever_befalls_it_and_not_otherwise(
        self, store: RowStore
    ) -> None:
        first = await begun(store, 2)
        other = await begun(store, 2, uid="b" * 32)

        def stamp(number: int) -> object:
            return dict(stamps(store.reader, limit=10))[number]

        before, untouched = stamp(first.claim.run), stamp(other.claim.run)
        await first.turn(dispatched(1))
        assert stamp(first.claim.run) != before and stamp(other.claim.run) == untouched
        await store.release(first.claim)
        released = stamp(first.claim.run)
        assert released != before
        await writer(store, first.claim.run)
        assert stamp(first.claim.run) != released
        assert [number for number, _ in stamps(store.reader, limit=1)] == [other.claim.run]
        assert [number for number, _ in stamps(store.reader, limit=1, up_to=first.claim.run)] == [
            first.claim.run
        ]

    async def test_a_run_s_hosts_that_are_up_are_counted_and_rests_told_until_they_are_over(
        self, store: RowStore
    ) -> None:
        mine = await begun(store, 2)
        number = mine.claim.run
        assert worker_counts(store.reader, number) == (0, 2)
        await mine.turn(HostConnected(at=AT, worker=1, spool="s", boot="b"))
        assert worker_counts(store.reader, number) == (1, 2)
        await mine.turn(HostStruck(at=AT + 1, worker=2, why="away", until=AT + 31))
        until, since = rests(store.reader, number)
        assert until == {1: None, 2: AT + 31}
        await mine.turn(HostConnected(at=AT + 9, worker=2, spool="s", boot="b"))
        assert rests(store.reader, number, since=since)[0] == {2: None}
