"""What Alembic runs around a migration: our own open connection, our own transaction. It must never open another."""

from __future__ import annotations

from alembic import context

from hostler.stores.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
