"""The store in one SQLite file, or in memory for tests.

Statements run on the event loop's thread, bulk by bulk: in another thread each row would fight for the interpreter's
lock. Only what waits for the disk runs beside it, in a thread of its own.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from hostler.clock import Clock, SystemClock
from hostler.errors import StoreError
from hostler.stores.beside import beside
from hostler.stores.database import Db, Hold
from hostler.stores.failures import from_sqlite
from hostler.stores.opening import connect
from hostler.stores.ownership import RunLock
from hostler.stores.reading import Reader
from hostler.stores.sqlite_reading import FILE, SqliteReader, open_reader
from hostler.stores.store import RowStore

P = ParamSpec("P")
T = TypeVar("T")

_BUSY_FOR = 10.0


def open_store(folder: Path | None, *, clock: Clock | None = None) -> RowStore:
    """Open the store in a state folder, making it where there is none; None keeps it in memory.

    Raises StoreError, saying what to do.
    """
    return RowStore(SqliteDatabase(folder), clock=clock or SystemClock())


class SqliteDatabase:
    """The SQLite file of a state folder, or one in memory."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.place = str(folder / FILE) if folder else "the store in memory"
        self._file = folder / FILE if folder else None
        self._db = connect(self._file)
        self._opened = _identity(self._file) if self._file else None
        # Waiting for other writers is done beside the loop, never on it.
        self._db.execute("PRAGMA busy_timeout = 0")
        self.reader: Reader = open_reader(folder) if folder else SqliteReader(self._db, place=self.place)
        # An answer that somebody takes row by row holds its connection to one commit until it is taken whole; what the
        # engine asks must be of now.
        self._now = open_reader(folder) if folder else self.reader
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="store") if folder else None
        self._writing = asyncio.Lock()
        self._held: set[int] = set()

    async def change(self, work: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        """Do statements of the open transaction."""
        return work(*args, **more)

    async def ask(self, question: Callable[..., T], *args: Any, **more: Any) -> T:
        """Answer a question, called with a Reader and the rest, from what is committed now."""
        return question(self._now, *args, **more)

    async def insert(self, db: Db, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Add many rows within the open transaction."""
        marks = ", ".join("?" * len(columns))
        db.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)
        if self._disk:
            # Let the rest of the program live. In memory others would see what isn't accepted yet.
            await asyncio.sleep(0)

    async def hold(self, run: int) -> Hold | None:
        """Take the lock of a run, whose folder is there; None while somebody else has it."""
        folder = self.reader.run_folder(run)
        if folder is None:
            return None if run in self._held else _InMemory(self._held, run)
        lock = RunLock(folder)
        return lock if lock.take() else None

    def version(self) -> int:
        """A number that changes when something was committed."""
        return self._now.version() if self.folder else self._db.total_changes

    async def close(self) -> None:
        """Let go of the database."""
        async with self._writing:
            self._now.close()
            self.reader.close()
            self._db.close()
            if self._disk:
                self._disk.shutdown()

    @asynccontextmanager
    async def transaction(self, before: Callable[[], None] | None = None) -> AsyncIterator[Db]:
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
        if self._file is not None and _identity(self._file) != self._opened:
            raise StoreError(
                f"{self.place}: was removed or replaced while it was worked with: what ends now would be on no record"
            )
        self._db.execute("COMMIT")

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    async def _beside(self, work: Callable[[], None]) -> None:
        """Do what may wait, in the disk's thread."""
        if self._disk is None:
            work()
        else:
            await beside(self._disk, work)


def _identity(file: Path) -> tuple[int, int] | None:
    """Which file is at this place; None for none that we can reach."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class _InMemory:
    """A run that is owned in a store of this process only."""

    last_seen = None

    def __init__(self, held: set[int], run: int) -> None:
        self._held, self._run = held, run
        held.add(run)

    def beat(self) -> None:
        """Nobody is left to see it."""

    def drop(self) -> None:
        """Let go."""
        self._held.discard(self._run)
