"""What PostgreSQL's complaints mean for us, in words that say what to do.

It must never hide a complaint: whatever is not known to pass by itself is a StoreError.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from hostler.errors import StoreError, StoreFull

# Classes of SQLSTATE that pass: connection, conflict with others, resources, intervention of an operator, I/O.
_PASSES = ("08", "40", "53", "55P03", "57", "58030")
_REFUSED = ("28", "3D000", "42501")


def from_postgres(error: psycopg.Error, *, place: str) -> StoreError:
    """Name what the server, or the way to it, said about the store at `place`.

    StoreFull where the same write may succeed later, StoreError otherwise.
    """
    state = error.sqlstate or ""
    words = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    if state.startswith(_REFUSED):
        return StoreError(f"{place}: refused ({words}); see who may do what there, and what the URL says")
    if state.startswith(_PASSES):
        return StoreFull(f"{place}: can't be written for the moment ({words}); see how its server does")
    if isinstance(error, psycopg.OperationalError) and not state:
        return StoreFull(
            f"{place}: can't be reached for the moment ({words}); see how its server does, and what the URL says"
        )
    if isinstance(error, psycopg.IntegrityError):
        return StoreError(f"{place}: what was to be written doesn't fit what is on record ({words})")
    if state in ("42P01", "42703"):
        return StoreError(f"{place}: tables of the store are missing ({words}); name another database")
    return StoreError(f"{place}: {words}" + (f" [{state}]" if state else ""))


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Turn PostgreSQL's errors within the block into ours."""
    try:
        yield
    except psycopg.Error as error:
        raise from_postgres(error, place=place) from error
