"""Older stores brought up to date by Alembic, in one transaction: the store is of the old version or of the new one.

Imported only when a store's version differs from ours: Alembic takes longer to import than everything else here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hostler.errors import StoreError
from hostler.stores.versions import APPLICATION


def migrate(file: Path, *, version: int) -> None:
    """Bring the SQLite database `file` up to `version`, or leave it as it is and raise StoreError."""
    upgrade(
        "sqlite://",
        lambda: _connect(file),
        begin=["BEGIN IMMEDIATE"],
        end=[f"PRAGMA application_id = {APPLICATION}", f"PRAGMA user_version = {version}"],
        version=version,
        failed=lambda why: f"{file}: can't be brought up to date, and is as it was ({why})",
    )


def upgrade(
    kind: str,
    connect: Callable[[], Any],
    *,
    begin: Sequence[str],
    end: Sequence[str],
    version: int,
    failed: Callable[[str], str],
) -> None:
    """Bring a database up to `version` between the statements `begin` and `end`, in one transaction.

    `kind` is SQLAlchemy's name of it, `connect` opens a connection of its driver. Raises StoreError with the words of
    `failed`, which is told why.
    """
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    engine = create_engine(kind, creator=connect, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            for statement in begin:
                connection.exec_driver_sql(statement)
            config.attributes["connection"] = connection
            command.upgrade(config, f"{version:04}")
            for statement in (*end, "COMMIT"):
                connection.exec_driver_sql(statement)
    except Exception as error:
        raise StoreError(failed(str(error))) from error


def _connect(file: Path) -> sqlite3.Connection:
    # Without an isolation level the driver begins and ends no transaction behind our back: changes of tables are
    # part of ours.
    return sqlite3.connect(file, timeout=10.0, isolation_level=None)
