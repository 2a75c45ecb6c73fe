"""Which database a process uses: that of its state folder, or the one whose URL it was given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hostler.errors import UsageError
from hostler.model.storeurls import StoreUrl
from hostler.stores.reading import Reader

if TYPE_CHECKING:
    from hostler.stores.store import RowStore


def open_store(folder: Path, *, url: StoreUrl | None = None) -> RowStore:
    """Open the store to work with it, making it where there is none. Raises StoreError, saying what to do."""
    if url is None:
        from hostler.stores import sqlite

        return sqlite.open_store(folder)
    with _driver():
        from hostler.stores.postgres import database
    return database.open_store(url, folder)


def open_reader(folder: Path, *, url: StoreUrl | None = None) -> Reader | None:
    """Open the store to look at it; None where there is none yet. Raises StoreError."""
    if url is None:
        from hostler.stores import sqlite_reading

        return sqlite_reading.open_reader(folder) if (folder / sqlite_reading.FILE).exists() else None
    with _driver():
        from hostler.stores.postgres import reading
    return reading.open_reader(url, folder)


def existing_store(folder: Path, *, url: StoreUrl | None = None) -> RowStore | None:
    """Open the store to ask something of a run; None where there is none yet. Raises StoreError."""
    reader = open_reader(folder, url=url)
    if reader is None:
        return None
    reader.close()
    return open_store(folder, url=url)


@contextmanager
def _driver() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise UsageError(
            f"a store in PostgreSQL needs the driver psycopg ({error}): pip install 'hostler[postgres]'"
        ) from None
