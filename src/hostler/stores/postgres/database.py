"""The store's database on a PostgreSQL server: one session writes, and by it the runs are owned.

A session that ends, however it ends, loses its locks; who is cut off from the server makes another session and takes
them again before it writes anything. It must never do so where somebody else has become the owner meanwhile, and never
wait for the server on the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import psycopg

from hostler.clock import Clock, SystemClock
from hostler.errors import StaleEpoch, StoreError, StoreFull, Unheard
from hostler.model.storeurls import StoreUrl
from hostler.stores.beside import beside
from hostler.stores.database import Db, Hold
from hostler.stores.ownership import BEAT
from hostler.stores.postgres.connecting import PATIENCE, Connection, Statements, connect
from hostler.stores.postgres.failures import from_postgres, naming
from hostler.stores.postgres.opening import bring_up
from hostler.stores.postgres.reading import PostgresReader
from hostler.stores.reading import Reader
from hostler.stores.store import RowStore

P = ParamSpec("P")
T = TypeVar("T")

#: Rows put into a table at once of which the server's planner is told before it works with them.
MANY = 1_000
_SEEN = "UPDATE run SET seen = extract(epoch FROM clock_timestamp()) WHERE number = %s"


def open_store(url: StoreUrl, folder: Path, *, clock: Clock | None = None) -> RowStore:
    """Open the store at `url`, making it where there is none; output goes to the state folder `folder`.

    Raises StoreError, saying what to do.
    """
    clock = clock or SystemClock()
    return RowStore(PostgresDatabase(url, folder, clock=clock), clock=clock)


class PostgresDatabase:
    """One process's sessions at the server."""

    def __init__(self, url: StoreUrl, folder: Path, *, clock: Clock) -> None:
        self.place = url.shown
        self.folder: Path | None = folder
        self._url, self._clock = url, clock
        with naming(self.place):
            self._db = connect(url)
            try:
                self._found = bring_up(url, self._db)
            except BaseException:
                self._db.close()
                raise
        self.reader: Reader = PostgresReader(url, self._found, folder=folder)
        self._now = PostgresReader(url, self._found, folder=folder)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._asker = ThreadPoolExecutor(1, thread_name_prefix="store-asks")
        self._writing = asyncio.Lock()
        self._holds: dict[int, SessionLock] = {}
        self._filled: dict[str, int] = {}
        self._version = 0
        self._looking: Future[None] | None = None

    @asynccontextmanager
    async def transaction(self, before: Callable[[], None] | None = None) -> AsyncIterator[Db]:
        """One write transaction: committed at the block's end, rolled back by any exception."""
        async with self._writing:
            self._filled.clear()
            try:
                await beside(self._writer, self._begin)
                yield Statements(self._db)
                await beside(self._writer, partial(self._commit, before))
            except psycopg.Error as error:
                await beside(self._writer, self._roll_back)
                raise from_postgres(error, place=self.place) from error
            except BaseException:
                await beside(self._writer, self._roll_back)
                raise

    async def change(self, work: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        """Do statements of the open transaction."""
        return await beside(self._writer, partial(work, *args, **more))

    async def ask(self, question: Callable[..., T], *args: Any, **more: Any) -> T:
        """Answer a question, called with a Reader and the rest, from what is committed now."""
        return await beside(self._asker, partial(question, self._now, *args, **more))

    async def insert(self, db: Db, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Add many rows within the open transaction."""
        assert isinstance(db, Statements)
        await beside(self._writer, partial(db.copy, table, columns, rows))
        self._filled[table] = self._filled.get(table, 0) + len(rows)

    async def hold(self, run: int) -> Hold | None:
        """Take the lock of a run; None while somebody else has it."""
        async with self._writing:
            had = run in self._holds
            try:
                with naming(self.place):
                    return await beside(self._writer, partial(self._in_session, partial(self._hold, run)))
            except asyncio.CancelledError:
                if not had and (hold := self._holds.get(run)):
                    hold.drop()
                raise

    def version(self) -> int:
        """A number that changes when something was committed: that of the last look, and another look is begun."""
        if self._looking is None or self._looking.done():
            self._looking = self._asker.submit(self._look)
        return self._version

    async def close(self) -> None:
        """Let go of the database."""
        async with self._writing:
            self._asker.shutdown()
            self._writer.shutdown()
            self._now.close()
            self.reader.close()
            self._db.close()

    # -- in the writer's thread -------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._in_session(lambda: self._db.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"))

    def _in_session(self, work: Callable[[], T]) -> T:
        """Do what needs nothing of before; once more in another session where the one there was has ended."""
        if not self._db.closed:
            try:
                return work()
            except psycopg.OperationalError:
                if not self._db.closed:
                    raise
        self._reconnect()
        return work()

    def _commit(self, before: Callable[[], None] | None) -> None:
        for table, count in self._filled.items():
            if count >= MANY:
                # The server would know of them a minute later: until then it might look for each job in all.
                self._db.execute(f"ANALYZE {table}".encode(), prepare=False)
        if before:
            before()
        try:
            self._db.execute("COMMIT")
        except psycopg.OperationalError as error:
            if self._db.closed:
                raise Unheard(str(from_postgres(error, place=self.place))) from error
            raise

    def _roll_back(self) -> None:
        with suppress(psycopg.Error):
            if self._db.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                self._db.execute("ROLLBACK")

    def _reconnect(self) -> None:
        """Another session, by which every run that is ours is ours again; or none. Raises StoreFull, StaleEpoch."""
        fresh = connect(self._url)
        try:
            for run, hold in self._holds.items():
                if self._locked(fresh, run):
                    continue
                row = fresh.execute("SELECT epoch FROM run WHERE number = %s", (run,)).fetchone()
                if row is None or row[0] != hold.epoch:
                    raise StaleEpoch(f"run {run} was taken over while its database could not be reached")
                # Our own session of before: the server has not noticed its end yet.
                raise StoreFull(f"{self.place}: run {run} is locked by a session that has not ended yet")
        except BaseException:
            fresh.close()
            raise
        self._db = fresh

    def _locked(self, connection: Connection, run: int) -> bool:
        row = connection.execute(
            "SELECT pg_try_advisory_lock(CAST(%s AS int), CAST(%s AS int))", (self._found.lock, run)
        ).fetchone()
        return bool(row and row[0])

    def _hold(self, run: int) -> SessionLock | None:
        # A session may take its own locks again.
        if run in self._holds or not self._locked(self._db, run):
            return None
        row = self._db.execute(
            "SELECT epoch, extract(epoch FROM clock_timestamp()) - seen FROM run WHERE number = %s", (run,)
        ).fetchone()
        self._db.execute(_SEEN, (run,))
        epoch, age = row or (0, None)
        now = self._clock.now()
        last_seen = None if age is None else min(now, now - float(age) + BEAT)
        # Whoever takes the lock raises the epoch by one.
        hold = self._holds[run] = SessionLock(self, run, epoch=epoch + 1, last_seen=last_seen)
        return hold

    def _let_go(self, run: int) -> None:
        with suppress(psycopg.Error):
            self._db.execute(
                "SELECT pg_advisory_unlock(CAST(%s AS int), CAST(%s AS int))", (self._found.lock, run)
            )

    def _see(self, run: int) -> None:
        with suppress(psycopg.Error):
            self._db.execute(_SEEN, (run,))

    # -- in the asker's thread --------------------------------------------------------------------------------

    def _look(self) -> None:
        with suppress(StoreError):  # the next look tells
            self._version = self._now.version()


class SessionLock:
    """The lock of one run, held as long as the session that writes lives."""

    def __init__(self, database: PostgresDatabase, run: int, *, epoch: int, last_seen: float | None) -> None:
        self._database, self._run = database, run
        self.epoch, self.last_seen = epoch, last_seen

    def beat(self) -> None:
        """Leave a sign of life for the next owner; nobody waits for it."""
        self._database._writer.submit(self._database._see, self._run)

    def drop(self) -> None:
        """Let go of the lock."""
        database = self._database
        if database._holds.pop(self._run, None) is self:
            with suppress(TimeoutError):
                database._writer.submit(database._let_go, self._run).result(PATIENCE)
