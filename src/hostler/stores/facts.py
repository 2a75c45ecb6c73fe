"""What events other than those of attempts change in the rows, one small function per event.

Facts about runs, hosts and whole sets of jobs are rare: they are written one at a time. An event that is not in FACTS
changes no row and is only remembered. Nothing here may open or end a transaction.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hostler.errors import StoreError
from hostler.model.events import (
    Event,
    HostConnected,
    HostEnrolled,
    HostLost,
    HostOut,
    HostReleased,
    HostRetired,
    HostStruck,
    HostTrusted,
    JobsAccepted,
    JobsCancelled,
    JobsRequeued,
    RequestAnswered,
    RequestMade,
    RunFinished,
    RunPaused,
    RunStarted,
    RunUnpaused,
    SettingChanged,
    StopRequested,
    to_data,
)
from hostler.model.health import Fault
from hostler.stores import asking, ledger
from hostler.stores.database import Db

EventRow = tuple[int, int, float, str, str]
INSERT_EVENT = "INSERT INTO event (run, seq, at, type, data) VALUES (?, ?, ?, ?, ?)"


def event_row(run: int, seq: int, event: Event) -> EventRow:
    """An event as the row that keeps it."""
    return run, seq, event.at, event.type, json.dumps(to_data(event))


def count_jobs(db: Db, run: int) -> dict[int, int]:
    """How many jobs are in each state that occurs."""
    return dict(db.execute("SELECT state, count(*) FROM job WHERE run = ? GROUP BY state", (run,)))


def _run_started(db: Db, run: int, event: RunStarted) -> None:
    db.execute(
        "UPDATE run SET state = 'running', owner = ?, started = coalesce(started, ?), finished = NULL, "
        "exit_code = NULL, stopping = 0, counts = NULL WHERE number = ?",
        (event.owner, event.at, run),
    )
    if event.options:
        # Options given when a run is taken up again override its own from then on.
        _override(db, run, event.options)
    # What an earlier owner thought of the workers is no longer known to be so.
    db.execute("UPDATE worker SET state = 'new', why = '' WHERE run = ?", (run,))


def _override(db: Db, run: int, options: dict[str, Any]) -> None:
    (text,) = db.execute("SELECT spec FROM run WHERE number = ?", (run,)).fetchone()
    db.execute("UPDATE run SET spec = ? WHERE number = ?", (json.dumps(json.loads(text) | options), run))


def _setting_changed(db: Db, run: int, event: SettingChanged) -> None:
    _override(db, run, {event.name: event.value})


def _run_paused(db: Db, run: int, event: RunPaused | RunUnpaused) -> None:
    db.execute("UPDATE run SET paused = ? WHERE number = ?", (int(isinstance(event, RunPaused)), run))


def _run_finished(db: Db, run: int, event: RunFinished) -> None:
    counts = json.dumps(count_jobs(db, run))
    db.execute(
        "UPDATE run SET state = ?, finished = ?, exit_code = ?, owner = NULL, counts = ? WHERE number = ?",
        (event.state, event.at, event.exit_code, counts, run),
    )
    ledger.prune(db, run, event.at)


def _stop_requested(db: Db, run: int, event: StopRequested) -> None:
    db.execute("UPDATE run SET stopping = ? WHERE number = ?", (2 if event.drain else 1, run))


def _jobs_requeued(db: Db, run: int, event: JobsRequeued) -> None:
    marks = ", ".join("?" for _ in event.states)
    changed = db.execute(
        f"UPDATE job SET state = 0, tries = 0, avoid = NULL, kills = 0 WHERE run = ? AND state IN ({marks})",
        (run, *(int(state) for state in event.states)),
    ).rowcount
    if changed != event.count:
        raise StoreError(f"run {run}: {event.count} jobs were to be put back, {changed} are in those states")


def _host_connected(db: Db, run: int, event: HostConnected) -> None:
    db.execute(
        "UPDATE worker SET state = 'up', spool = ?, boot = ?, why = '' WHERE run = ? AND id = ?",
        (event.spool, event.boot, run, event.worker),
    )
    ledger.connected(db, run, event)


def _host_out(db: Db, run: int, event: HostOut) -> None:
    db.execute("UPDATE worker SET why = ? WHERE run = ? AND id = ?", (event.why, run, event.worker))


def _host_struck(db: Db, run: int, event: HostStruck) -> None:
    # One that has lost jobs answers again, or has gone out of reach for reasons of their own.
    why = "" if event.fault == Fault.LOST else event.why
    db.execute(
        "UPDATE worker SET strikes = strikes + 1, why = CASE ? WHEN '' THEN why ELSE ? END WHERE run = ? AND id = ?",
        (why, why, run, event.worker),
    )
    ledger.struck(db, run, event)


def _host_lost(db: Db, run: int, event: HostLost) -> None:
    db.execute(
        "UPDATE worker SET state = 'lost', why = ? WHERE run = ? AND id = ?", (event.why, run, event.worker)
    )
    ledger.struck(db, run, event)


def _host_trusted(db: Db, run: int, event: HostTrusted) -> None:
    # What it rested for is over.
    db.execute("UPDATE worker SET why = '' WHERE run = ? AND id = ? AND state = 'up'", (run, event.worker))
    ledger.trusted(db, run, event)


def _host_retired(db: Db, run: int, event: HostRetired) -> None:
    db.execute(
        "UPDATE worker SET state = 'retired', why = ? WHERE run = ? AND id = ?",
        (event.why, run, event.worker),
    )


def _host_released(db: Db, run: int, event: HostReleased) -> None:
    db.execute(
        "UPDATE worker SET state = 'released' WHERE run = ? AND id = ? AND state <> 'retired'",
        (run, event.worker),
    )


FACTS: dict[type[Event], Callable[[Db, int, Any], None]] = {
    RunStarted: _run_started,
    RunFinished: _run_finished,
    StopRequested: _stop_requested,
    RunPaused: _run_paused,
    RunUnpaused: _run_paused,
    SettingChanged: _setting_changed,
    RequestMade: asking.made,
    RequestAnswered: asking.answered,
    JobsAccepted: asking.jobs_accepted,
    JobsCancelled: asking.jobs_cancelled,
    HostEnrolled: asking.host_enrolled,
    JobsRequeued: _jobs_requeued,
    HostConnected: _host_connected,
    HostOut: _host_out,
    HostStruck: _host_struck,
    HostLost: _host_lost,
    HostTrusted: _host_trusted,
    HostRetired: _host_retired,
    HostReleased: _host_released,
}
