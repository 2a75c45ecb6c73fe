"""How machines have behaved over all runs, and how many hosts a job took with it.

It must never import today's schema: it says what the tables were when it landed.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")
INT, REAL, TEXT = sa.Integer(), sa.Double[float](), sa.Text()


def upgrade() -> None:
    """Add the column and the table."""
    op.add_column("job", sa.Column("kills", INT, nullable=False, server_default=sa.text("0")))
    op.create_table(
        "machine",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("endpoint", TEXT, nullable=False),
        sa.Column("run", BIG, nullable=False),
        sa.Column("strikes", REAL, nullable=False),
        sa.Column("struck_at", REAL, nullable=False),
        sa.Column("fault", TEXT, nullable=False),
        sa.Column("why", TEXT, nullable=False),
        sa.Column("probation", INT, nullable=False),
        sa.Column("answered_at", REAL),
        sa.Column("took", REAL),
        sa.Column("skew", REAL),
        sa.Column("free", BIG),
        sa.Column("load", REAL),
        sa.Column("cpus", INT),
        sqlite_with_rowid=False,
    )
