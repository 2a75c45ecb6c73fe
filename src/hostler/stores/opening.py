"""How a store is opened: made when it isn't there, brought up to date when it is older, refused when it can't be read.

A store of today's version is opened without SQLAlchemy and Alembic. It must never touch a file that some other program
wrote, nor one of a later version.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from hostler.errors import StoreError
from hostler.stores.failures import from_sqlite
from hostler.stores.files import open_private, sync_file, sync_folder, trouble
from hostler.stores.versions import APPLICATION, VERSION

_WAIT = 10.0
# What an unclean end may have left is looked at where that takes a fraction of a second only.
_CHECKED_UP_TO = 32 << 20


def connect(file: Path | None, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the store's database, making or migrating it first where needed; None keeps it in memory.

    Raises StoreError, with what to do about it.
    """
    place = str(file) if file else "the store in memory"
    try:
        if file is None:
            db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            _create(db)
            return db
        if file.exists() and not file.is_file():  # SQLite would wait at a pipe for ever
            raise StoreError(
                f"{file}: can't be used (it is no file); move it away, or set HOSTLER_STATE_DIR to another folder"
            )
        if read_only:
            return _connect_reader(file)
        return _connect_writer(file)
    except sqlite3.Error as error:
        raise from_sqlite(error, place=place) from error


def _connect_reader(file: Path) -> sqlite3.Connection:
    if not file.exists():
        raise StoreError(f"{file}: there is no store yet; hostler batch makes one")
    db = sqlite3.connect(
        f"{file.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=_WAIT,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        if _version(db, file) != VERSION:
            db.close()
            _connect_writer(file).close()
            return _connect_reader(file)
        db.execute("PRAGMA query_only = 1")
    except BaseException:
        db.close()
        raise
    return db


def _connect_writer(file: Path) -> sqlite3.Connection:
    if not file.exists():
        _make(file)
    # -wal is gone after a clean end, so one that holds something means an unclean one, or a living owner.
    unclean = _size(file.with_name(file.name + "-wal")) > 0
    db = sqlite3.connect(file, timeout=_WAIT, isolation_level=None, check_same_thread=False)
    try:
        found = _version(db, file)
        db.execute("PRAGMA journal_mode = WAL")
        if unclean and _size(file) <= _CHECKED_UP_TO:
            _check(db, file)
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("PRAGMA cache_size = -8192")
        db.execute("PRAGMA wal_autocheckpoint = 4000")
        db.execute("PRAGMA journal_size_limit = 67108864")
        if found == 0:
            _create(db)
        elif found < VERSION:
            from hostler.stores.migrating import migrate

            migrate(file, version=VERSION)
    except BaseException:
        db.close()
        raise
    return db


def _version(db: sqlite3.Connection, file: Path) -> int:
    """The store's version, 0 for one that is still empty. Refuses what isn't ours to use."""
    # All of it at one moment: another process may be making the store just now.
    db.execute("BEGIN")
    try:
        something = db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        application = db.execute("PRAGMA application_id").fetchone()[0]
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
    finally:
        db.execute("ROLLBACK")
    if not something and application == 0 and version == 0:
        return 0
    if application != APPLICATION:
        raise StoreError(
            f"{file}: some other program's database; move it away, "
            "or set HOSTLER_STATE_DIR to a folder of hostler's own"
        )
    if version > VERSION:
        raise StoreError(
            f"{file}: written by a newer hostler (store version {version}, this one reads up to {VERSION}); "
            "use that hostler, or set HOSTLER_STATE_DIR to another folder"
        )
    return version


def _create(db: sqlite3.Connection) -> None:
    statements = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8").splitlines()
    db.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have made it while this one waited.
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in statements:
                db.execute(statement)
            db.execute("INSERT INTO alembic_version (version_num) VALUES (?)", (f"{VERSION:04}",))
            db.execute(f"PRAGMA application_id = {APPLICATION}")
            db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _check(db: sqlite3.Connection, file: Path) -> None:
    answer = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if answer != "ok":
        raise StoreError(
            f"{file}: damaged ({answer}); move it and its -wal file away to begin anew, "
            "or set HOSTLER_STATE_DIR to another folder"
        )


def _make(file: Path) -> None:
    """Make a new store beside its place and put it there whole, so that nobody ever finds half of one.

    Our mode comes before SQLite's: -wal and -shm take the same. Of several processes that do this at once one wins.
    """
    new = file.with_name(f"{file.name}.{os.urandom(6).hex()}.new")
    try:
        os.close(open_private(new))
        db = sqlite3.connect(new, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            _create(db)
        finally:
            db.close()
        sync_file(new)
        with suppress(FileExistsError):
            os.link(new, file)
        sync_folder(file.parent)
    except OSError as error:
        raise trouble(error, file) from error
    finally:
        for end in ("", "-wal", "-shm"):
            new.with_name(new.name + end).unlink(missing_ok=True)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
