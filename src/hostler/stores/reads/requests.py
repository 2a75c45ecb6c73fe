"""What is wanted of a run, and how its owner answered."""

from __future__ import annotations

from collections.abc import Sequence

from hostler.model.jobs import JobState
from hostler.model.requests import Request
from hostler.stores.asking import wish_from_json
from hostler.stores.reading import Reader, Row

_COLUMNS = "id, run, at, who, kind, args, taken, answered, done, words"


def request(reader: Reader, id: int) -> Request | None:
    """One request, or None."""
    row = reader.one(f"SELECT {_COLUMNS} FROM request WHERE id = ?", id)
    return None if row is None else _request(row)


def waiting(reader: Reader, run: int) -> list[Request]:
    """The requests that wait for an answer, in the order in which they were made."""
    return [
        _request(row)
        for row in reader.all(
            f"SELECT {_COLUMNS} FROM request WHERE run = ? AND answered IS NULL ORDER BY id LIMIT 1000", run
        )
    ]


def requests(reader: Reader, run: int) -> list[Request]:
    """All that was ever wanted of a run, in order."""
    return [
        _request(row) for row in reader.all(f"SELECT {_COLUMNS} FROM request WHERE run = ? ORDER BY id", run)
    ]


def standings(reader: Reader, run: int, jobs: Sequence[int]) -> dict[int, JobState]:
    """The states of these jobs; one that the run doesn't have is left out."""
    found = ((job, reader.one("SELECT state FROM job WHERE run = ? AND seq = ?", run, job)) for job in jobs)
    return {job: JobState(row[0]) for job, row in found if row is not None}


def _request(row: Row) -> Request:
    id, run, at, who, kind, args, taken, answered, done, words = row
    return Request(
        id=id,
        run=run,
        at=at,
        who=who,
        kind=kind,
        wish=wish_from_json(kind, args),
        taken=taken,
        answered=answered,
        done=bool(done),
        words=words,
    )
