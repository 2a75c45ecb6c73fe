"""Runs as a controller would have left them, written through the real store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hostler.model.events import (
    AttemptDispatched,
    AttemptEnded,
    AttemptStarted,
    Event,
    HostConnected,
    HostLost,
    RunFinished,
    RunStarted,
)
from hostler.model.hosts import Host
from hostler.model.jobs import STATE_AFTER, Ending, JobState
from hostler.model.runs import BatchSpec
from hostler.model.templates import Template
from hostler.ports import Turn
from hostler.stores.outputs import RunOutputs
from hostler.stores.sqlite import open_store
from hostler.stores.store import Claim, RowStore

#: When stories begin: 2026-01-02 03:04:05 UTC.
BEGIN = 1767323045.0


class Story:
    """One run, told event by event. Time passes as the teller says."""

    def __init__(self, store: RowStore, claim: Claim, outputs: RunOutputs) -> None:
        self.store, self.claim, self.outputs = store, claim, outputs
        self.seq, self.now = claim.seq, BEGIN
        self.serial = 0

    @property
    def number(self) -> int:
        return self.claim.run

    @staticmethod
    async def begin(
        state: Path,
        *,
        jobs: Sequence[Any] = ("a",),
        hosts: Sequence[str] = ("n1",),
        command: Sequence[str] = ("echo", "{}"),
        **spec: Any,
    ) -> Story:
        """A run that was accepted and taken up at BEGIN."""
        store = open_store(state)
        template = Template.parse(command)
        words = [(word if isinstance(word, bytes) else str(word).encode(),) for word in jobs]
        number = await store.create_batch(
            uid=f"{len(list(state.glob('runs/*'))):032x}",
            spec=BatchSpec(template=template.to_json(), **spec),
            command=" ".join(command),
            hosts=[Host(name=name, address=name) for name in hosts],
            tokens=[f"{n:016x}" for n in range(len(hosts))],
            jobs=((args, template.key(args)) for args in words),
            at=BEGIN,
        )
        claim = await store.claim(number, owner="ann@laptop (pid 7)", at=BEGIN)
        folder = store.run_folder(number)
        assert folder is not None
        story = Story(store, claim, RunOutputs(folder, epoch=claim.epoch))
        await story.tell(RunStarted(at=BEGIN, epoch=claim.epoch, owner="ann@laptop (pid 7)", options={}))
        connected = [HostConnected(at=BEGIN, worker=n, spool="s", boot="b") for n in range(1, len(hosts) + 1)]
        await story.tell(*connected)
        return story

    async def tell(self, *events: Event) -> None:
        """Commit events in one turn."""
        self.outputs.sync()
        turn = Turn(run=self.number, epoch=self.claim.epoch, seq=self.seq + 1, events=events)
        await self.store.commit(turn)
        self.seq += len(events)

    async def start(self, job: int, *, n: int = 1, worker: int = 1) -> None:
        """An attempt is sent, and starts."""
        self.serial += 1
        await self.tell(
            AttemptDispatched(at=self.now, job=job, n=n, worker=worker, serial=self.serial),
            AttemptStarted(at=self.now, job=job, n=n),
        )

    async def end(
        self,
        job: int,
        ending: Ending = Ending.OK,
        *,
        n: int = 1,
        seconds: float | None = 1.0,
        out: bytes = b"",
        err: bytes = b"",
        then: JobState | None = None,
        own_file: bool = False,
        **more: Any,
    ) -> None:
        """An attempt ends after `seconds`, having written `out` and `err`, or what its own file holds."""
        self.now += seconds or 0.0
        state = STATE_AFTER[ending] if then is None else then
        await self.tell(
            AttemptEnded(
                at=self.now,
                job=job,
                n=n,
                ending=ending,
                then=state,
                tries=0 if ending is Ending.OK else 1,
                elapsed=seconds,
                output=self.outputs.finish(job, n) if own_file else self.outputs.whole(out, err),
                **more,
            )
        )

    async def whole(self, job: int, ending: Ending = Ending.OK, *, worker: int = 1, **more: Any) -> None:
        """An attempt from its start to its end."""
        await self.start(job, n=more.get("n", 1), worker=worker)
        await self.end(job, ending, **more)

    async def lose(self, worker: int, why: str) -> None:
        """A host is given up."""
        await self.tell(HostLost(at=self.now, worker=worker, why=why))

    async def finish(self, *, state: str = "finished", exit_code: int = 0) -> None:
        """The run ends, and its controller leaves."""
        await self.tell(RunFinished(at=self.now, state=state, exit_code=exit_code))
        await self.leave()

    async def leave(self) -> None:
        """The controller leaves, whatever state the run is in."""
        self.outputs.close()
        await self.store.release(self.claim)
        await self.store.close()
