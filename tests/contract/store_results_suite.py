"""Hosts by what came of a run there, of every store: subclass StoreResultsContract and give it the fixture `store`."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from hostler.model.events import (
    HostConnected,
    HostLost,
    HostOut,
    HostReleased,
    HostStruck,
    RunStarted,
)
from hostler.model.hosts import Host
from hostler.model.jobs import Ending, JobState, OutputRef
from hostler.stores.outputs import RunOutputs
from hostler.stores.reads.kept import OutputElsewhere
from hostler.stores.reads.results import ended_as, enrolled, out_of_reach, printing
from hostler.stores.store import RowStore
from tests.contract.store_making import AT, HOSTS, begun, dispatched, ended, failed, revoked, started

NOT_OK = [ending for ending in Ending if ending not in (Ending.OK, Ending.REVOKED)]


def names(hosts: Collection[Host]) -> list[str]:
    return [host.name for host in hosts]


class StoreResultsContract:
    """The tests."""

    async def test_the_last_attempt_of_a_job_on_a_host_is_what_came_of_it_there(
        self, store: RowStore
    ) -> None:
        mine = await begun(store, 4)
        run = mine.claim.run
        assert enrolled(store.reader, run) == list(HOSTS) and ended_as(store.reader, run, NOT_OK) == []
        # Job 1 fails on web1 and goes well on web2; job 2 fails on web1 and goes well there.
        await mine.turn(dispatched(1), started(1), failed(1, then=JobState.QUEUED))
        assert names(ended_as(store.reader, run, [Ending.EXIT])) == ["web1"]
        await mine.turn(dispatched(1, 2, worker=2), ended(1, 2))
        assert names(ended_as(store.reader, run, [Ending.EXIT])) == ["web1"]
        assert names(ended_as(store.reader, run, [Ending.OK])) == ["web2"]
        other = await begun(store, 1, uid="b" * 32)
        await other.turn(dispatched(1), failed(1, then=JobState.QUEUED))
        await other.turn(dispatched(1, 2), ended(1, 2))
        assert ended_as(store.reader, other.claim.run, NOT_OK) == []
        assert names(ended_as(store.reader, other.claim.run, [Ending.OK])) == ["web1"]

    async def test_what_was_taken_back_came_to_nothing_and_what_runs_is_not_over(
        self, store: RowStore
    ) -> None:
        mine = await begun(store, 3)
        run = mine.claim.run
        await mine.turn(dispatched(1), failed(1, then=JobState.QUEUED))
        await mine.turn(dispatched(1, 2), revoked(1, 2), dispatched(2, worker=2), revoked(2))
        assert names(ended_as(store.reader, run, NOT_OK)) == ["web1"]
        await mine.turn(dispatched(1, 3))
        assert ended_as(store.reader, run, NOT_OK) == []
        assert names(ended_as(store.reader, run, [Ending.REVOKED])) == ["web2"]

    async def test_hosts_out_of_reach_are_told_with_their_fault_until_they_answer(
        self, store: RowStore
    ) -> None:
        mine = await begun(store, 1)
        run = mine.claim.run
        assert out_of_reach(store.reader, run) == []
        await mine.turn(
            HostStruck(at=AT, worker=1, why="no route", fault="unreachable"),
            HostConnected(at=AT, worker=2, spool="s", boot="b"),
            HostStruck(at=AT, worker=2, why="its disk is full", fault="refused"),
        )
        found = out_of_reach(store.reader, run)
        assert [(host.name, fault) for host, fault in found] == [("web1", "unreachable"), ("web2", "refused")]
        await mine.turn(
            HostConnected(at=AT, worker=1, spool="s", boot="b"),
            HostLost(at=AT, worker=2, why="no key is accepted", fault="unreachable"),
        )
        assert [(host.name, fault) for host, fault in out_of_reach(store.reader, run)] == [
            ("web2", "unreachable")
        ]
        await mine.turn(HostOut(at=AT, worker=1, why="line cut"))
        assert names([host for host, _ in out_of_reach(store.reader, run)]) == ["web1", "web2"]
        await mine.turn(RunStarted(at=AT, epoch=1, owner="me", options={}))
        assert out_of_reach(store.reader, run) == []
        await mine.turn(HostReleased(at=AT, worker=1))
        assert out_of_reach(store.reader, run) == []

    async def test_hosts_are_found_by_what_their_jobs_printed(self, store: RowStore) -> None:
        mine = await begun(store, 4)
        run = mine.claim.run
        folder = store.run_folder(run)
        if folder is None:
            assert printing(store.reader, run, b"x") == []
            return
        outputs = RunOutputs(folder, epoch=mine.claim.epoch)
        said = (
            (b"all well\n", b""),
            (b"", b"No space left"),
            (b" on device", b""),
            (b"x" * 70_000 + b"y", b""),
        )
        refs = [outputs.whole(out, err) for out, err in said]
        outputs.sync()
        await mine.turn(
            dispatched(1), ended(1, output=refs[0]),
            dispatched(2, worker=2), ended(2, ending=Ending.EXIT, then=JobState.QUEUED, output=refs[1]),
        )  # fmt: skip
        assert names(printing(store.reader, run, b"space left")) == ["web2"]
        assert (
            names(printing(store.reader, run, b"well")) == ["web1"]
            and printing(store.reader, run, b"WELL") == []
        )
        assert (
            printing(store.reader, run, b"left on device") == []
        )  # of two jobs, or streams, nothing is one text
        await mine.turn(dispatched(2, 2, worker=2), ended(2, 2, output=refs[2]))
        assert printing(store.reader, run, b"space left") == []
        await mine.turn(
            dispatched(3), ended(3, output=refs[3]), dispatched(4, worker=2), ended(4, output=refs[0])
        )
        assert names(printing(store.reader, run, b"xxy")) == ["web1"]
        assert names(printing(store.reader, run, b"well")) == ["web1", "web2"]

    async def test_text_is_found_across_pieces_of_one_stream_and_while_a_job_still_writes(
        self, store: RowStore
    ) -> None:
        mine = await begun(store, 2)
        run = mine.claim.run
        if (folder := store.run_folder(run)) is None:
            return
        outputs = RunOutputs(folder, epoch=mine.claim.epoch)
        for stream, at, data in ((1, 0, b"No sp"), (2, 0, b"warning"), (1, 5, b"ace left\n")):
            outputs.append(1, 1, stream, at, data)
        outputs.append(2, 1, 1, 0, b"not there yet\n")
        outputs.sync()
        await mine.turn(dispatched(1), started(1), dispatched(2, worker=2), started(2))
        assert names(printing(store.reader, run, b"No space left")) == ["web1"]
        assert names(printing(store.reader, run, b"there")) == ["web2"]
        await mine.turn(ended(1, output=outputs.finish(1, 1)))
        assert names(printing(store.reader, run, b"No space left")) == ["web1"]
        assert names(printing(store.reader, run, b"warning")) == ["web1"]
        assert printing(store.reader, run, b"spwarning") == []
        outputs.close()

    async def test_output_that_lies_on_another_machine_is_told_with_its_place(self, store: RowStore) -> None:
        mine = await begun(store, 1)
        run = mine.claim.run
        if store.run_folder(run) is None:
            return
        begins = RunStarted(at=AT, epoch=1, owner="me", options={}, kept="elsewhere:/var/runs/x")
        await mine.turn(begins, dispatched(1), ended(1, output=OutputRef("out/1.dat", 0, 5, 0)))
        with pytest.raises(OutputElsewhere, match="kept where it was taken in: elsewhere:/var/runs/x"):
            printing(store.reader, run, b"x")
        assert names(ended_as(store.reader, run, [Ending.OK])) == ["web1"]
