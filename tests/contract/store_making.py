"""Batches, owners and events for the tests of stores. Not pytest's: other processes are made of this too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hostler.model.events import AttemptDispatched, AttemptEnded, AttemptStarted, Event
from hostler.model.hosts import Host
from hostler.model.jobs import Ending, JobState, OutputRef, Queued
from hostler.model.runs import BatchSpec
from hostler.ports import Turn
from hostler.stores.store import Claim, RowStore

HOSTS = (
    Host(name="web1", address="10.0.0.1", user="deploy", port=2222, tags=frozenset({"web", "eu"}), slots=4),
    Host(
        name="web2", address="::1", vars=(("spool", "/var/spool/x"), ("shell", "/bin/sh")), host_key="ssh-x A"
    ),
)
SPEC = BatchSpec(template={"words": ["echo", "{}"]}, slots=3, timeout=1.5, retries=2, lease=60.0)
KEY = bytes(range(32))
AT = 1_700_000_000.25


def number_jobs(count: int) -> Iterator[tuple[tuple[bytes, ...], bytes]]:
    """Jobs whose one argument is their number."""
    for number in range(1, count + 1):
        yield (b"%d" % number,), KEY


async def accepted(
    store: RowStore,
    jobs: int | Iterable[tuple[tuple[bytes, ...], bytes]] = 4,
    *,
    uid: str = "a" * 32,
    hosts: Sequence[Host] = HOSTS,
    command: str = "hostler batch -- echo",
    spec: BatchSpec = SPEC,
) -> int:
    """A batch in the store; its number."""
    return await store.create_batch(
        uid=uid,
        spec=spec,
        command=command,
        hosts=hosts,
        tokens=[f"{index:016x}" for index, _ in enumerate(hosts)],
        jobs=number_jobs(jobs) if isinstance(jobs, int) else jobs,
        at=AT,
    )


@dataclass
class Writer:
    """The owner of a run, who numbers its turns."""

    store: RowStore
    claim: Claim
    seq: int

    async def turn(self, *events: Event) -> None:
        """Commit the next turn."""
        await self.store.commit(
            Turn(run=self.claim.run, epoch=self.claim.epoch, seq=self.seq + 1, events=events)
        )
        self.seq += len(events)


async def writer(store: RowStore, number: int, *, owner: str = "me (pid 1)") -> Writer:
    """Claim a run."""
    claim = await store.claim(number, owner=owner, at=AT)
    return Writer(store, claim, claim.seq)


async def begun(store: RowStore, jobs: int = 4, *, uid: str = "a" * 32) -> Writer:
    """A batch, claimed."""
    return await writer(store, await accepted(store, jobs, uid=uid))


def dispatched(job: int, n: int = 1, *, worker: int = 1, serial: int | None = None) -> AttemptDispatched:
    """An attempt on its way."""
    return AttemptDispatched(at=AT + job, job=job, n=n, worker=worker, serial=serial or job * 10 + n)


def started(job: int, n: int = 1) -> AttemptStarted:
    """An attempt at work."""
    return AttemptStarted(at=AT + job + 0.5, job=job, n=n)


def ended(
    job: int,
    n: int = 1,
    *,
    ending: Ending = Ending.OK,
    then: JobState = JobState.OK,
    tries: int = 0,
    elapsed: float | None = 0.5,
    output: OutputRef | None = None,
    detail: str = "",
) -> AttemptEnded:
    """An attempt's end."""
    code = {Ending.OK: 0, Ending.EXIT: 3}.get(ending)
    return AttemptEnded(
        at=AT + job + 1,
        job=job,
        n=n,
        ending=ending,
        then=then,
        tries=tries,
        code=code,
        elapsed=elapsed,
        output=output,
        detail=detail,
    )


def failed(job: int, n: int = 1, *, then: JobState = JobState.FAILED, tries: int = 1) -> AttemptEnded:
    """An attempt that ended with exit code 3."""
    return ended(job, n, ending=Ending.EXIT, then=then, tries=tries)


def revoked(job: int, n: int = 1, *, detail: str = "") -> AttemptEnded:
    """An attempt that was taken back."""
    return ended(job, n, ending=Ending.REVOKED, then=JobState.QUEUED, elapsed=None, detail=detail)


async def waiting(store: RowStore, number: int) -> list[Queued]:
    """Every job that waits."""
    return await store.queued(number, after=(0, 0), limit=1000)


async def counts(store: RowStore, number: int) -> dict[str, int]:
    """Jobs by state, without the states that don't occur."""
    rows = await store.batch_rows(number)
    return {state.word: count for state, count in rows.counts.items() if count}
