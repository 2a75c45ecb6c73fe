"""What the store asks of a database, so that one text of SQL serves every kind.

The SQL is what SQLite and PostgreSQL both understand alike, with `?` for values. It must never name a kind, and
nothing above it may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

from hostler.stores.reading import Reader

P = ParamSpec("P")
T = TypeVar("T")


class Cursor(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed; of a statement done for many values, all together."""
        ...

    def fetchone(self) -> Any:
        """The next row as a tuple, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """The rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Row after row."""
        ...


class Db(Protocol):
    """Statements within the transaction that is open."""

    def execute(self, sql: str, values: Sequence[Any] = ..., /) -> Cursor:
        """Do one statement."""
        ...

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> Cursor:
        """Do one statement for every row of values, in bulk."""
        ...


class Hold(Protocol):
    """The lock by which a process owns a run; who dies loses it, however that comes about."""

    @property
    def last_seen(self) -> float | None:
        """A moment by which the owner before had died, seconds since the epoch; None when nothing is known."""
        ...

    def beat(self) -> None:
        """Leave a sign of life for the next owner. Raises OSError, StoreError."""
        ...

    def drop(self) -> None:
        """Let go of the lock; harmless when it isn't held."""
        ...


class Database(Protocol):
    """One database: its one writer, who may read beside that, and who owns which run."""

    #: What it is called in complaints; nothing secret.
    place: str
    #: Answers people's questions from the last commit, for the functions in `hostler.stores.reads`.
    reader: Reader
    #: The state folder of this process; None keeps nothing beside the database.
    folder: Path | None

    def transaction(self, before: Callable[[], None] | None = None) -> AbstractAsyncContextManager[Db]:
        """One write transaction: committed, durably, at the block's end, rolled back by any exception.

        `before` is called off the event loop's thread right before the commit. Raises StoreFull, StoreError.
        """
        ...

    async def change(self, work: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        """Do statements of the open transaction, where they hold up nobody."""
        ...

    async def ask(self, question: Callable[..., T], *args: Any, **more: Any) -> T:
        """Answer a question, called with a Reader and the rest, from what is committed now. Raises StoreError."""
        ...

    async def insert(self, db: Db, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Add many rows within the open transaction."""
        ...

    async def hold(self, run: int) -> Hold | None:
        """Take the lock of a run; None while somebody else has it."""
        ...

    def version(self) -> int:
        """A number that changes when something was committed; never waits for anybody."""
        ...

    async def close(self) -> None:
        """Let go of the database."""
        ...
