"""Attempts in the orders in which other programs want them: as they ended, or by the jobs' numbers; and those that run.

Rows come one by one, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from hostler.model.endings import Begun, Ended
from hostler.model.jobs import Ending, JobState, OutputRef
from hostler.stores.packing import unpack_args
from hostler.stores.reading import Reader, Row

_COLUMNS = """a.job, a.n, w.name, j.args, a.started_at, a.ended_at, a.elapsed, a.ending, a.code, a.signal, a.file,
a.file_offset, a.out, a.err, a.interleaved, a.after, a.detail"""
_FROM = """FROM attempt a JOIN job j ON j.run = a.run AND j.seq = a.job
JOIN worker w ON w.run = a.run AND w.id = a.worker"""
#: Attempts that were taken back before they began are no news to anybody.
_WHERE = f"WHERE a.run = ? AND a.state = 1 AND a.ending <> '{Ending.REVOKED.value}'"
#: Those that run.
_BEGUN = f"SELECT a.job, a.n, w.name, j.args, a.started_at {_FROM} WHERE a.run = ? AND a.state = 0 AND a.started_at > 0"


def ended(reader: Reader, run: int, keys: Sequence[tuple[int, int]]) -> Iterator[Ended]:
    """These attempts, (job, n) each, in this order."""
    rest = iter(keys)
    while some := list(islice(rest, 400)):
        pairs = ", ".join(["(?, ?)"] * len(some))
        rows = reader.all(
            f"WITH k(job, n) AS (VALUES {pairs}) SELECT {_COLUMNS} {_FROM} "
            f"JOIN k ON k.job = a.job AND k.n = a.n {_WHERE}",
            *(value for key in some for value in key),
            run,
        )
        found = {(row[0], row[1]): row for row in rows}
        for key in some:
            if key in found:
                yield _ended(found[key])


def all_ended(reader: Reader, run: int, since: int = 0) -> Iterator[Ended]:
    """Every attempt of a run that ended behind event number `since`, in the order in which they ended."""
    sql = f"SELECT {_COLUMNS} {_FROM} {_WHERE} AND a.ended_seq > ? ORDER BY a.ended_seq"
    for row in reader.each(sql, run, since):
        yield _ended(row)


def last_ended(reader: Reader, run: int) -> Iterator[tuple[int, OutputRef]]:
    """Where each job's last attempt was, and what it wrote; those that wrote nothing are left out."""
    sql = (
        "SELECT a.worker, a.file, a.file_offset, a.out, a.err, a.interleaved FROM job j "
        "JOIN attempt a ON a.run = j.run AND a.job = j.seq AND a.n = j.attempts "
        "WHERE j.run = ? AND a.state = 1 AND a.file IS NOT NULL ORDER BY j.seq"
    )
    for worker, file, offset, out, err, mixed in reader.each(sql, run):
        yield worker, OutputRef(file, offset, out, err, bool(mixed))


def running(reader: Reader, run: int) -> Iterator[Begun]:
    """Every attempt of a run that has begun and not ended, in the order of their jobs."""
    for row in reader.each(f"{_BEGUN} ORDER BY a.job", run):
        yield _begun(row)


def begun(reader: Reader, run: int, keys: Sequence[tuple[int, int]]) -> Iterator[Begun]:
    """Those of these attempts, (job, n) each, that have begun and not ended, in this order."""
    rest = iter(keys)
    while some := list(islice(rest, 400)):
        pairs = ", ".join(["(?, ?)"] * len(some))
        sql = f"{_BEGUN} AND (a.job, a.n) IN (VALUES {pairs})"
        found = {row[:2]: row for row in reader.all(sql, run, *(value for key in some for value in key))}
        for key in some:
            if key in found:
                yield _begun(found[key])


def ended_between(reader: Reader, run: int, *, after: int, before: int | None, since: int) -> Iterator[Ended]:
    """Attempts of the jobs with numbers between these two, by number, that ended behind event number `since`."""
    sql = f"SELECT {_COLUMNS} {_FROM} {_WHERE} AND a.job > ? AND a.job < ? AND a.ended_seq > ? ORDER BY a.job, a.n"
    for row in reader.each(sql, run, after, before if before is not None else 1 << 62, since):
        yield _ended(row)


def next_unfinished(reader: Reader, run: int, *, after: int) -> int | None:
    """The first job behind number `after` that is not over."""
    row = reader.one(
        f"SELECT seq FROM job WHERE run = ? AND seq > ? AND state < {int(JobState.OK)} ORDER BY seq LIMIT 1",
        run,
        after,
    )
    return row[0] if row else None


def _begun(row: Row) -> Begun:
    job, n, host, args, started = row
    return Begun(job=job, n=n, host=host, args=unpack_args(args), started_at=started)


def _ended(row: Row) -> Ended:
    job, n, host, args, started, at, elapsed, ending, code, signal = row[:10]
    file, offset, out, err, mixed, after, detail = row[10:]
    return Ended(
        job=job,
        n=n,
        host=host,
        args=unpack_args(args),
        started_at=started,
        ended_at=at,
        elapsed=elapsed,
        ending=Ending(ending),
        code=code,
        signal=signal,
        output=None if file is None else OutputRef(file, offset, out, err, bool(mixed)),
        last=after >= JobState.OK,
        detail=detail,
    )
