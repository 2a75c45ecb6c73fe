"""Jobs and their attempts, for people.

Attempts come one by one, in order of job and attempt, however many there are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from msgspec import Struct

from hostler.errors import UsageError
from hostler.model.jobs import JobState
from hostler.model.runs import AttemptRow
from hostler.stores.packing import unpack_args
from hostler.stores.reading import Reader, Row

#: What `attempt_row` takes, from `attempt a` joined with `worker w`.
COLUMNS = (
    "a.job, a.n, w.name, a.state = 0, a.dispatched_at, a.started_at, a.ended_at, a.ending, a.code, a.signal, "
    "a.elapsed, a.file, a.file_offset, a.out, a.err, a.interleaved, a.detail, "
    # Ended or lost part-way, an earlier one may have had its effects.
    "a.n > 1 AND coalesce(a.ending, '') <> 'revoked' AND EXISTS (SELECT 1 FROM attempt e WHERE e.run = a.run "
    "AND e.job = a.job AND e.n < a.n AND e.ending IN ('lost', 'interrupted'))"
)
#: Where no limit is meant.
MANY = 1 << 62
FROM = "FROM attempt a JOIN worker w ON w.run = a.run AND w.id = a.worker"


class JobRow(Struct, frozen=True, kw_only=True):
    """One job as the store keeps it, for people. `attempts` is the number of its last attempt, 0 without one, `kills`
    how many hosts were lost while it ran there."""

    job: int
    args: tuple[bytes, ...]
    state: JobState
    tries: int
    attempts: int
    kills: int = 0


def job(reader: Reader, run: int, number: int) -> JobRow:
    """One job of a run. Raises UsageError, saying which jobs there are."""
    row = reader.one(
        "SELECT args, state, tries, attempts, kills FROM job WHERE run = ? AND seq = ?", run, number
    )
    if row is None:
        total = reader.one("SELECT total FROM run WHERE number = ?", run)
        raise UsageError(f"run {run} has no job {number}; its jobs are 1 to {total[0] if total else 0}")
    args, state, tries, attempts, kills = row
    return JobRow(
        job=number, args=unpack_args(args), state=JobState(state), tries=tries, attempts=attempts, kills=kills
    )


def unfinished(reader: Reader, run: int) -> Iterator[int]:
    """The numbers of a run's jobs that wait or run, in order."""
    sql = f"SELECT seq FROM job WHERE run = ? AND state < {JobState.OK._value_} ORDER BY seq"
    for (number,) in reader.each(sql, run):
        yield number


def attempts(
    reader: Reader,
    run: int,
    *,
    job: int | None = None,
    states: Collection[JobState] | None = None,
    limit: int | None = None,
) -> Iterator[AttemptRow]:
    """The attempts of a run, or of one job; with `states` those that left their job so (OPEN: not ended yet)."""
    where, values = "a.run = ?", [run]
    if job is not None:
        where += " AND a.job = ?"
        values.append(job)
    if states is not None:
        where += f" AND coalesce(a.after, {JobState.OPEN._value_}) IN ({marks(states)})"
        values += [int(state) for state in states]
    sql = f"SELECT {COLUMNS} {FROM} WHERE {where} ORDER BY a.job, a.n LIMIT ?"
    for row in reader.each(sql, *values, MANY if limit is None else limit):
        yield attempt_row(row)


def open_attempts(reader: Reader, run: int, *, limit: int) -> list[AttemptRow]:
    """The attempts that have not ended, in order of their jobs, at most `limit`; those that have are not looked at."""
    rows = reader.all(
        f"SELECT {COLUMNS} {FROM} WHERE a.run = ? AND a.state = 0 ORDER BY a.job LIMIT ?", run, limit
    )
    return [attempt_row(row) for row in rows]


def attempt_row(row: Row) -> AttemptRow:
    """An AttemptRow from COLUMNS."""
    (job, n, worker, open_, dispatched, started, ended, ending, code, signal) = row[:10]
    (elapsed, file, offset, out, err, interleaved, detail) = row[10:17]
    return AttemptRow(
        job=job,
        n=n,
        worker=worker,
        open=bool(open_),
        dispatched_at=dispatched,
        started_at=started,
        ended_at=ended,
        ending=ending,
        code=code,
        signal=signal,
        elapsed=elapsed,
        file=file,
        offset=offset,
        out=out,
        err=err,
        indexed=bool(interleaved),
        detail=detail,
        maybe_duplicated=bool(row[17]),
    )


def marks(values: Collection[object]) -> str:
    """As many question marks as there are values."""
    return ", ".join("?" * len(values))
