"""Whether a database holds our store: made where there is none, brought up to date, refused where it isn't ours.

A store of today's version is opened without SQLAlchemy and Alembic. It must never touch a table of another program.
"""

from __future__ import annotations

from zlib import crc32

from msgspec import Struct

from hostler.errors import StoreError
from hostler.model.storeurls import StoreUrl
from hostler.stores.postgres.connecting import Connection, connect
from hostler.stores.versions import APPLICATION, VERSION

#: Stands in PostgreSQL as the comment of Alembic's table, which many programs have.
MARK = "hostler store"

_LOOK = """SELECT s.name, current_setting('server_encoding'), current_setting('fsync'),
current_setting('full_page_writes'), pg_is_in_recovery(), obj_description(to_regclass(quote_ident(s.name) ||
'.alembic_version'), 'pg_class'), EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = s.name AND c.relkind IN ('r', 'p', 'v', 'S')) FROM (SELECT current_schema() AS name) s"""


class Found(Struct, frozen=True, kw_only=True):
    """What is in a database: the schema of our tables, and their version, 0 where there are none yet."""

    schema: str
    version: int

    @property
    def lock(self) -> int:
        """The first half of the numbers of our advisory locks: stores beside each other in one database have others."""
        return crc32(f"hostler {self.schema}".encode()) & 0x7FFFFFFF


def find(connection: Connection, *, place: str) -> Found:
    """Look what is there. Raises StoreError for what is not ours to use."""
    row = connection.execute(_LOOK).fetchone()
    assert row is not None, "one row was asked for"
    schema, encoding, fsync, pages, standby, mark, something = row
    if schema is None:
        raise StoreError(f"{place}: no schema of its search path is there; make one: CREATE SCHEMA")
    if encoding != "UTF8":
        raise StoreError(f"{place}: its encoding is {encoding}; make a database with: ENCODING 'UTF8'")
    if fsync != "on" or pages != "on":
        raise StoreError(
            f"{place}: its server runs with fsync or full_page_writes off and may lose what it said to have written; "
            "turn both on"
        )
    if standby:
        raise StoreError(f"{place}: its server is a standby, where nothing can be written; name the primary")
    if mark == MARK:
        (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone() or ("0",)
        found = int(version)
        if found > VERSION:
            raise StoreError(
                f"{place}: written by a newer hostler (store version {found}, this one reads up to {VERSION}); "
                "use that hostler, or another database"
            )
        return Found(schema=schema, version=found)
    if something:
        raise StoreError(
            f"{place}: its schema {schema} holds tables of some other program; give hostler a database of its own, or "
            "a schema: ?options=-csearch_path%3DNAME"
        )
    return Found(schema=schema, version=0)


def bring_up(url: StoreUrl, connection: Connection) -> Found:
    """Make the store or migrate it where need be. Raises StoreError, psycopg.Error."""
    found = find(connection, place=url.shown)
    if found.version == VERSION:
        return found
    from hostler.stores.migrating import upgrade

    def made(text: str) -> str:
        return f"{url.shown}: can't be brought up to date, and is as it was ({text})"

    # Of several processes that do this at once one waits for the other, and finds nothing left to do.
    upgrade(
        "postgresql+psycopg://",
        lambda: connect(url, plain=True),
        begin=[f"SELECT pg_advisory_xact_lock({APPLICATION}, {found.lock})"],
        end=[f"COMMENT ON TABLE alembic_version IS '{MARK}'"],
        version=VERSION,
        failed=made,
    )
    return find(connection, place=url.shown)
