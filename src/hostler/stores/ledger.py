"""How machines behave, written down: what befalls a host of any run is folded into its machine's one row.

Two names of one machine, and two runs at once, write to the same row. It must never decide anything, and never hold
what a machine did within one run: that is the worker's row and the events'.
"""

from __future__ import annotations

from collections.abc import Callable

from hostler.model.events import HostConnected, HostLost, HostStruck, HostTrusted
from hostler.model.health import Health
from hostler.model.hosts import Host
from hostler.stores.database import Db
from hostler.stores.packing import host_from_json

#: Seconds after which a machine that no run has met is forgotten.
KEPT = 90 * 86400.0
#: The columns that are a Health, in the order of `health_of` and `_values`.
COLUMNS = "strikes, struck_at, fault, why, probation, answered_at, took, skew, free, load, cpus"

Row = tuple[
    float,
    float,
    str,
    str,
    int,
    float | None,
    float | None,
    float | None,
    int | None,
    float | None,
    int | None,
]


def health_of(row: Row) -> Health:
    """A Health from COLUMNS."""
    strikes, struck_at, fault, why, probation, answered_at, took, skew, free, load, cpus = row
    return Health(
        strikes=strikes, struck_at=struck_at, fault=fault, why=why, probation=bool(probation),
        answered_at=answered_at, took=took, skew=skew, free=free, load=load, cpus=cpus,
    )  # fmt: skip


def connected(db: Db, run: int, event: HostConnected) -> None:
    """A worker answers, and tells of itself."""
    _fold(db, run, event.worker, lambda health: health.answered(
        event.at, took=event.took, skew=event.skew, free=event.free, load=event.load, cpus=event.cpus
    ))  # fmt: skip


def struck(db: Db, run: int, event: HostStruck | HostLost) -> None:
    """A worker gets a strike; not every one that is given up does."""
    if event.fault:
        _fold(db, run, event.worker, lambda health: health.struck(event.at, event.fault, event.why))


def trusted(db: Db, run: int, event: HostTrusted) -> None:
    """A worker has shown that it is well."""
    _fold(db, run, event.worker, Health.trusted)


def prune(db: Db, run: int, at: float) -> None:
    """Forget machines that were launched for a run, which end with it, and those that nobody met for `KEPT` seconds.

    Those have no strikes left: half of them fade in half an hour. One that was kept begins anew when it is met again.
    """
    launched = db.execute(
        "SELECT host FROM worker WHERE run = ? AND host LIKE '%\"instance\"%'", (run,)
    ).fetchall()
    hosts = [host_from_json(text) for (text,) in launched]
    ended = [(host.machine,) for host in hosts if host.instance is not None]
    if ended:
        db.executemany("DELETE FROM machine WHERE id = ?", ended)
    db.execute(
        "DELETE FROM machine WHERE struck_at < ? AND coalesce(answered_at, 0) < ?", (at - KEPT, at - KEPT)
    )


def _fold(db: Db, run: int, worker: int, change: Callable[[Health], Health]) -> None:
    row = db.execute("SELECT host FROM worker WHERE run = ? AND id = ?", (run, worker)).fetchone()
    if row is None:
        return
    host: Host = host_from_json(row[0])
    # Writing first takes the row's lock, where a database has one: what is read then is the newest.
    db.execute(
        "INSERT INTO machine (id, name, endpoint, run, strikes, struck_at, fault, why, probation) "
        "VALUES (?, ?, ?, ?, 0, 0, '', '', 0) "
        "ON CONFLICT (id) DO UPDATE SET name = excluded.name, endpoint = excluded.endpoint, run = excluded.run",
        (host.machine, host.name, host.endpoint, run),
    )
    before = db.execute(f"SELECT {COLUMNS} FROM machine WHERE id = ?", (host.machine,)).fetchone()
    after = change(health_of(before))
    db.execute(
        "UPDATE machine SET strikes = ?, struck_at = ?, fault = ?, why = ?, probation = ?, answered_at = ?, "
        "took = ?, skew = ?, free = ?, load = ?, cpus = ? WHERE id = ?",
        (
            after.strikes, after.struck_at, after.fault, after.why, int(after.probation), after.answered_at,
            after.took, after.skew, after.free, after.load, after.cpus, host.machine,
        ),
    )  # fmt: skip
