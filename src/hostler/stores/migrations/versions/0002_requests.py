"""What other processes want of a run, jobs that are to join one, and whether one is paused.

It must never import today's schema: it says what the tables were when it landed.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")
INT, REAL, TEXT, BYTES = sa.Integer(), sa.Double[float](), sa.Text(), sa.LargeBinary()


def upgrade() -> None:
    """Add the tables and the column."""
    op.add_column("run", sa.Column("paused", INT, nullable=False, server_default=sa.text("0")))
    op.create_table(
        "request",
        sa.Column("id", BIG, primary_key=True),
        sa.Column("run", BIG, nullable=False),
        sa.Column("at", REAL, nullable=False),
        sa.Column("who", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("args", TEXT, nullable=False),
        sa.Column("taken", REAL),
        sa.Column("answered", REAL),
        sa.Column("done", INT, nullable=False),
        sa.Column("words", TEXT, nullable=False),
        sqlite_autoincrement=True,
    )
    waiting = sa.text("answered IS NULL")
    op.create_index(
        "request_waiting", "request", ["run", "id"], sqlite_where=waiting, postgresql_where=waiting
    )
    op.create_table(
        "request_job",
        sa.Column("request", BIG, primary_key=True, autoincrement=False),
        sa.Column("seq", BIG, primary_key=True, autoincrement=False),
        sa.Column("key", BYTES, nullable=False),
        sa.Column("args", BYTES, nullable=False),
        sqlite_with_rowid=False,
    )
