"""The history of a run, in order: events that stand in rows of their own, and those that are columns of attempts.

It is read in pages, each from one commit, so that following a run costs what is new and never holds a writer's log.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from hostler.model.events import AttemptDispatched, AttemptEnded, AttemptStarted, Event, from_data
from hostler.model.jobs import Ending, JobState, OutputRef
from hostler.stores.reading import Reader

_TURNS = 32
_EVENTS = 1_000

_ATTEMPT = (
    "SELECT worker, serial, dispatched_seq, dispatched_at, started_seq, started_at, ended_seq, ended_at, "
    "ending, after, tries, code, signal, elapsed, file, file_offset, out, err, interleaved, detail "
    "FROM attempt WHERE run = ? AND job = ? AND n = ?"
)


class UnknownEvent(Struct, frozen=True, kw_only=True):
    """An event of a type that this version has no class for, as it was written."""

    type: str
    at: float
    data: dict[str, Any]


Numbered = tuple[int, Event | UnknownEvent]


def events(reader: Reader, run: int, *, since: int = 0) -> Iterator[Numbered]:
    """The run's events numbered above `since`, in order, up to the last one at the moment of asking for it."""
    more = True
    while more:
        page, since, more = _page(reader, run, since)
        yield from page


def _page(reader: Reader, run: int, since: int) -> tuple[list[Numbered], int, bool]:
    """Some events after `since`, the number up to which they are complete, and whether there are more."""
    with reader.moment():
        turns = reader.all(
            "SELECT seq, attempts FROM turn WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?",
            run,
            since,
            _TURNS,
        )
        rows = reader.all(
            "SELECT seq, at, type, data FROM event WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?",
            run,
            since,
            _EVENTS,
        )
        # Beyond the end of a list that was cut short, the other may not be told yet.
        ends = [found[-1][0] for found, limit in ((turns, _TURNS), (rows, _EVENTS)) if len(found) == limit]
        last = min(ends, default=1 << 62)
        page: list[Numbered] = [(seq, _stored(at, type, data)) for seq, at, type, data in rows]
        keys: set[tuple[int, int]] = set()
        for seq, attempts in turns:
            # The turn that reaches across the end belongs to this page with its beginning.
            numbers = iter(json.loads(attempts))
            keys.update(zip(numbers, numbers, strict=True))
            if seq >= last:
                break
        for job, n in keys:
            page += _of_attempt(reader, run, job, n)
    page = [numbered for numbered in page if since < numbered[0] <= last]
    page.sort(key=lambda numbered: numbered[0])
    return page, last, bool(ends)


def _stored(at: float, type: str, data: str) -> Event | UnknownEvent:
    values = json.loads(data)
    return from_data(type, at, values) or UnknownEvent(type=type, at=at, data=values)


def _of_attempt(reader: Reader, run: int, job: int, n: int) -> Iterator[Numbered]:
    row = reader.one(_ATTEMPT, run, job, n)
    if row is None:
        return
    worker, serial, dispatched_seq, dispatched_at, started_seq, started_at, ended_seq, ended_at = row[:8]
    yield dispatched_seq, AttemptDispatched(at=dispatched_at, job=job, n=n, worker=worker, serial=serial)
    if started_seq is not None:
        yield started_seq, AttemptStarted(at=started_at, job=job, n=n)
    if ended_seq is not None:
        ending, after, tries, code, signal, elapsed, file, offset, out, err, interleaved, detail = row[8:]
        output = None if file is None else OutputRef(file, offset, out, err, bool(interleaved))
        yield (
            ended_seq,
            AttemptEnded(
                at=ended_at,
                job=job,
                n=n,
                ending=Ending(ending),
                then=JobState(after),
                tries=tries,
                code=code,
                signal=signal,
                elapsed=elapsed,
                output=output,
                detail=detail,
            ),
        )
