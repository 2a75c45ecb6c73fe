"""The store: what is kept of runs, and how it changes; whatever database that is in.

It must never show part of a transaction, and never say that something is kept before it is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from hostler.clock import Clock
from hostler.errors import RunBusy, StoreError, Unheard, UsageError
from hostler.model.events import JobsAccepted, RunAccepted
from hostler.model.hosts import Host
from hostler.model.jobs import JobState, Queued
from hostler.model.requests import Add, Request, Wish
from hostler.model.runs import BatchRows, BatchSpec, Worker
from hostler.ports import Turn
from hostler.stores.asking import ask_again, ask_for
from hostler.stores.database import Database, Db, Hold
from hostler.stores.enrolling import INSERT_WORKER, add_workers
from hostler.stores.facts import INSERT_EVENT, event_row
from hostler.stores.files import make_folder, sync_folder
from hostler.stores.ownership import PAUSE, TRIES
from hostler.stores.packing import host_to_json, pack_args, spec_to_json
from hostler.stores.reads.batch import batch_rows, queued, unknown_run, workers
from hostler.stores.reads.requests import standings, waiting
from hostler.stores.rows import has_turn, write_turn
from hostler.stores.unheard import PATIENCE, look_for

_CHUNK = 5_000
_JOB = ("run", "seq", "key", "args", "state", "tries", "attempts")
#: The same of a job that is pinned to a worker.
_PINNED = (*_JOB, "worker")
_REQUEST_JOB = ("request", "seq", "key", "args")


class Claim(Struct, frozen=True, kw_only=True):
    """Proof that a run is ours: its epoch stands in every turn, `seq` is the number of the run's last event.

    `last_seen` is a moment by which the owner before us had died, None when nobody knows.
    """

    run: int
    uid: str
    epoch: int
    seq: int
    last_seen: float | None = None


class RowStore:
    """Runs, jobs, attempts and events as rows. One per process; any number of processes on one database."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._db, self._clock = database, clock
        self.folder, self.place = database.folder, database.place
        #: Answers questions from the last commit, for the functions in `hostler.stores.reads`.
        self.reader = database.reader
        self._holds: dict[int, Hold] = {}
        # The turn whose writing broke off: whether its commit was heard is not known.
        self._unsure: Turn | None = None

    async def create_batch(
        self,
        *,
        uid: str,
        spec: BatchSpec,
        command: str,
        hosts: Sequence[Host],
        tokens: Sequence[str],
        jobs: Iterable[tuple[tuple[bytes, ...], bytes]],
        at: float,
    ) -> int:
        """Accept a batch whole and durably, and return its number.

        `uid` is 128 random bits in hex, `tokens` one of 64 per host, `jobs` pairs of arguments and content key, taken
        one by one; in a fan-out each is pinned to the host of its number. Raises UsageError when there are none;
        whatever `jobs` raises leaves nothing behind. A StoreError says whether nothing was accepted or nobody knows.
        """
        try:
            return await self._accept(uid, spec, command, hosts, tokens, jobs, at)
        except Unheard as error:
            return await look_for(self._db, uid, clock=self._clock, error=error, patience=PATIENCE)
        except StoreError as error:
            raise type(error)(f"{error}; no batch was accepted") from error

    async def _accept(
        self, uid: str, spec: BatchSpec, command: str, hosts: Sequence[Host], tokens: Sequence[str],
        jobs: Iterable[tuple[tuple[bytes, ...], bytes]], at: float,
    ) -> int:  # fmt: skip
        async with self._db.transaction() as db:
            run = await self._db.change(_begin_batch, db, uid, spec, command, hosts, tokens, at)
            total, source, names = 0, iter(jobs), _PINNED if spec.fanout else _JOB
            while chunk := list(islice(source, _CHUNK)):
                rows: list[tuple[Any, ...]] = [
                    (run, seq, bytearray(key), pack_args(args), 0, 0, 0)
                    for seq, (args, key) in enumerate(chunk, total + 1)
                ]
                if spec.fanout:
                    rows = [(*row, row[1]) for row in rows]
                await self._db.insert(db, "job", names, rows)
                total += len(chunk)
            if not total:
                raise UsageError("no jobs: give one a line on stdin, after :::, or with --jobs FILE")
            accepted = RunAccepted(at=at, uid=uid, kind=spec.kind, command=command)
            await self._db.change(_end_batch, db, run, accepted, JobsAccepted(at=at, first=1, last=total))
        return run

    async def commit(self, turn: Turn, *, before: Callable[[], None] | None = None) -> None:
        """Write a turn, durably, whole or not at all.

        `before` is run off the loop's thread right before the commit: syncing output that the turn names, say.
        Raises StaleEpoch when the run has a newer owner, StoreFull when the same turn may be written later, StoreError.
        """
        if turn is self._unsure and await self._db.ask(has_turn, turn):
            self._unsure = None
            return
        self._unsure = turn
        async with self._db.transaction(before) as db:
            await self._db.change(write_turn, db, turn)
        self._unsure = None

    async def claim(self, run: int, *, owner: str, at: float) -> Claim:
        """Make this process the run's one writer, under a new epoch, until `release` or its end.

        `owner` says for people who it is (process, machine). Raises RunBusy while another one lives, UsageError for
        an unknown run.
        """
        row = self.reader.one("SELECT 1 FROM run WHERE number = ?", run)
        if row is None:
            raise unknown_run(self.reader, run)
        hold = await self._take(run)
        try:
            async with self._db.transaction() as db:
                uid, epoch, seq = await self._db.change(_raise_epoch, db, run, owner)
        except BaseException:
            hold.drop()
            raise
        self._holds[run] = hold
        return Claim(run=run, uid=uid, epoch=epoch, seq=seq, last_seen=hold.last_seen)

    def beat(self, claim: Claim) -> None:
        """Leave a sign of life in a run that is ours, for whoever takes it up when we have died."""
        if hold := self._holds.get(claim.run):
            with suppress(OSError, StoreError):
                hold.beat()

    async def release(self, claim: Claim) -> None:
        """Let the run go, so that another process may claim it."""
        try:
            async with self._db.transaction() as db:
                await self._db.change(_disown, db, claim)
        finally:
            if hold := self._holds.pop(claim.run, None):
                hold.drop()

    async def add_workers(self, claim: Claim, hosts: Sequence[Host]) -> None:
        """Enrol more hosts in a run that is ours. One of a name that is enrolled keeps its number and token.

        Nobody is put out: a worker may hold attempts that only it can answer for. Raises StaleEpoch.
        """
        async with self._db.transaction() as db:
            await self._db.change(add_workers, db, claim.run, claim.epoch, hosts)

    async def make_request(
        self,
        run: int,
        wish: Wish,
        *,
        who: str,
        at: float,
        jobs: Iterable[tuple[tuple[bytes, ...], bytes]] = (),
    ) -> int:
        """Put down, durably, what this process wants of a run, and return the request's number.

        `who` says for people who asks; `jobs` are those of an Add, pairs of arguments and content key, taken one by
        one. Raises UsageError for an unknown run; whatever `jobs` raises leaves nothing behind.
        """
        if self.reader.one("SELECT 1 FROM run WHERE number = ?", run) is None:
            raise unknown_run(self.reader, run)
        async with self._db.transaction() as db:
            request = await self._db.change(ask_for, db, run, wish, who, at)
            if isinstance(wish, Add):
                there, source = 0, iter(jobs)
                while chunk := list(islice(source, _CHUNK)):
                    rows = [
                        (request, seq, bytearray(key), pack_args(args))
                        for seq, (args, key) in enumerate(chunk, there + 1)
                    ]
                    await self._db.insert(db, "request_job", _REQUEST_JOB, rows)
                    there += len(chunk)
                await self._db.change(ask_again, db, request, replace(wish, jobs=there))
        return request

    async def requests(self, run: int) -> list[Request]:
        """The requests that wait for an answer, in the order in which they were made."""
        return await self._db.ask(waiting, run)

    async def standings(self, run: int, jobs: Sequence[int]) -> dict[int, JobState]:
        """The states of these jobs; one that the run doesn't have is left out."""
        return await self._db.ask(standings, run, jobs)

    async def workers(self, run: int) -> list[Worker]:
        """The hosts enrolled in a run, in order of their ids."""
        return await self._db.ask(workers, run)

    def version(self) -> int:
        """A number that changes whenever something was committed: a cheap look before a dear one."""
        return self._db.version()

    async def batch_rows(self, run: int) -> BatchRows:
        """All that the engine needs of a run. Raises UsageError for an unknown one."""
        return await self._db.ask(batch_rows, run)

    async def queued(self, run: int, *, after: tuple[int, int], limit: int) -> list[Queued]:
        """Waiting jobs in order of (tries, job number) after that pair, at most `limit`."""
        return await self._db.ask(queued, run, after=after, limit=limit)

    def run_folder(self, run: int) -> Path | None:
        """The run's own folder on this machine, made if need be; None for a store in memory."""
        path = self.reader.run_folder(run)
        if path is not None and not path.exists():
            make_folder(path)
            sync_folder(path.parent)
            sync_folder(path.parent.parent)
        return path

    async def close(self) -> None:
        """Let go of every run and of the database."""
        for hold in self._holds.values():
            hold.drop()
        self._holds.clear()
        await self._db.close()

    async def _take(self, run: int) -> Hold:
        self.run_folder(run)
        for _ in range(TRIES):
            if hold := await self._db.hold(run):
                return hold
            await self._clock.sleep(PAUSE)
        row = self.reader.one("SELECT owner FROM run WHERE number = ?", run)
        raise RunBusy(run, (row and row[0]) or "another process")


def _begin_batch(
    db: Db, uid: str, spec: BatchSpec, command: str, hosts: Sequence[Host], tokens: Sequence[str], at: float
) -> int:
    (run,) = db.execute(
        "INSERT INTO run (uid, kind, state, epoch, spec, command, created, seq, total, stopping) "
        "VALUES (?, ?, 'accepted', 0, ?, ?, ?, 2, 0, 0) RETURNING number",
        (uid, spec.kind, spec_to_json(spec), command, at),
    ).fetchone()
    db.executemany(
        INSERT_WORKER,
        [
            (run, id, host.name, host_to_json(host), token)
            for id, (host, token) in enumerate(zip(hosts, tokens, strict=True), 1)
        ],
    )
    return int(run)


def _end_batch(db: Db, run: int, accepted: RunAccepted, jobs: JobsAccepted) -> None:
    db.execute("UPDATE run SET total = ? WHERE number = ?", (jobs.last, run))
    db.executemany(INSERT_EVENT, [event_row(run, 1, accepted), event_row(run, 2, jobs)])


def _raise_epoch(db: Db, run: int, owner: str) -> tuple[str, int, int]:
    uid, epoch, seq = db.execute(
        "UPDATE run SET epoch = epoch + 1, owner = ? WHERE number = ? RETURNING uid, epoch, seq", (owner, run)
    ).fetchone()
    return uid, epoch, seq


def _disown(db: Db, claim: Claim) -> None:
    db.execute("UPDATE run SET owner = NULL WHERE number = ? AND epoch = ?", (claim.run, claim.epoch))
