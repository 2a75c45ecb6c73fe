"""Questions to a store in SQLite, for whoever only looks: quick to import, and free of what works on a run."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hostler.stores.failures import naming
from hostler.stores.opening import connect
from hostler.stores.ownership import owner_lives, silent
from hostler.stores.reading import Row

#: Name of the database within the state folder.
FILE = "store.db"


def open_reader(folder: Path) -> SqliteReader:
    """Open a state folder's store for reading only, beside whoever writes to it. Raises StoreError."""
    file = folder / FILE
    return SqliteReader(connect(file, read_only=True), place=str(file), folder=folder)


class SqliteReader:
    """Questions to one SQLite database: readers of its WAL see the last commit and block nobody."""

    def __init__(self, connection: sqlite3.Connection, *, place: str, folder: Path | None = None) -> None:
        self._connection = connection
        self.place = place
        self._folder = folder

    def one(self, sql: str, *values: object) -> Row | None:
        """The first row, or None."""
        with naming(self.place):
            row: Row | None = self._connection.execute(sql, values).fetchone()
            return row

    def all(self, sql: str, *values: object) -> list[Row]:
        """Every row. For answers whose size is bounded."""
        with naming(self.place):
            return self._connection.execute(sql, values).fetchall()

    def each(self, sql: str, *values: object) -> Iterator[Row]:
        """Row after row, a few hundred at a time, for answers of any size."""
        with naming(self.place):
            cursor = self._connection.execute(sql, values)
            while rows := cursor.fetchmany(512):
                yield from rows

    @contextmanager
    def moment(self) -> Iterator[None]:
        """Answer every question within the block from the same commit."""
        if self._connection.in_transaction:
            yield
            return
        with naming(self.place):
            self._connection.execute("BEGIN")
        try:
            yield
        finally:
            # Not ROLLBACK: SQLite may have ended the transaction by itself, after an error.
            self._connection.rollback()

    def version(self) -> int:
        """A number that changes whenever another connection has committed: a cheap look before a dear one."""
        row = self.one("PRAGMA data_version")
        return int(row[0]) if row else 0

    def run_folder(self, run: int) -> Path | None:
        """Where the run keeps its lock and output; None for a store in memory."""
        return self._folder / "runs" / str(run) if self._folder else None

    def owned(self, run: int) -> bool:
        """Whether a living process owns the run."""
        if folder := self.run_folder(run):
            return owner_lives(folder)
        row = self.one("SELECT owner FROM run WHERE number = ?", run)
        return row is not None and row[0] is not None

    def silent(self, run: int) -> float | None:
        """Seconds since the run's owner gave its last sign of life; None where none was ever given."""
        folder = self.run_folder(run)
        return silent(folder) if folder else None

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()
