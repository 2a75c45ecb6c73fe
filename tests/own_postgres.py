"""A real PostgreSQL server of our own: its own cluster in a folder of its own, on a Unix socket only, durable.

It must never touch a cluster of the machine's, and it ends what it started. PostgreSQL refuses to run as root: then it
runs as the account that its package made.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from hostler.model.storeurls import StoreUrl

#: Where packages put initdb and pg_ctl, which nobody has in PATH; the newest first.
BINARIES = [
    *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True),
    *(Path(path).parent for path in [shutil.which("pg_ctl")] if path),
]
#: Bytes that a cluster may come to need.
ROOM = 512 << 20
#: Durable, as a server ought to be, and no bigger than a test needs.
SETTINGS = """
listen_addresses = ''
unix_socket_permissions = 0777
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = 16MB
max_connections = 40
max_wal_size = 256MB
autovacuum_naptime = 1h
log_min_messages = error
"""


def missing() -> str:
    """Why there can be no server here; empty when there can."""
    if not BINARIES:
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    return ""


class OwnPostgres:
    """One server. `url` names a database of it; who connects is `hostler`, and owns the database."""

    def __init__(self) -> None:
        # Not in pytest's folder: a socket's path is short, and another account must enter it. In memory where there is
        # room: the server syncs all the same, and a machine's disk isn't what is tried here.
        shared = Path("/dev/shm")
        room = shared.is_dir() and os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > ROOM
        self.folder = Path(tempfile.mkdtemp(prefix="hostler-pg-", dir=shared if room else "/tmp"))
        self.data = self.folder / "data"
        self.ready = ""
        self._as: list[str] = []
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self._as = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        self.folder.chmod(0o755)
        self._run("initdb", "--auth=trust", "--username=hostler", "--encoding=UTF8", "--locale=C", "-N")
        # Who connects as `walled` must have a password; nobody else needs one.
        (self.data / "pg_hba.conf").write_text("local all walled scram-sha-256\nlocal all all trust\n")
        with open(self.data / "postgresql.auto.conf", "a", encoding="utf-8") as file:
            file.write(SETTINGS + f"unix_socket_directories = '{self.folder}'\n")
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def url(self, database: str = "postgres", *, options: str = "") -> str:
        """The URL of a database."""
        return f"postgresql://hostler@/{database}?host={self.folder}" + (options and f"&options={options}")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._run("pg_ctl", "start", "--wait", "--timeout=60", f"--log={self.folder / 'data' / 'log'}")

    def stop(self, *, how: str = "fast") -> None:
        """Stop it: `fast` cuts its sessions off, `immediate` is a crash."""
        self._run("pg_ctl", "stop", "--wait", f"--mode={how}")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop every process of the server within the block."""
        first = int((self.data / "postmaster.pid").read_text().split()[0])
        pids = [first, *map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def make(self, database: str) -> str:
        """Make an empty database; its URL."""
        self.says(f'CREATE DATABASE "{database}"')
        return self.url(database)

    def set(self, name: str, value: str) -> None:
        """Change a setting of the server; it takes it some moments later."""
        self.says(f"ALTER SYSTEM SET {name} = '{value}'")
        self.says("SELECT pg_reload_conf()")

    def says(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """What the server answers to a statement; nothing to one without an answer."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        """End it, and remove its folder."""
        with suppress(subprocess.CalledProcessError):
            self.stop(how="immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [*self._as, str(BINARIES[0] / program), f"--pgdata={self.data}", *words],
            cwd="/", env={"PATH": os.environ["PATH"], "LC_ALL": "C"}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=90,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout.decode(errors="replace")


@pytest.fixture(scope="session")
def postgres() -> Iterator[OwnPostgres]:
    """A server for all tests of this process."""
    if why := missing():
        pytest.skip(why)
    server = OwnPostgres()
    yield server
    server.close()


@pytest.fixture
def emptied(postgres: OwnPostgres) -> StoreUrl:
    """A store without runs in it, whose numbers begin anew: quicker than a database of its own for each test."""
    from hostler.stores.postgres.connecting import connect
    from hostler.stores.postgres.opening import bring_up
    from hostler.stores.schema import metadata

    if not postgres.ready:
        postgres.ready = postgres.make("emptied")
    url = StoreUrl.parse(postgres.ready)
    with connect(url) as connection:
        bring_up(url, connection)
        for table in metadata.tables:
            if table != "alembic_version":
                connection.execute(f"DELETE FROM {table}".encode(), prepare=False)
        for number in ("run_number_seq", "request_id_seq"):
            connection.execute(f"ALTER SEQUENCE {number} RESTART".encode(), prepare=False)
    return url
