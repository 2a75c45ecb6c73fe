"""When a run's owner was last known to live, where no lock file tells it.

It must never import today's schema: it says what the tables were when it landed.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column."""
    op.add_column("run", sa.Column("seen", sa.Double[float]()))
