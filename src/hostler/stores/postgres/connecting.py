"""A connection to the server: made so that a dead one is noticed, and with our SQL understood.

It must never show a password, nor read one from anywhere but where libpq does: the URL, PGPASSFILE, a service file.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import StrDumper

from hostler.errors import StoreError, UsageError
from hostler.model.storeurls import StoreUrl

# What goes wrong is told as an error of ours, once; the driver's own remarks would stand on the terminal.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

Connection = psycopg.Connection[tuple[Any, ...]]

#: Seconds in which a connection is made, or found out to be dead.
PATIENCE = 10
_HABITS = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": PATIENCE * 2_000,
}
# The same at the server's end: who dies loses its locks soon, also where its machine vanished. An answer "it is
# committed" must mean that it is on disk. Nobody waits for ever for a lock of who is gone.
_SESSION = """SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;
SET tcp_user_timeout = 20000; SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0;
SET lock_timeout = '30s';
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"""


class _Words(StrDumper):
    """Text as PostgreSQL takes it: it has no NUL, and what hosts say of themselves may hold one."""

    def dump(self, obj: str) -> Any:
        """The text's bytes."""
        return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in obj else obj)


def connect(url: StoreUrl, *, read_only: bool = False, plain: bool = False) -> Connection:
    """Connect to the server. A `plain` connection begins transactions by itself and adapts nothing.

    Raises psycopg.OperationalError when it can't be reached or refuses us, UsageError when the URL can't be read.
    """
    try:
        given = conninfo_to_dict(url.text)
    except psycopg.ProgrammingError:
        raise UsageError(
            f"{url.shown}: not a URL that libpq can read; write special characters as %XX"
        ) from None
    habits: dict[str, Any] = {name: value for name, value in _HABITS.items() if name not in given}
    if "connect_timeout" not in given and "PGCONNECT_TIMEOUT" not in os.environ:
        habits["connect_timeout"] = PATIENCE
    connection = psycopg.connect(
        url.text,
        autocommit=not plain,
        prepare_threshold=None if plain else 0,
        client_encoding="utf8",
        fallback_application_name="hostler",
        **habits,
    )
    if plain:
        return connection
    try:
        if connection.info.server_version < 130000:
            raise StoreError(
                f"{url.shown}: PostgreSQL {connection.info.server_version // 10000}; 13 or later is needed"
            )
        connection.adapters.register_dumper(int, Int8Dumper)
        connection.adapters.register_dumper(str, _Words)
        connection.execute(_SESSION, prepare=False)
        if read_only:
            connection.execute("SET default_transaction_read_only = on", prepare=False)
    except BaseException:
        connection.close()
        raise
    return connection


@lru_cache(256)
def translated(sql: str) -> Any:
    """Our SQL with the driver's placeholders.

    >>> translated("SELECT 1 FROM event WHERE type LIKE 'host.%' AND run = ?")
    "SELECT 1 FROM event WHERE type LIKE 'host.%%' AND run = %s"
    """
    return sql.replace("%", "%%").replace("?", "%s")


class Statements:
    """Statements of one transaction, said to a connection; the rows of many go out without waiting for each."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> psycopg.Cursor[tuple[Any, ...]]:
        """Do one statement."""
        return self._connection.execute(translated(sql), values)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> psycopg.Cursor[tuple[Any, ...]]:
        """Do one statement for every row of values."""
        cursor = self._connection.cursor()
        cursor.executemany(translated(sql), rows)
        return cursor

    def copy(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Add many rows at once."""
        text: Any = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
        with self._connection.cursor() as cursor, cursor.copy(text) as copy:
            for row in rows:
                copy.write_row(row)
