"""The figures of a report, added up by the database: what failed, what was slow, how each worker did."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from msgspec import Struct

from hostler.model.jobs import Ending, JobState
from hostler.model.runs import AttemptRow
from hostler.stores.packing import unpack_args
from hostler.stores.reading import Reader
from hostler.stores.reads.attempts import COLUMNS, FROM, MANY, attempt_row, marks

#: Endings that are the host's doing, not the job's.
ENDED_BY_HOST = (Ending.LOST.value, Ending.UNREACHABLE.value)
NOT_THE_JOBS = (*ENDED_BY_HOST, Ending.INTERRUPTED.value)
NOT_WELL = tuple(state for state in JobState if state.final and state is not JobState.OK)


class BadJob(Struct, frozen=True, kw_only=True):
    """A job that did not end well, with its last attempt, if it had one."""

    job: int
    args: tuple[bytes, ...]
    state: JobState
    last: AttemptRow | None


class WorkerFigures(Struct, frozen=True, kw_only=True):
    """What one worker did. `busy` adds up the seconds of its attempts, `mean` is their average.

    `failed` counts attempts that the job ended badly, `gone` those that the host lost, `interrupted` those that we
    ended.
    """

    id: int
    name: str
    state: str
    strikes: int
    why: str
    attempts: int
    ok: int
    failed: int
    gone: int
    interrupted: int
    open: int
    busy: float
    mean: float | None


def bad_jobs(
    reader: Reader, run: int, *, states: Collection[JobState] = NOT_WELL, limit: int | None = None
) -> Iterator[BadJob]:
    """Jobs in `states` in their order, each with its last attempt, at most `limit`."""
    sql = (
        f"SELECT {COLUMNS}, j.seq, j.args, j.state FROM job j "
        "LEFT JOIN attempt a ON a.run = j.run AND a.job = j.seq AND a.n = j.attempts "
        "LEFT JOIN worker w ON w.run = a.run AND w.id = a.worker "
        f"WHERE j.run = ? AND j.state IN ({marks(states)}) ORDER BY j.seq LIMIT ?"
    )
    values = (run, *(int(state) for state in states), MANY if limit is None else limit)
    for row in reader.each(sql, *values):
        number, args, state = row[-3:]
        last = None if row[0] is None else attempt_row(row)
        yield BadJob(job=number, args=unpack_args(args), state=JobState(state), last=last)


def slowest(reader: Reader, run: int, *, limit: int = 5) -> list[AttemptRow]:
    """The attempts that took longest by their hosts' clocks, the slowest first."""
    rows = reader.all(
        f"SELECT {COLUMNS} {FROM} WHERE a.run = ? AND a.elapsed IS NOT NULL "
        "ORDER BY a.elapsed DESC, a.job LIMIT ?",
        run,
        limit,
    )
    return [attempt_row(row) for row in rows]


def worker_figures(reader: Reader, run: int) -> list[WorkerFigures]:
    """What each worker did, in order of their ids; taken-back attempts don't count."""
    # Grouped before it is joined: joined first, every worker would scan all attempts.
    rows = reader.all(
        "SELECT w.id, w.name, w.state, w.strikes, w.why, coalesce(a.made, 0), coalesce(a.ok, 0), "
        "coalesce(a.failed, 0), coalesce(a.gone, 0), coalesce(a.interrupted, 0), coalesce(a.open, 0), "
        "coalesce(a.busy, 0.0), a.mean "
        "FROM worker w LEFT JOIN ("
        "SELECT worker, count(*) AS made, count(*) FILTER (WHERE ending = 'ok') AS ok, "
        f"count(*) FILTER (WHERE ending <> 'ok' AND ending NOT IN ({marks(NOT_THE_JOBS)})) AS failed, "
        f"count(*) FILTER (WHERE ending IN ({marks(ENDED_BY_HOST)})) AS gone, "
        "count(*) FILTER (WHERE ending = 'interrupted') AS interrupted, "
        "count(*) FILTER (WHERE state = 0) AS open, sum(elapsed) AS busy, "
        "avg(elapsed) AS mean FROM attempt WHERE run = ? AND coalesce(ending, '') <> ? GROUP BY worker"
        ") a ON a.worker = w.id WHERE w.run = ? ORDER BY w.id",
        *NOT_THE_JOBS,
        *ENDED_BY_HOST,
        run,
        Ending.REVOKED.value,
        run,
    )
    return [
        WorkerFigures(
            id=id,
            name=name,
            state=state,
            strikes=strikes,
            why=why,
            attempts=attempts,
            ok=ok,
            failed=failed,
            gone=gone,
            interrupted=interrupted,
            open=open_,
            busy=busy,
            mean=mean,
        )
        for id, name, state, strikes, why, attempts, ok, failed, gone, interrupted, open_, busy, mean in rows
    ]


def span(reader: Reader, run: int) -> tuple[float, float] | None:
    """When the first attempt was dispatched and the last result recorded, None before there is one of each."""
    row = reader.one("SELECT min(dispatched_at), max(ended_at) FROM attempt WHERE run = ?", run)
    return (row[0], row[1]) if row and row[1] is not None else None


def maybe_doubled(reader: Reader, run: int) -> list[int]:
    """Jobs that may have had their effects twice: an attempt went missing part-way and another one followed."""
    rows = reader.all(
        "SELECT DISTINCT a.job FROM attempt a JOIN attempt b ON b.run = a.run AND b.job = a.job AND b.n > a.n "
        "WHERE a.run = ? AND a.ending IN (?, ?) AND coalesce(b.ending, '') <> ? ORDER BY a.job",
        run,
        Ending.LOST.value,
        Ending.INTERRUPTED.value,
        Ending.REVOKED.value,
    )
    return [row[0] for row in rows]
