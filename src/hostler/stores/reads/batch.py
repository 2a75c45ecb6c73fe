"""What the engine needs of a batch: to begin, to go on, and to have jobs at hand.

Counters, open attempts and workers only; the queue is asked for by the windowful, however long it is.
"""

from __future__ import annotations

from hostler.errors import UsageError
from hostler.model.commands import to_type
from hostler.model.jobs import BLAMES_JOB, JobState, Queued
from hostler.model.runs import BatchRows, BatchSpec, OpenAttempt, Worker
from hostler.stores.packing import host_from_json, spec_from_json, unpack_args
from hostler.stores.reading import Reader
from hostler.stores.reads.ledger import health

#: What is said where there is no run at all.
NO_RUNS = "there are no runs yet (hostler batch makes one)"

#: When a waiting job's last attempt failed, NULL when it was not the job that ended it.
_SINCE = (
    "CASE WHEN tries > 0 THEN (SELECT a.ended_at FROM attempt a WHERE a.run = job.run AND a.job = job.seq "
    f"AND a.n = job.attempts AND a.ending IN ({', '.join(f'{ending.value!r}' for ending in BLAMES_JOB)})) END"
)


def batch_rows(reader: Reader, run: int) -> BatchRows:
    """All of a run that the engine needs, read at one moment. Raises UsageError for an unknown run.

    Takes about 0.3 s for a million jobs: it counts them.
    """
    with reader.moment():
        row = reader.one("SELECT spec, stopping, paused FROM run WHERE number = ?", run)
        if row is None:
            raise unknown_run(reader, run)
        enrolled = workers(reader, run)
        return BatchRows(
            spec=spec_from_json(row[0]),
            counts=job_counts(reader, run),
            open=tuple(_open_attempts(reader, run)),
            workers=tuple(enrolled),
            health=health(reader, (worker.host.machine for worker in enrolled)),
            stopping=bool(row[1]),
            draining=row[1] == 2,
            paused=bool(row[2]),
        )


def job_counts(reader: Reader, run: int) -> dict[JobState, int]:
    """How many jobs are in each state, with a number for every state."""
    found: dict[int, int] = dict(
        reader.all("SELECT state, count(*) FROM job WHERE run = ? GROUP BY state", run)
    )
    return {state: found.get(state._value_, 0) for state in JobState}


def queued(reader: Reader, run: int, *, after: tuple[int, int], limit: int) -> list[Queued]:
    """Waiting jobs in order of (tries, job number), those after that pair, at most `limit`."""
    rows = reader.all(
        f"SELECT seq, args, tries, attempts, avoid, kills, {_SINCE}, worker FROM job "
        "WHERE run = ? AND state = 0 AND (tries, seq) > (?, ?) ORDER BY tries, seq LIMIT ?",
        run,
        *after,
        limit,
    )
    return [
        Queued(job, unpack_args(args), tries, attempts, avoid, kills, since, pin)
        for job, args, tries, attempts, avoid, kills, since, pin in rows
    ]


def workers(reader: Reader, run: int) -> list[Worker]:
    """The hosts enrolled in a run, in order of their ids."""
    rows = reader.all(
        "SELECT id, host, token, spool, boot, serial FROM worker WHERE run = ? ORDER BY id", run
    )
    return [
        Worker(id=id, host=host_from_json(host), token=token, spool=spool, boot=boot, serial=serial)
        for id, host, token, spool, boot, serial in rows
    ]


def _open_attempts(reader: Reader, run: int) -> list[OpenAttempt]:
    rows = reader.all(
        "SELECT a.job, a.n, a.worker, a.serial, j.args, j.tries, a.started_seq IS NOT NULL, "
        "a.dispatched_at, a.started_at, j.kills, j.worker "
        "FROM attempt a JOIN job j ON j.run = a.run AND j.seq = a.job "
        "WHERE a.run = ? AND a.state = 0 ORDER BY a.job",
        run,
    )
    return [
        OpenAttempt(
            job=job,
            n=n,
            worker=worker,
            serial=serial,
            args=unpack_args(args),
            tries=tries,
            started=bool(started),
            dispatched_at=at,
            started_at=since,
            kills=kills,
            pin=pin,
        )
        for job, n, worker, serial, args, tries, started, at, since, kills, pin in rows
    ]


def spec(reader: Reader, run: int) -> BatchSpec:
    """What a batch wants, without counting its jobs. Raises UsageError for an unknown run."""
    row = reader.one("SELECT spec FROM run WHERE number = ?", run)
    if row is None:
        raise unknown_run(reader, run)
    return spec_from_json(row[0])


def unknown_run(reader: Reader, run: int) -> UsageError:
    """The error that says which runs there are."""
    row = reader.one("SELECT max(number) FROM run")
    last = row[0] if row else None
    if last is None:
        return no_run_yet(str(run))
    return UsageError(f"no run {run}; the newest is {last} (see: {to_type('runs')})")


def no_run_yet(called: str) -> UsageError:
    """The error for a run that was asked for where there is none at all.

    >>> print(no_run_yet("last"))
    no run last: there are no runs yet (hostler batch makes one)
    """
    return UsageError(f"no run {called}: {NO_RUNS}")
