"""What befell one host of a run: its row, and the events that name it."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice

from msgspec import Struct

from hostler.errors import UsageError
from hostler.model.events import Event, from_data
from hostler.model.hosts import Host
from hostler.stores.packing import host_from_json
from hostler.stores.reading import Reader, Row


class WorkerRow(Struct, frozen=True, kw_only=True):
    """One host of a run as the store keeps it, for people. `why` is its trouble at this moment, "" for none."""

    id: int
    host: Host
    state: str
    strikes: int
    why: str


def worker_rows(reader: Reader, run: int) -> list[WorkerRow]:
    """The hosts of a run, in order of their ids."""
    rows = reader.all("SELECT id, host, state, strikes, why FROM worker WHERE run = ? ORDER BY id", run)
    return [
        WorkerRow(id=id, host=host_from_json(host), state=state, strikes=strikes, why=why)
        for id, host, state, strikes, why in rows
    ]


def worker_named(reader: Reader, run: int, name: str) -> WorkerRow:
    """The host of a run that people call `name`, by its name or its address. Raises UsageError, naming some."""
    rows = worker_rows(reader, run)
    for row in rows:
        if name in (row.host.name, row.host.endpoint):
            return row
    near = [row for row in rows if row.host.address == name]
    if len(near) == 1:
        return near[0]
    some = ", ".join(row.host.name for row in rows[:5])
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    raise UsageError(f"run {run} has no host {name!r}, and no job of that number; its hosts are {some}{more}")


def host_events(reader: Reader, run: int, worker: int, *, limit: int = 1_000) -> list[Event]:
    """The last events that tell of one host itself, at most `limit`, in order."""
    rows = reader.each(
        "SELECT at, type, data FROM event WHERE run = ? AND type LIKE 'host.%' ORDER BY seq DESC", run
    )
    with closing(_about(rows, "worker", worker)) as told:
        return [*islice(told, limit)][::-1]


def late_results(reader: Reader, run: int, job: int, *, limit: int = 100) -> list[Event]:
    """Results of a job's attempts that came after those had been given up."""
    rows = reader.each(
        "SELECT at, type, data FROM event WHERE run = ? AND type = 'attempt.superseded' ORDER BY seq", run
    )
    with closing(_about(rows, "job", job)) as told:
        return [*islice(told, limit)]


def _about(rows: Iterator[Row], name: str, value: int) -> Generator[Event]:
    """The events among rows of (at, type, data) whose field `name` has this value."""
    for at, type, data in rows:
        values = json.loads(data)
        if values.get(name) == value and (event := from_data(type, at, values)) is not None:
            yield event


def before(reader: Reader, run: int, job: int) -> tuple[int, int | None]:
    """How many waiting jobs are to be sent before this one, and the worker that it had better not go to."""
    row = reader.one("SELECT tries, avoid FROM job WHERE run = ? AND seq = ?", run, job)
    tries, avoid = row or (0, None)
    counted = reader.one(
        "SELECT count(*) FROM job WHERE run = ? AND state = 0 AND (tries, seq) < (?, ?)", run, tries, job
    )
    return (counted[0] if counted else 0), avoid
