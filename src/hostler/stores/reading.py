"""A way to ask the store, for its owner and for every other process alike.

It must never write, and never keep a writer waiting: readers of SQLite's WAL see the last commit and block nobody.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hostler.stores.failures import naming

Row = tuple[Any, ...]


class Reader:
    """Questions to one database, whose answers are plain tuples. Raises StoreError."""

    def __init__(self, connection: sqlite3.Connection, *, place: str, folder: Path | None = None) -> None:
        self._connection = connection
        self.place = place
        self.folder = folder

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
        return self.folder / "runs" / str(run) if self.folder else None

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()
