"""A way to ask the store, for its owner and for every other process alike.

It must never write, and never keep a writer waiting.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

Row = tuple[Any, ...]


class Reader(Protocol):
    """Questions to one database, whose answers are plain tuples. Raises StoreError."""

    #: What the database is called in complaints; nothing secret.
    place: str

    def one(self, sql: str, *values: object) -> Row | None:
        """The first row, or None."""
        ...

    def all(self, sql: str, *values: object) -> list[Row]:
        """Every row. For answers whose size is bounded."""
        ...

    def each(self, sql: str, *values: object) -> Iterator[Row]:
        """Row after row, a few hundred at a time, for answers of any size."""
        ...

    def moment(self) -> AbstractContextManager[None]:
        """Answer every question within the block from the same commit."""
        ...

    def version(self) -> int:
        """A number that changes whenever another connection has committed: a cheap look before a dear one."""
        ...

    def run_folder(self, run: int) -> Path | None:
        """Where the run keeps its output on this machine; None for a store in memory."""
        ...

    def owned(self, run: int) -> bool:
        """Whether a living process owns the run."""
        ...

    def silent(self, run: int) -> float | None:
        """Seconds since the run's owner gave its last sign of life; None where none was ever given."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...
