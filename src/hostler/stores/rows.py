"""A turn's events as changes of rows, grouped by kind and written in bulk.

Grouped or one by one, the same rows come out: what a turn says of one attempt or job is folded here before anything is
written. Every change is compare-and-set, and one that finds nothing to change fails the turn: no result is ever dropped
silently. It must never open or end a transaction, and never read a clock.
"""

from __future__ import annotations

import json
from itertools import chain
from typing import Any, Final

from hostler.errors import StaleEpoch, StoreError
from hostler.model.events import AttemptDispatched, AttemptEnded, AttemptStarted
from hostler.model.jobs import Ending, JobState
from hostler.ports import Turn
from hostler.stores.database import Db
from hostler.stores.facts import FACTS, INSERT_EVENT, EventRow, event_row
from hostler.stores.reading import Reader

# Enum members are bound slowly and hashed slowly; at two facts a job their plain values are worth having.
_QUEUED: Final = JobState.QUEUED._value_
_OPEN: Final = JobState.OPEN._value_
# Python's driver binds exact ints, floats and strs at once and looks for an adapter for all else, None and bool
# included, at ten times the cost. So what is absent goes as a number that no host can send, and is NULL again in SQL.
_NONE: Final = -(1 << 62)
_NO_TIME: Final = -1.0
_NOT_STARTED: Final = (_NONE, _NO_TIME)
_NO_OUTPUT: Final = ("", _NONE, _NONE, _NONE, _NONE)

_DISPATCHED = """INSERT INTO attempt (run, job, n, worker, serial, state, dispatched_seq, dispatched_at, detail)
VALUES (?, ?, ?, ?, ?, 0, ?, ?, '')"""
_STARTED = (
    "UPDATE attempt SET started_seq = ?, started_at = ? WHERE run = ? AND job = ? AND n = ? AND state = 0"
)
_ENDED = f"""UPDATE attempt SET state = 1,
started_seq = coalesce(nullif(?, {_NONE}), started_seq), started_at = coalesce(nullif(?, {_NO_TIME}), started_at),
ended_seq = ?, ended_at = ?, ending = ?, after = ?, tries = ?, code = nullif(?, {_NONE}), signal = nullif(?, {_NONE}),
elapsed = nullif(?, {_NO_TIME}), file = nullif(?, ''), file_offset = nullif(?, {_NONE}), out = nullif(?, {_NONE}),
err = nullif(?, {_NONE}), interleaved = nullif(?, {_NONE}), detail = ?
WHERE run = ? AND job = ? AND n = ? AND state = 0"""
_JOB_OUT = "UPDATE job SET state = 1, attempts = ? WHERE run = ? AND seq = ? AND state = 0"
_JOB_BACK = "UPDATE job SET state = ?, tries = ? WHERE run = ? AND seq = ? AND state = 1"
_JOB_ANY = """UPDATE job SET state = ?, tries = coalesce(?, tries), attempts = coalesce(?, attempts),
avoid = coalesce((SELECT worker FROM attempt WHERE run = ? AND job = ? AND n = ?), avoid)
WHERE run = ? AND seq = ? AND state = ?"""
_KILLS = "UPDATE job SET kills = ? WHERE run = ? AND seq = ?"
_SERIAL = "UPDATE worker SET serial = CASE WHEN serial < ? THEN ? ELSE serial END WHERE run = ? AND id = ?"


def write_turn(db: Db, turn: Turn) -> None:
    """Write a turn's changes within the transaction that is open on `db`.

    Raises StaleEpoch when the run has a newer owner, StoreError when an event doesn't fit the rows.
    """
    run = turn.run
    last = turn.seq + len(turn.events) - 1
    _guard(db, turn, last)
    changes = _Changes(run)
    others: list[EventRow] = []
    for seq, event in enumerate(turn.events, turn.seq):
        if isinstance(event, AttemptEnded):
            changes.ended(seq, event)
        elif isinstance(event, AttemptDispatched):
            changes.dispatched(db, seq, event)
        elif isinstance(event, AttemptStarted):
            changes.started(seq, event)
        else:
            others.append(event_row(run, seq, event))
            if (fact := FACTS.get(type(event))) is not None:
                # It may count or move jobs: what came before it in the turn must be in the rows by then.
                changes.write(db)
                fact(db, run, event)
    changes.write(db)
    if changes.touched:
        touched = json.dumps([*chain.from_iterable(changes.touched)], separators=(",", ":"))
        db.execute("INSERT INTO turn (run, seq, attempts) VALUES (?, ?, ?)", (run, last, touched))
    if others:
        db.executemany(INSERT_EVENT, others)


def has_turn(reader: Reader, turn: Turn) -> bool:
    """Whether this turn of the run's owner is its last one on record: nobody else writes under its epoch."""
    last = turn.seq + len(turn.events) - 1
    found = reader.one(
        "SELECT 1 FROM run WHERE number = ? AND epoch = ? AND seq = ?", turn.run, turn.epoch, last
    )
    return found is not None


def _guard(db: Db, turn: Turn, last: int) -> None:
    """Advance the run's event number, if it is still ours and the turn is the next one."""
    changed = db.execute(
        "UPDATE run SET seq = ? WHERE number = ? AND epoch = ? AND seq = ?",
        (last, turn.run, turn.epoch, turn.seq - 1),
    ).rowcount
    if changed:
        return
    row = db.execute("SELECT epoch, seq FROM run WHERE number = ?", (turn.run,)).fetchone()
    if row is None:
        raise StoreError(f"run {turn.run} is not in this store")
    if row[0] != turn.epoch:
        raise StaleEpoch(
            f"run {turn.run} was taken over: it is at epoch {row[0]}, this is epoch {turn.epoch}"
        )
    raise StoreError(
        f"run {turn.run}: a turn begins with event {turn.seq}, the last one on record is {row[1]}"
    )


class _Changes:
    """The attempts and jobs of a turn, folded until they are written."""

    def __init__(self, run: int) -> None:
        self._run = run
        self.touched: dict[tuple[int, int], None] = {}
        self._clear()

    def _clear(self) -> None:
        self._dispatched: dict[tuple[int, int], tuple[Any, ...]] = {}
        self._started: dict[tuple[int, int], tuple[int, float]] = {}
        self._ended: dict[tuple[int, int], tuple[Any, ...]] = {}
        # job -> state before, state after, tries, attempts, the attempt whose ending put it back
        self._jobs: dict[int, tuple[int, int, int | None, int | None, int | None]] = {}
        self._serials: dict[int, int] = {}
        self._kills: dict[int, int] = {}

    def dispatched(self, db: Db, seq: int, event: AttemptDispatched) -> None:
        job, n, worker = event.job, event.n, event.worker
        known = self._jobs.get(job)
        if known is None:
            self._jobs[job] = (_QUEUED, _OPEN, None, n, None)
        elif known[1] != _QUEUED:
            raise self._misfit(job, n, "was dispatched while its job doesn't wait")
        elif known[3] is not None:
            # Its second attempt in one turn: the first must have left the index of open attempts.
            self.write(db)
            self._jobs[job] = (_QUEUED, _OPEN, None, n, None)
        else:
            self._jobs[job] = (known[0], _OPEN, known[2], n, known[4])
        self._dispatched[job, n] = (self._run, job, n, worker, event.serial, seq, event.at)
        self.touched[job, n] = None
        if event.serial > self._serials.get(worker, 0):
            self._serials[worker] = event.serial

    def started(self, seq: int, event: AttemptStarted) -> None:
        key = (event.job, event.n)
        if key in self._ended:
            raise self._misfit(*key, "started after its end")
        self._started[key] = (seq, event.at)
        self.touched[key] = None

    def ended(self, seq: int, event: AttemptEnded) -> None:
        job, n, then = event.job, event.n, event.then._value_
        known = self._jobs.get(job)
        # A plain taking back is nobody's fault; one with a reason is a refusal.
        blame = n if then == _QUEUED and (event.ending is not Ending.REVOKED or event.detail) else None
        if known is None:
            self._jobs[job] = (_OPEN, then, event.tries, None, blame)
        elif known[1] != _OPEN:
            raise self._misfit(job, n, "ended while its job has none open")
        else:
            self._jobs[job] = (known[0], then, event.tries, known[3], blame or known[4])
        if event.kills:
            self._kills[job] = event.kills
        ref = event.output
        self._ended[job, n] = (
            *self._started.pop((job, n), _NOT_STARTED),
            seq,
            event.at,
            event.ending._value_,
            then,
            event.tries,
            _NONE if event.code is None else event.code,
            _NONE if event.signal is None else event.signal,
            _NO_TIME if event.elapsed is None else event.elapsed,
            *((ref.file, ref.offset, ref.out, ref.err, int(ref.indexed)) if ref else _NO_OUTPUT),
            event.detail,
            self._run,
            job,
            n,
        )
        self.touched[job, n] = None

    def write(self, db: Db) -> None:
        """Write what was folded so far, attempts before the jobs that look at them."""
        run, fresh, ended = self._run, self._dispatched, self._ended
        self._apply(db, _ENDED, [row for key, row in ended.items() if key not in fresh], "attempts to end")
        self._apply(db, _DISPATCHED, list(fresh.values()), "attempts to dispatch")
        started = [(*row, run, job, n) for (job, n), row in self._started.items()]
        self._apply(db, _STARTED, started, "attempts to start")
        self._apply(db, _ENDED, [row for key, row in ended.items() if key in fresh], "attempts to end")
        out: list[tuple[Any, ...]] = []
        back: list[tuple[Any, ...]] = []
        rest: list[tuple[Any, ...]] = []
        for job, (before, after, tries, attempts, blame) in self._jobs.items():
            if tries is None:
                out.append((attempts, run, job))
            elif attempts is None and blame is None:
                back.append((after, tries, run, job))
            else:
                rest.append((after, tries, attempts, run, job, blame, run, job, before))
        self._apply(db, _JOB_OUT, out, "waiting jobs")
        self._apply(db, _JOB_BACK, back, "jobs with an open attempt")
        self._apply(db, _JOB_ANY, rest, "jobs")
        self._apply(db, _KILLS, [(kills, run, job) for job, kills in self._kills.items()], "jobs")
        self._apply(
            db, _SERIAL, [(serial, serial, run, id) for id, serial in self._serials.items()], "workers"
        )
        self._clear()

    def _apply(self, db: Db, sql: str, rows: list[tuple[Any, ...]], what: str) -> None:
        if not rows:
            return
        changed = db.executemany(sql, rows).rowcount
        if changed != len(rows):
            raise StoreError(f"run {self._run}: {len(rows)} {what}, of which {changed} are on record as such")

    def _misfit(self, job: int, n: int, why: str) -> StoreError:
        return StoreError(f"run {self._run}: attempt {n} of job {job} {why}")
