"""What a screen asks again and again: which runs have changed, a page of a run's jobs, how its hosts stand just now.

Every answer is a page or a number a host, whatever a run holds: it must never hand out all of a run's jobs.
"""

from __future__ import annotations

import json
from collections.abc import Collection

from msgspec import Struct

from hostler.model.jobs import JobState
from hostler.model.runs import AttemptRow
from hostler.stores.packing import unpack_args
from hostler.stores.reading import Reader, Row
from hostler.stores.reads.attempts import COLUMNS, MANY, attempt_row, marks

#: What a run's row has to be for what is known of it to hold.
Stamp = tuple[object, ...]

_JOINED = (
    "LEFT JOIN attempt a ON a.run = j.run AND a.job = j.seq AND a.n = j.attempts "
    "LEFT JOIN worker w ON w.run = a.run AND w.id = a.worker"
)
#: Of a job that runs, how long by now; of one that ended, how long it took by its host's clock.
_TOOK = "coalesce(a.elapsed, CASE WHEN a.state = 0 THEN CAST(? AS DOUBLE PRECISION) - a.started_at END)"


class JobNow(Struct, frozen=True, kw_only=True):
    """One job with its last attempt, if it had one."""

    job: int
    args: tuple[bytes, ...]
    state: JobState
    last: AttemptRow | None


def stamps(reader: Reader, *, limit: int, up_to: int | None = None) -> list[tuple[int, Stamp]]:
    """The newest runs' numbers, the newest first, each with what changes whenever anything of the run does."""
    rows = reader.all(
        "SELECT number, seq, epoch, owner, state, paused, stopping FROM run WHERE number <= ? "
        "ORDER BY number DESC LIMIT ?",
        MANY if up_to is None else up_to,
        limit,
    )
    return [(row[0], row[1:]) for row in rows]


def worker_counts(reader: Reader, run: int) -> tuple[int, int]:
    """How many of a run's hosts are up, and how many it has."""
    row = reader.one("SELECT count(*) FILTER (WHERE state = 'up'), count(*) FROM worker WHERE run = ?", run)
    return (row[0], row[1]) if row else (0, 0)


def jobs_page(
    reader: Reader,
    run: int,
    *,
    states: Collection[JobState] | None = None,
    workers: Collection[int] | None = None,
    numbers: Collection[int] | None = None,
    slowest: float | None = None,
    limit: int,
    offset: int = 0,
) -> list[JobNow]:
    """At most `limit` jobs behind the first `offset`: those that run first, the oldest of them before others.

    Only those in `states`, those whose last attempt was on one of `workers`, those of these `numbers`, where these are
    given. With `slowest`, the present moment, those come first that took longest or have run longest by then; who never
    ran is left out.
    """
    where: list[str] = ["j.run = ?"]
    values: list[object] = [run]
    if workers is not None:
        if not workers:
            return []
        where.append(f"a.worker IN ({marks(workers)})")
        values += workers
    if numbers is not None:
        where.append(f"j.seq IN ({marks(numbers)})")
        values += numbers
    if slowest is not None:
        if states is not None:
            where.append(f"j.state IN ({marks(states)})")
            values += [int(state) for state in states]
        where.append("(a.elapsed IS NOT NULL OR a.started_at IS NOT NULL)")
        order = f"{_TOOK} DESC, j.seq"
        return _page(reader, where, [*values, slowest], order, limit, offset)
    found: list[JobNow] = []
    if states is None or JobState.OPEN in states:
        # By the index of open attempts: nobody looks at the others for them.
        of_open = ["j.seq IN (SELECT o.job FROM attempt o WHERE o.run = ? AND o.state = 0)", *where]
        order = "a.started_at IS NULL, a.started_at, j.seq"
        found = _page(reader, of_open, [run, *values], order, limit, offset)
        if offset and len(found) < limit:
            sql = f"SELECT count(*) FROM job j {_JOINED} WHERE {' AND '.join(of_open)}"
            row = reader.one(sql, run, *values)
            offset = max(0, offset - (row[0] if row else 0))
    others = [state for state in (JobState if states is None else states) if state is not JobState.OPEN]
    if not others or len(found) == limit:
        return found
    where.append(f"j.state IN ({marks(others)})")
    return found + _page(reader, where, [*values, *map(int, others)], "j.seq", limit - len(found), offset)


def _page(
    reader: Reader, where: list[str], values: list[object], order: str, limit: int, offset: int
) -> list[JobNow]:
    sql = (
        f"SELECT {COLUMNS}, j.seq, j.args, j.state FROM job j {_JOINED} "
        f"WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ? OFFSET ?"
    )
    return [_line(row) for row in reader.all(sql, *values, limit, offset)]


def _line(row: Row) -> JobNow:
    number, args, state = row[-3:]
    last = None if row[0] is None else attempt_row(row)
    return JobNow(job=number, args=unpack_args(args), state=JobState(state), last=last)


def rests(reader: Reader, run: int, *, since: int = 0) -> tuple[dict[int, float | None], int]:
    """Until when each worker rests by events behind number `since`, None for one that is back; and the last number."""
    rows = reader.each(
        "SELECT seq, type, data FROM event WHERE run = ? AND seq > ? AND type IN "
        "('host.struck', 'host.connected', 'host.trusted', 'host.lost') ORDER BY seq",
        run,
        since,
    )
    until: dict[int, float | None] = {}
    for seq, type, data in rows:
        values = json.loads(data)
        until[values["worker"]] = values.get("until") if type == "host.struck" else None
        since = seq
    return until, since
