"""Runs as lists and screens show them, and what people call them by.

A run that has ended tells its counts from its own row; one that has not is counted job by job.
"""

from __future__ import annotations

import json
import re

from hostler.errors import UsageError
from hostler.model.commands import to_type
from hostler.model.events import StopRequested
from hostler.model.jobs import JobState
from hostler.model.runs import RunRow
from hostler.stores.reading import Reader, Row
from hostler.stores.reads.batch import job_counts, no_run_yet, unknown_run

_COLUMNS = (
    "number, uid, kind, state, epoch, owner, created, started, finished, exit_code, command, counts, "
    "paused, stopping"
)
#: Seconds without a sign of life after which an owner counts as stalled: it gives one every ten.
STALLED = 60.0
_UID = re.compile(r"[0-9a-f]{4,32}\Z")


def runs(reader: Reader, *, limit: int = 20) -> list[RunRow]:
    """The newest runs first, at most `limit`."""
    rows = reader.all(f"SELECT {_COLUMNS} FROM run ORDER BY number DESC LIMIT ?", limit)
    return [_run_row(reader, row) for row in rows]


def run(reader: Reader, number: int) -> RunRow:
    """One run by its number. Raises UsageError, saying which there are."""
    row = reader.one(f"SELECT {_COLUMNS} FROM run WHERE number = ?", number)
    if row is None:
        raise unknown_run(reader, number)
    return _run_row(reader, row)


def resolve(reader: Reader, text: str) -> int:
    """The number of the run that people call `text`: a number, `last`, or the first letters of its uid.

    Raises UsageError when there is no such run, or when several uids begin so.
    """
    if text == "last":
        row = reader.one("SELECT max(number) FROM run")
        if row is None or row[0] is None:
            raise no_run_yet(text)
        return int(row[0])
    # SQLite's integers end at 2**63: no run has a longer number.
    if text.isascii() and text.isdigit() and len(text) < 19:
        number = int(text)
        if reader.one("SELECT 1 FROM run WHERE number = ?", number):
            return number
        if not _UID.match(text):
            raise unknown_run(reader, number)
    if not _UID.match(text):
        raise UsageError(f"run {text!r}: give a number, 'last', or at least 4 letters of its uid")
    found = reader.all("SELECT number FROM run WHERE uid >= ? AND uid < ? LIMIT 2", text, text + "g")
    if not found:
        raise UsageError(f"no run {text}; {to_type('runs')} lists them")
    if len(found) > 1:
        raise UsageError(f"run {text}: several uids begin so; give more letters, or the number")
    return int(found[0][0])


def has_owner(reader: Reader, number: int) -> bool:
    """Whether a living process works on the run: a `running` one without is waiting to be resumed."""
    return reader.owned(number)


def stalled(reader: Reader, number: int) -> float | None:
    """Seconds without a sign of life from the run's owner; None where it gives them, or where there is none.

    It is stopped by a signal, or hangs, or this machine has slept: only a person can say which.
    """
    silent = reader.silent(number)
    return silent if silent is not None and silent >= STALLED and reader.owned(number) else None


def _run_row(reader: Reader, row: Row) -> RunRow:
    number, uid, kind, state, epoch, owner, created, started, finished, exit_code, command, counts = row[:12]
    if counts is None:
        by_state = job_counts(reader, number)
    else:
        by_state = {JobState(int(key)): count for key, count in json.loads(counts).items()}
    return RunRow(
        number=number,
        uid=uid,
        kind=kind,
        state=state,
        epoch=epoch,
        owner=owner,
        created=created,
        started=started,
        finished=finished,
        exit_code=exit_code,
        command=command,
        counts={key.word: count for key, count in by_state.items() if count},
        paused=bool(row[12]),
        draining=row[13] == 2,
        stopping=bool(row[13]),
    )


def stopped_by(reader: Reader, run: int) -> str:
    """What the last stop of a run was for, in its own words; empty when it never was stopped."""
    words = "SELECT data FROM event WHERE run = ? AND type = ? ORDER BY seq DESC LIMIT 1"
    row = reader.one(words, run, StopRequested.type)
    return str(json.loads(row[0])["why"]) if row else ""
