"""Older stores brought up to date by Alembic, in one transaction: the store is of the old version or of the new one.

Imported only when a store's version differs from ours: Alembic takes longer to import than everything else here.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from hostler.errors import StoreError
from hostler.stores.versions import APPLICATION


def migrate(file: Path, *, version: int) -> None:
    """Bring the database `file` up to `version`, or leave it as it is and raise StoreError."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    engine = create_engine("sqlite://", creator=lambda: _connect(file), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            config.attributes["connection"] = connection
            command.upgrade(config, f"{version:04}")
            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION}")
            connection.exec_driver_sql(f"PRAGMA user_version = {version}")
            connection.exec_driver_sql("COMMIT")
    except Exception as error:
        raise StoreError(f"{file}: can't be brought up to date, and is as it was ({error})") from error


def _connect(file: Path) -> sqlite3.Connection:
    # Without an isolation level the driver begins and ends no transaction behind our back: changes of tables are
    # part of ours.
    return sqlite3.connect(file, timeout=10.0, isolation_level=None)
