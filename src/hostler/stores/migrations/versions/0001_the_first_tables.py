"""The first tables: runs, jobs, attempts, workers, events, and which attempts each turn touched.

It must never import today's schema: it says what the tables were when it landed.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision = None

BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")
INT, REAL, TEXT, BYTES = sa.Integer(), sa.Double[float](), sa.Text(), sa.LargeBinary()


def upgrade() -> None:
    """Make the tables and their indexes."""
    _make("run", _RUN, sa.UniqueConstraint("uid"), sqlite_autoincrement=True)
    _make("job", _JOB, sqlite_with_rowid=False)
    _make("attempt", _ATTEMPT, sqlite_with_rowid=False)
    _make("worker", _WORKER, sqlite_with_rowid=False)
    _make("event", _EVENT, sqlite_with_rowid=False)
    _make("turn", _TURN, sqlite_with_rowid=False)
    waiting = sa.text("state = 0")
    op.create_index(
        "job_queued", "job", ["run", "tries", "seq"], sqlite_where=waiting, postgresql_where=waiting
    )
    op.create_index(
        "attempt_open",
        "attempt",
        ["run", "job"],
        unique=True,
        sqlite_where=waiting,
        postgresql_where=waiting,
    )


# A column: name, type, and "key" (part of the primary key), "need" (never null) or "may" (be null).
Columns = tuple[tuple[str, TypeEngine[Any], str], ...]

_RUN: Columns = (
    ("number", BIG, "own key"),
    ("uid", TEXT, "need"),
    ("kind", TEXT, "need"),
    ("state", TEXT, "need"),
    ("epoch", INT, "need"),
    ("owner", TEXT, "may"),
    ("spec", TEXT, "need"),
    ("command", TEXT, "need"),
    ("created", REAL, "need"),
    ("started", REAL, "may"),
    ("finished", REAL, "may"),
    ("exit_code", INT, "may"),
    ("seq", BIG, "need"),
    ("total", BIG, "need"),
    ("stopping", INT, "need"),
    ("counts", TEXT, "may"),
)
_JOB: Columns = (
    ("run", BIG, "key"),
    ("seq", BIG, "key"),
    ("key", BYTES, "need"),
    ("args", BYTES, "need"),
    ("state", INT, "need"),
    ("tries", INT, "need"),
    ("attempts", INT, "need"),
    ("avoid", INT, "may"),
)
_ATTEMPT: Columns = (
    ("run", BIG, "key"),
    ("job", BIG, "key"),
    ("n", INT, "key"),
    ("worker", INT, "need"),
    ("serial", BIG, "need"),
    ("state", INT, "need"),
    ("dispatched_seq", BIG, "need"),
    ("dispatched_at", REAL, "need"),
    ("started_seq", BIG, "may"),
    ("started_at", REAL, "may"),
    ("ended_seq", BIG, "may"),
    ("ended_at", REAL, "may"),
    ("ending", TEXT, "may"),
    ("after", INT, "may"),
    ("tries", INT, "may"),
    ("code", INT, "may"),
    ("signal", INT, "may"),
    ("elapsed", REAL, "may"),
    ("file", TEXT, "may"),
    ("file_offset", BIG, "may"),
    ("out", BIG, "may"),
    ("err", BIG, "may"),
    ("interleaved", INT, "may"),
    ("detail", TEXT, "need"),
)
_WORKER: Columns = (
    ("run", BIG, "key"),
    ("id", INT, "key"),
    ("name", TEXT, "need"),
    ("host", TEXT, "need"),
    ("token", TEXT, "need"),
    ("spool", TEXT, "may"),
    ("boot", TEXT, "may"),
    ("serial", BIG, "need"),
    ("state", TEXT, "need"),
    ("strikes", INT, "need"),
    ("why", TEXT, "need"),
)
_EVENT: Columns = (
    ("run", BIG, "key"),
    ("seq", BIG, "key"),
    ("at", REAL, "need"),
    ("type", TEXT, "need"),
    ("data", TEXT, "need"),
)
_TURN: Columns = (("run", BIG, "key"), ("seq", BIG, "key"), ("attempts", TEXT, "need"))


def _make(name: str, columns: Columns, *constraints: sa.UniqueConstraint, **options: bool) -> None:
    made: list[sa.Column[Any] | sa.UniqueConstraint] = [
        sa.Column(
            column,
            kind,
            primary_key="key" in use,
            nullable=use == "may",
            autoincrement=use == "own key",
        )
        for column, kind, use in columns
    ]
    op.create_table(name, *made, *constraints, **options)
