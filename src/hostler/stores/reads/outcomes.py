"""How each job of a run stands, with its host and last attempt: what one command on many hosts came to."""

from __future__ import annotations

from collections.abc import Iterator

from hostler.model.jobs import Ending, JobState
from hostler.model.outcomes import Outcome
from hostler.stores.packing import host_from_json
from hostler.stores.reading import Reader


def outcomes(reader: Reader, run: int) -> Iterator[Outcome]:
    """The jobs that are pinned to hosts, in their order; those that never began, too."""
    sql = (
        "SELECT j.seq, w.host, j.state, a.ending, a.code, a.signal, a.detail, a.elapsed FROM job j "
        "JOIN worker w ON w.run = j.run AND w.id = j.worker "
        "LEFT JOIN attempt a ON a.run = j.run AND a.job = j.seq AND a.n = j.attempts "
        "WHERE j.run = ? ORDER BY j.seq"
    )
    for job, host, state, ending, code, signal, detail, elapsed in reader.each(sql, run):
        there = host_from_json(host)
        yield Outcome(
            job=job,
            host=there.name,
            places=(there.endpoint, f"{there.address}:{there.port or 22}", there.address),
            state=JobState(state),
            ending=None if ending is None else Ending(ending),
            code=code,
            signal=signal,
            detail=detail or "",
            elapsed=elapsed,
        )
