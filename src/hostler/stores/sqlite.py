"""The store in one SQLite file, or in memory for tests.

Statements run on the event loop's thread, bulk by bulk: in another thread each row would fight for the interpreter's
lock. Only what waits for the disk runs beside it, in a thread of its own. It must never show part of a transaction,
and never say that something is on disk before it is.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from hostler.clock import Clock, SystemClock
from hostler.errors import RunBusy, UsageError
from hostler.model.events import JobsAccepted, RunAccepted
from hostler.model.hosts import Host
from hostler.model.jobs import JobState, Queued
from hostler.model.requests import Add, Request, Wish
from hostler.model.runs import BatchRows, BatchSpec, Worker
from hostler.ports import Turn
from hostler.stores.asking import stage_jobs, wish_to_json
from hostler.stores.enrolling import INSERT_WORKER, add_workers
from hostler.stores.facts import INSERT_EVENT, event_row
from hostler.stores.failures import from_sqlite
from hostler.stores.files import make_folder, sync_folder
from hostler.stores.opening import connect
from hostler.stores.ownership import PAUSE, TRIES, RunLock
from hostler.stores.packing import host_to_json, pack_args, spec_to_json
from hostler.stores.reading import Reader
from hostler.stores.reads.batch import batch_rows, queued, unknown_run, workers
from hostler.stores.reads.requests import standings, waiting
from hostler.stores.rows import write_turn

#: Name of the database within the state folder.
FILE = "store.db"

_CHUNK = 5_000
_BUSY_FOR = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Proof that a run is ours: its epoch stands in every turn, `seq` is the number of the run's last event.

    `last_seen` is a moment by which the owner before us had died, None when nobody knows.
    """

    run: int
    uid: str
    epoch: int
    seq: int
    last_seen: float | None = None


def open_store(folder: Path | None, *, clock: Clock | None = None) -> SqliteStore:
    """Open the store in a state folder, making it where there is none; None keeps it in memory.

    Raises StoreError, saying what to do.
    """
    return SqliteStore(folder, clock=clock or SystemClock())


def open_reader(folder: Path) -> Reader:
    """Open a state folder's store for reading only, beside whoever writes to it. Raises StoreError."""
    file = folder / FILE
    return Reader(connect(file, read_only=True), place=str(file), folder=folder)


class SqliteStore:
    """Runs, jobs, attempts and events of one state folder. One per process; any number of processes."""

    def __init__(self, folder: Path | None, *, clock: Clock) -> None:
        self.folder = folder
        self.place = str(folder / FILE) if folder else "the store in memory"
        self._clock = clock
        self._db = connect(folder / FILE if folder else None)
        # Waiting for other writers is done beside the loop, never on it.
        self._db.execute("PRAGMA busy_timeout = 0")
        #: Answers questions from the last commit, for the functions in `hostler.stores.reads`.
        self.reader = open_reader(folder) if folder else Reader(self._db, place=self.place)
        # An answer that somebody takes row by row holds its connection to one commit until it is taken whole; what the
        # engine asks must be of now.
        self._now = open_reader(folder) if folder else self.reader
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="store") if folder else None
        self._writing = asyncio.Lock()
        self._locks: dict[int, RunLock | None] = {}

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
        one by one. Raises UsageError when there are none; whatever `jobs` raises leaves nothing behind.
        """
        async with self._transaction() as db:
            run = db.execute(
                "INSERT INTO run (uid, kind, state, epoch, spec, command, created, seq, total, stopping) "
                "VALUES (?, 'batch', 'accepted', 0, ?, ?, ?, 2, 0, 0) RETURNING number",
                (uid, spec_to_json(spec), command, at),
            ).fetchone()[0]
            db.executemany(
                INSERT_WORKER,
                [
                    (run, id, host.name, host_to_json(host), token)
                    for id, (host, token) in enumerate(zip(hosts, tokens, strict=True), 1)
                ],
            )
            total = 0
            source = iter(jobs)
            while chunk := list(islice(source, _CHUNK)):
                db.executemany(
                    "INSERT INTO job (run, seq, key, args, state, tries, attempts) VALUES (?, ?, ?, ?, 0, 0, 0)",
                    [
                        (run, seq, bytearray(key), pack_args(args))
                        for seq, (args, key) in enumerate(chunk, total + 1)
                    ],
                )
                total += len(chunk)
                if self._disk:
                    # Let the rest of the program live. In memory others would see what isn't accepted yet.
                    await asyncio.sleep(0)
            if not total:
                raise UsageError("no jobs: give one a line on stdin, after :::, or with --jobs FILE")
            db.execute("UPDATE run SET total = ? WHERE number = ?", (total, run))
            accepted = RunAccepted(at=at, uid=uid, kind="batch", command=command)
            db.executemany(
                INSERT_EVENT,
                [
                    event_row(run, 1, accepted),
                    event_row(run, 2, JobsAccepted(at=at, first=1, last=total)),
                ],
            )
        return int(run)

    async def commit(self, turn: Turn, *, before: Callable[[], None] | None = None) -> None:
        """Write a turn, durably, whole or not at all.

        `before` is run off the loop's thread right before the commit: syncing output that the turn names, say.
        Raises StaleEpoch when the run has a newer owner, StoreFull when the same turn may be written later, StoreError.
        """
        async with self._transaction(before) as db:
            write_turn(db, turn)

    async def claim(self, run: int, *, owner: str, at: float) -> Claim:
        """Make this process the run's one writer, under a new epoch, until `release` or its end.

        `owner` says for people who it is (process, machine). Raises RunBusy while another one lives, UsageError for
        an unknown run.
        """
        row = self.reader.one("SELECT 1 FROM run WHERE number = ?", run)
        if row is None:
            raise unknown_run(self.reader, run)
        lock = await self._lock(run)
        try:
            async with self._transaction() as db:
                uid, epoch, seq = db.execute(
                    "UPDATE run SET epoch = epoch + 1, owner = ? WHERE number = ? RETURNING uid, epoch, seq",
                    (owner, run),
                ).fetchone()
        except BaseException:
            if lock:
                lock.drop()
            raise
        self._locks[run] = lock
        return Claim(run=run, uid=uid, epoch=epoch, seq=seq, last_seen=lock.last_seen if lock else None)

    def beat(self, claim: Claim) -> None:
        """Leave a sign of life in a run that is ours, for whoever takes it up when we have died."""
        if lock := self._locks.get(claim.run):
            with suppress(OSError):
                lock.beat()

    async def release(self, claim: Claim) -> None:
        """Let the run go, so that another process may claim it."""
        async with self._transaction() as db:
            db.execute("UPDATE run SET owner = NULL WHERE number = ? AND epoch = ?", (claim.run, claim.epoch))
        if lock := self._locks.pop(claim.run, None):
            lock.drop()

    async def add_workers(self, claim: Claim, hosts: Sequence[Host]) -> None:
        """Enrol more hosts in a run that is ours. One of a name that is enrolled keeps its number and token.

        Nobody is put out: a worker may hold attempts that only it can answer for. Raises StaleEpoch.
        """
        async with self._transaction() as db:
            add_workers(db, claim.run, claim.epoch, hosts)

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
        async with self._transaction() as db:
            (request,) = db.execute(
                "INSERT INTO request (run, at, who, kind, args, done, words) VALUES (?, ?, ?, ?, ?, 0, '') "
                "RETURNING id",
                (run, at, who, wish.kind, wish_to_json(wish)),
            ).fetchone()
            if isinstance(wish, Add):
                there = 0
                for some in stage_jobs(db, request, jobs):
                    there += some
                    if self._disk:
                        await asyncio.sleep(0)
                text = wish_to_json(replace(wish, jobs=there))
                db.execute("UPDATE request SET args = ? WHERE id = ?", (text, request))
        return int(request)

    async def requests(self, run: int) -> list[Request]:
        """The requests that wait for an answer, in the order in which they were made."""
        return waiting(self._now, run)

    async def standings(self, run: int, jobs: Sequence[int]) -> dict[int, JobState]:
        """The states of these jobs; one that the run doesn't have is left out."""
        return standings(self._now, run, jobs)

    async def workers(self, run: int) -> list[Worker]:
        """The hosts enrolled in a run, in order of their ids."""
        return workers(self._now, run)

    def version(self) -> int:
        """A number that changes whenever something was committed: a cheap look before a dear one."""
        return self._now.version() if self.folder else self._db.total_changes

    async def batch_rows(self, run: int) -> BatchRows:
        """All that the engine needs of a run. Raises UsageError for an unknown one."""
        return batch_rows(self._now, run)

    async def queued(self, run: int, *, after: tuple[int, int], limit: int) -> list[Queued]:
        """Waiting jobs in order of (tries, job number) after that pair, at most `limit`."""
        return queued(self._now, run, after=after, limit=limit)

    def run_folder(self, run: int) -> Path | None:
        """The run's own folder, made if need be; None for a store in memory."""
        if self.folder is None:
            return None
        path = self.folder / "runs" / str(run)
        if not path.exists():
            make_folder(path)
            sync_folder(path.parent)
            sync_folder(self.folder)
        return path

    async def close(self) -> None:
        """Let go of every run and of the database."""
        async with self._writing:
            for lock in self._locks.values():
                if lock:
                    lock.drop()
            self._locks.clear()
            self._now.close()
            self.reader.close()
            self._db.close()
            if self._disk:
                self._disk.shutdown()

    async def _lock(self, run: int) -> RunLock | None:
        folder = self.run_folder(run)
        if folder is None:
            if run in self._locks:
                raise RunBusy(run, self._owner(run))
            return None
        lock = RunLock(folder)
        for _ in range(TRIES):
            if lock.take():
                return lock
            await self._clock.sleep(PAUSE)
        raise RunBusy(run, self._owner(run))

    def _owner(self, run: int) -> str:
        row = self.reader.one("SELECT owner FROM run WHERE number = ?", run)
        return (row and row[0]) or "another process"

    @asynccontextmanager
    async def _transaction(
        self, before: Callable[[], None] | None = None
    ) -> AsyncIterator[sqlite3.Connection]:
        """One write transaction: committed at the block's end, rolled back by any exception."""
        async with self._writing:
            db = self._db
            try:
                await self._begin()
                yield db
                await self._beside(partial(self._commit, before))
            except sqlite3.Error as error:
                self._roll_back()
                raise from_sqlite(error, place=self.place) from error
            except BaseException:
                self._roll_back()
                raise

    async def _begin(self) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            await self._beside(self._wait_and_begin)

    def _wait_and_begin(self) -> None:
        self._db.execute(f"PRAGMA busy_timeout = {int(_BUSY_FOR * 1000)}")
        try:
            self._db.execute("BEGIN IMMEDIATE")
        finally:
            self._db.execute("PRAGMA busy_timeout = 0")

    def _commit(self, before: Callable[[], None] | None) -> None:
        if before:
            before()
        self._db.execute("COMMIT")

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    async def _beside(self, work: Callable[[], None]) -> None:
        """Do what may wait, in the disk's thread. A cancelled caller leaves only once that is done."""
        if self._disk is None:
            work()
            return
        done = asyncio.get_running_loop().run_in_executor(self._disk, work)
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError:
            while not done.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([done])
            if not done.cancelled() and done.exception() is None:
                raise
            self._roll_back()
            raise
