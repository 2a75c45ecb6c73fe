"""The tables, once, for every database that hostler may be kept in.

`schema.sql` beside this file is what these tables say in SQLite's words, so that a new store can be made without
importing SQLAlchemy; a test holds the two together, and `python -m hostler.stores.schema` prints it anew. A change
here needs a migration and the next VERSION (`hostler.stores.versions`). Nothing here may know a query.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

metadata = MetaData()

# SQLite makes a row number only of a column that is declared INTEGER, and its integers are 64 bits wide anyway.
Big = BigInteger().with_variant(Integer, "sqlite")


def _number(name: str, *, null: bool = False, key: bool = False) -> Column[int]:
    return Column(name, Big, nullable=null, primary_key=key, autoincrement=False)


run = Table(
    "run",
    metadata,
    Column("number", Big, primary_key=True),
    Column("uid", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),  # accepted | running | left | stopped | finished
    Column("epoch", Integer, nullable=False),
    Column("owner", Text),
    Column("spec", Text, nullable=False),  # JSON
    Column("command", Text, nullable=False),  # for people
    Column("created", Double, nullable=False),
    Column("started", Double),
    Column("finished", Double),
    Column("exit_code", Integer),
    _number("seq"),  # number of the last event
    _number("total"),  # jobs
    Column("stopping", Integer, nullable=False),  # 0 no, 1 at once, 2 once what runs has ended
    Column("counts", Text),  # JSON, only while the run has ended: lists need not count a million jobs then
    Column("paused", Integer, nullable=False, server_default=text("0")),
    Column("seen", Double),  # the owner's last sign of life by the database's clock; SQLite has the lock file
    sqlite_autoincrement=True,
)

job = Table(
    "job",
    metadata,
    _number("run", key=True),
    _number("seq", key=True),
    Column("key", LargeBinary, nullable=False),  # SHA-256 of template, arguments, environment
    Column("args", LargeBinary, nullable=False),
    Column("state", Integer, nullable=False),  # JobState
    Column("tries", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),  # n of the last attempt
    Column("avoid", Integer),  # worker whose attempt put it back
    Column(
        "kills", Integer, nullable=False, server_default=text("0")
    ),  # hosts that were lost while it ran there
    Column("worker", Integer),  # the only one that it may go to
    sqlite_with_rowid=False,
)
Index(
    "job_queued",
    job.c.run,
    job.c.tries,
    job.c.seq,
    sqlite_where=job.c.state == 0,
    postgresql_where=job.c.state == 0,
)

attempt = Table(
    "attempt",
    metadata,
    _number("run", key=True),
    _number("job", key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("worker", Integer, nullable=False),
    _number("serial"),
    Column("state", Integer, nullable=False),  # 0 open, 1 ended
    _number("dispatched_seq"),
    Column("dispatched_at", Double, nullable=False),
    _number("started_seq", null=True),
    Column("started_at", Double),
    _number("ended_seq", null=True),
    Column("ended_at", Double),
    Column("ending", Text),
    Column("after", Integer),  # the JobState in which it left its job
    Column("tries", Integer),  # what the job had used of its retries by then
    Column("code", Integer),
    Column("signal", Integer),
    Column("elapsed", Double),
    Column("file", Text),
    _number("file_offset", null=True),
    _number("out", null=True),
    _number("err", null=True),
    Column("interleaved", Integer),
    Column("detail", Text, nullable=False),
    sqlite_with_rowid=False,
)
# Unique: no job ever has two open attempts, whatever a caller believes.
Index(
    "attempt_open",
    attempt.c.run,
    attempt.c.job,
    unique=True,
    sqlite_where=attempt.c.state == 0,
    postgresql_where=attempt.c.state == 0,
)

worker = Table(
    "worker",
    metadata,
    _number("run", key=True),
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("host", Text, nullable=False),  # JSON of the Host
    Column("token", Text, nullable=False),
    Column("spool", Text),
    Column("boot", Text),
    _number("serial"),  # last start number used
    Column("state", Text, nullable=False),  # new | up | lost | released
    Column("strikes", Integer, nullable=False),
    Column("why", Text, nullable=False),
    sqlite_with_rowid=False,
)

# How each machine has behaved, over all runs.
machine = Table(
    "machine",
    metadata,
    Column("id", Text, primary_key=True),  # Host.machine
    Column("name", Text, nullable=False),  # of the host that it was last
    Column("endpoint", Text, nullable=False),
    _number("run"),  # in which that was
    Column("strikes", Double, nullable=False),  # this and what follows as in model.health.Health
    Column("struck_at", Double, nullable=False),
    Column("fault", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("probation", Integer, nullable=False),
    Column("answered_at", Double),
    Column("took", Double),
    Column("skew", Double),
    _number("free", null=True),
    Column("load", Double),
    Column("cpus", Integer),
    sqlite_with_rowid=False,
)

# What does not live in an attempt's row.
event = Table(
    "event",
    metadata,
    _number("run", key=True),
    _number("seq", key=True),
    Column("at", Double, nullable=False),
    Column("type", Text, nullable=False),
    Column("data", Text, nullable=False),  # JSON
    sqlite_with_rowid=False,
)

# Which attempts a turn touched, so that history is read in order, and from any point, without sorting attempts.
turn = Table(
    "turn",
    metadata,
    _number("run", key=True),
    _number("seq", key=True),  # number of the turn's last event
    Column("attempts", Text, nullable=False),  # JSON: job, n, job, n, …
    sqlite_with_rowid=False,
)

# What other processes want of a run; its owner alone answers.
request = Table(
    "request",
    metadata,
    Column("id", Big, primary_key=True),
    _number("run"),
    Column("at", Double, nullable=False),
    Column("who", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("args", Text, nullable=False),  # JSON
    Column("taken", Double),  # when an owner took it up
    Column("answered", Double),
    Column("done", Integer, nullable=False),
    Column("words", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index(
    "request_waiting",
    request.c.run,
    request.c.id,
    sqlite_where=request.c.answered.is_(None),
    postgresql_where=request.c.answered.is_(None),
)

# Jobs that are to join a run, until its owner takes them in.
request_job = Table(
    "request_job",
    metadata,
    _number("request", key=True),
    _number("seq", key=True),
    Column("key", LargeBinary, nullable=False),
    Column("args", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

# Alembic's own, made here so that a new store need not import it.
alembic_version = Table(
    "alembic_version",
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


def sqlite_text() -> str:
    """The tables as SQLite's statements, one a line: what `schema.sql` must hold."""
    words = sqlite.dialect()
    statements: list[str] = []
    for table in metadata.sorted_tables:
        statements.append(str(CreateTable(table).compile(dialect=words)))
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        statements += [str(CreateIndex(index).compile(dialect=words)) for index in indexes]
    return "".join(" ".join(statement.split()) + ";\n" for statement in statements)


if __name__ == "__main__":
    print(sqlite_text(), end="")
