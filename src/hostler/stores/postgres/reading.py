"""Questions to a store in PostgreSQL.

It must never write, and never hold an answer of any size in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg

from hostler.model.storeurls import StoreUrl
from hostler.stores.postgres.connecting import Connection, connect, translated
from hostler.stores.postgres.failures import naming
from hostler.stores.postgres.opening import Found, bring_up, find
from hostler.stores.reading import Row
from hostler.stores.versions import VERSION

# Who holds a lock of ours is the server's to say: it knows which sessions live.
_OWNED = """SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = CAST(? AS oid)
AND objid = CAST(? AS oid) AND objsubid = 2
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""

_SILENT = "SELECT extract(epoch FROM clock_timestamp()) - seen FROM run WHERE number = ?"


def open_reader(url: StoreUrl, folder: Path) -> PostgresReader | None:
    """Open the store at `url` for reading only; None where there is none yet. Raises StoreError."""
    with naming(url.shown):
        connection = connect(url, read_only=True)
        try:
            found = find(connection, place=url.shown)
            if found.version and found.version != VERSION:
                found = bring_up(url, connection)
        except BaseException:
            connection.close()
            raise
        if not found.version:
            connection.close()
            return None
        return PostgresReader(url, found, folder=folder, connection=connection)


class PostgresReader:
    """Questions over a connection of its own, made anew when it broke. For one thread at a time."""

    def __init__(
        self, url: StoreUrl, found: Found, *, folder: Path | None, connection: Connection | None = None
    ) -> None:
        self.place = url.shown
        self._url, self._found, self._folder = url, found, folder
        self._connection = connection
        self._names = count()
        self._folders: dict[int, Path] = {}

    def one(self, sql: str, *values: object) -> Row | None:
        """The first row, or None."""
        with naming(self.place):
            return self._asked(sql, values).fetchone()

    def all(self, sql: str, *values: object) -> list[Row]:
        """Every row. For answers whose size is bounded."""
        with naming(self.place):
            return self._asked(sql, values).fetchall()

    def each(self, sql: str, *values: object) -> Iterator[Row]:
        """Row after row, a few hundred at a time; the server keeps the rest, as it was when asked for."""
        with naming(self.place):
            name = f"each{next(self._names)}"
            self._asked(f"DECLARE {name} NO SCROLL CURSOR WITH HOLD FOR {sql}", values, prepare=False)
            connection = self._live
            try:
                while rows := connection.execute(f"FETCH 512 FROM {name}".encode(), prepare=False).fetchall():
                    yield from rows
            finally:
                if not connection.closed:
                    connection.execute(f"CLOSE {name}".encode(), prepare=False)

    @contextmanager
    def moment(self) -> Iterator[None]:
        """Answer every question within the block from the same commit."""
        with naming(self.place):
            if self._live.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                yield
                return
            self._asked("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", ())
            try:
                yield
            finally:
                if self._connection is not None and not self._connection.closed:
                    self._connection.rollback()

    def version(self) -> int:
        """A number that changes whenever any transaction has begun to write or ended: what is visible is another."""
        row = self.one("SELECT CAST(pg_current_snapshot() AS text)")
        return hash(row)

    def run_folder(self, run: int) -> Path | None:
        """Where this machine keeps the run's output; None for a run that isn't there.

        By the run's uid: several stores have a run of this number.
        """
        if self._folder is None:
            return None
        if run not in self._folders:
            row = self.one("SELECT uid FROM run WHERE number = ?", run)
            if row is None:
                return None
            self._folders[run] = self._folder / "runs" / row[0]
        return self._folders[run]

    def owned(self, run: int) -> bool:
        """Whether a living process owns the run."""
        return self.one(_OWNED, self._found.lock, run) is not None

    def silent(self, run: int) -> float | None:
        """Seconds since the run's owner gave its last sign of life; None where none was ever given."""
        row = self.one(_SILENT, run)
        return None if row is None or row[0] is None else max(0.0, float(row[0]))

    def close(self) -> None:
        """Let go of the database."""
        if self._connection is not None:
            self._connection.close()

    @property
    def _live(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._url, read_only=True)
        return self._connection

    def _asked(
        self, sql: str, values: tuple[object, ...], *, prepare: bool | None = None
    ) -> psycopg.Cursor[Row]:
        connection = self._live
        idle = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        try:
            return connection.execute(translated(sql), values, prepare=prepare)
        except psycopg.OperationalError:
            if not idle or not connection.closed:
                raise
            # The server was away, and may be there again.
            return self._live.execute(translated(sql), values, prepare=prepare)
