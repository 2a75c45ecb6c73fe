"""What every store keeps of machines over all runs, as tests: subclass StoreLedgerContract, give it `store`."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from hostler.model.events import (
    HostConnected,
    HostLost,
    HostReleased,
    HostRetired,
    HostStruck,
    HostTrusted,
    JobsRequeued,
    RunFinished,
    RunStarted,
)
from hostler.model.health import Fault, Health
from hostler.model.hosts import Host
from hostler.model.jobs import Ending, JobState, Queued
from hostler.stores.ledger import KEPT
from hostler.stores.reads.hosts import worker_rows
from hostler.stores.reads.ledger import health, machines
from hostler.stores.store import RowStore
from tests.contract.store_making import AT, accepted, begun, dispatched, ended, failed, waiting, writer

LOST = Fault.LOST.value


class StoreLedgerContract:
    """The tests."""

    async def test_what_befalls_a_host_is_folded_into_its_machine(self, store: RowStore) -> None:
        mine = await begun(store, 2)
        [machine] = [each.host.machine for each in await store.workers(mine.claim.run) if each.id == 1]
        assert health(store.reader, [machine]) == {}
        vitals: dict[str, Any] = {"took": 0.25, "skew": -3.5, "free": 1 << 40, "load": 0.5, "cpus": 8}
        await mine.turn(
            HostConnected(at=AT, worker=1, spool="s", boot="b", **vitals),
            HostStruck(at=AT + 9, worker=1, why="its runner died", fault=LOST),
        )
        expected = Health().answered(AT, **vitals).struck(AT + 9, LOST, "its runner died")
        assert health(store.reader, [machine, "another"]) == {machine: expected}
        assert (await store.batch_rows(mine.claim.run)).health == {machine: expected}
        await mine.turn(HostTrusted(at=AT + 10, worker=1))
        assert health(store.reader, [machine]) == {machine: expected.trusted()}
        [row] = machines(store.reader)
        assert (row.id, row.name, row.run, row.health.probation) == (machine, "web1", mine.claim.run, False)

    async def test_the_next_run_and_another_name_find_what_is_known_of_a_machine(
        self, store: RowStore
    ) -> None:
        mine = await begun(store, 1)
        await mine.turn(HostStruck(at=AT, worker=1, why="no route", fault="unreachable"))
        other = await writer(store, await accepted(store, 1, uid="b" * 32))
        [first] = [each.host for each in await store.workers(mine.claim.run) if each.id == 1]
        alias = Host(
            name="alias", address=first.address, port=first.port, user="someone", host_key=first.host_key
        )
        await store.add_workers(other.claim, [alias])
        known = (await store.batch_rows(other.claim.run)).health
        assert known[alias.machine].why == "no route"
        await other.turn(HostConnected(at=AT + 1, worker=1, spool="s", boot="b"))
        assert health(store.reader, [first.machine])[first.machine].probation is False

    async def test_one_given_up_for_its_own_fault_is_struck_and_one_given_up_at_a_stop_is_not(
        self, store: RowStore
    ) -> None:
        mine = await begun(store, 1)
        await mine.turn(
            HostLost(at=AT, worker=1, why="no key accepted", fault="unreachable"),
            HostLost(at=AT, worker=2, why="no route"),
        )
        assert [(row.name, row.health.strikes) for row in machines(store.reader)] == [("web1", 1.0)]

    async def test_a_machine_that_no_run_has_met_for_ninety_days_is_forgotten_when_a_run_ends(
        self, store: RowStore
    ) -> None:
        mine = await begun(store, 1)
        await mine.turn(HostStruck(at=AT, worker=1, why="no route", fault="unreachable"))
        await mine.turn(HostConnected(at=AT + 9, worker=2, spool="s", boot="b"))
        await mine.turn(RunFinished(at=AT + KEPT, state="finished", exit_code=0))
        assert [row.name for row in machines(store.reader)] == ["web1", "web2"]
        await mine.turn(RunFinished(at=AT + KEPT + 5, state="finished", exit_code=0))
        assert [row.name for row in machines(store.reader)] == ["web2"]

    async def test_machines_that_a_run_launched_are_forgotten_with_its_end_and_no_others(
        self, store: RowStore
    ) -> None:
        mine = await begun(store, 1)
        mark = "ssh-ed25519 AAAAlaunched"
        launched = Host(name="cloud", address="10.9.8.7", host_key=mark, instance="some provider's 1")
        await mine.store.add_workers(mine.claim, [launched])
        [worker] = [each.id for each in await store.workers(mine.claim.run) if each.host == launched]
        for each in (1, worker):
            await mine.turn(HostStruck(at=AT, worker=each, why="no route", fault="unreachable"))
        assert {row.name for row in machines(store.reader)} == {"web1", "cloud"}
        await mine.turn(RunFinished(at=AT + 5, state="stopped", exit_code=143))
        assert [row.name for row in machines(store.reader)] == ["web1"]

    async def test_a_host_that_lost_jobs_and_answers_has_no_trouble_and_one_that_refuses_has(
        self, store: RowStore
    ) -> None:
        mine = await begun(store, 1)
        await mine.turn(
            *(HostConnected(at=AT, worker=worker, spool=f"s{worker}", boot="b") for worker in (1, 2)),
            HostStruck(at=AT, worker=1, why="its runner died", fault=LOST),
            HostStruck(at=AT, worker=2, why="its disk is full", fault="refused"),
        )
        rows = worker_rows(store.reader, mine.claim.run)
        assert [(row.why, row.strikes) for row in rows] == [("", 1), ("its disk is full", 1)]
        await mine.turn(HostTrusted(at=AT, worker=2))
        assert [row.why for row in worker_rows(store.reader, mine.claim.run)] == ["", ""]

    async def test_a_retired_host_stays_so_until_the_run_is_taken_up_anew(self, store: RowStore) -> None:
        mine = await begun(store, 1)
        number = mine.claim.run
        await mine.turn(
            HostRetired(at=AT, worker=1, why="3 jobs in a row failed"), HostReleased(at=AT, worker=1)
        )
        first = worker_rows(store.reader, number)[0]
        assert (first.state, first.why) == ("retired", "3 jobs in a row failed")
        await mine.turn(RunStarted(at=AT, epoch=mine.claim.epoch, owner="me", options={}))
        assert worker_rows(store.reader, number)[0].state == "new"

    async def test_hosts_that_a_job_took_with_it_are_counted_until_it_is_let_out(
        self, store: RowStore
    ) -> None:
        mine = await begun(store, 2)
        number = mine.claim.run
        lost = ended(1, ending=Ending.LOST, then=JobState.QUEUED, elapsed=None)
        for n in (1, 2):
            await mine.turn(dispatched(1, n))
            await mine.turn(replace(lost, n=n, kills=n))
        assert (await waiting(store, number))[0] == Queued(1, (b"1",), 0, 2, 1, kills=2)
        await mine.turn(dispatched(1, 3))
        [open_] = (await store.batch_rows(number)).open
        assert open_.kills == 2
        quarantined = JobState.QUARANTINED
        await mine.turn(replace(lost, n=3, kills=3, then=quarantined))
        assert (await store.batch_rows(number)).counts[quarantined] == 1
        await mine.turn(JobsRequeued(at=AT, states=(int(quarantined),), count=1))
        assert (await waiting(store, number))[0] == Queued(1, (b"1",), 0, 3)

    async def test_a_waiting_job_tells_when_it_failed_and_not_when_its_host_did(
        self, store: RowStore
    ) -> None:
        mine = await begun(store, 2)
        await mine.turn(dispatched(1), dispatched(2))
        await mine.turn(failed(1, then=JobState.QUEUED), failed(2, then=JobState.QUEUED))
        first, second = await waiting(store, mine.claim.run)
        assert first.since is not None and second.since is not None
        await mine.turn(dispatched(2, 2))
        await mine.turn(ended(2, 2, ending=Ending.LOST, then=JobState.QUEUED, tries=1, elapsed=None))
        assert [each.since for each in await waiting(store, mine.claim.run)] == [first.since, None]
