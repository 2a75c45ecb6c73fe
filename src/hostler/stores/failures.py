"""What a database's complaints mean for us, in words that say what to do.

It must never hide a complaint: whatever is not known to pass by itself is a StoreError.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from hostler.errors import StoreError, StoreFull

# Extended codes of SQLite that pass once there is room again, or once somebody else is done.
_FULL = {"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC", "SQLITE_IOERR_DIR_FSYNC"} | {
    "SQLITE_IOERR_TRUNCATE",
    "SQLITE_IOERR_SHMSIZE",
    "SQLITE_IOERR_SHMMAP",
}
_BROKEN = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_SHORT_READ", "SQLITE_IOERR_CORRUPTFS")


def from_sqlite(error: sqlite3.Error, *, place: str) -> StoreError:
    """Name what SQLite said about the store at `place`.

    StoreFull where the same write may succeed later, StoreError otherwise.
    """
    code = getattr(error, "sqlite_errorname", "") or ""
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreFull(f"{place}: another process is writing to it; try again")
    if code in _FULL:
        return StoreFull(f"{place}: can't be written for the moment ({error}); make room on its disk")
    if code.startswith(_BROKEN) or type(error) is sqlite3.DatabaseError:
        return StoreError(
            f"{place}: damaged, or not a hostler store ({error}); move it and its -wal file away to begin anew, "
            "or set HOSTLER_STATE_DIR to another folder"
        )
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH", "SQLITE_IOERR")):
        return StoreError(
            f"{place}: can't be used ({error}); see what it is, who owns it and how its disk does, "
            "or set HOSTLER_STATE_DIR to a folder of yours"
        )
    if isinstance(error, sqlite3.IntegrityError):
        return StoreError(f"{place}: what was to be written doesn't fit what is on record ({error})")
    return StoreError(f"{place}: {error}" + (f" [{code}]" if code else ""))


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Turn SQLite's errors within the block into ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise from_sqlite(error, place=place) from error
