"""Jobs that may go to one worker alone.

It must never import today's schema: it says what the tables were when it landed.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column: no job is pinned yet."""
    op.add_column("job", sa.Column("worker", sa.Integer()))
