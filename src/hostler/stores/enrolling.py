"""Hosts that join a run: at its start, and later, when it is taken up again with more of them.

It must never renumber a worker or change its token: attempts and spools are known by them.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from hostler.errors import StaleEpoch
from hostler.model.hosts import Host
from hostler.stores.database import Db
from hostler.stores.packing import host_to_json

INSERT_WORKER = (
    "INSERT INTO worker (run, id, name, host, token, serial, state, strikes, why) "
    "VALUES (?, ?, ?, ?, ?, 0, 'new', 0, '')"
)


def add_workers(db: Db, run: int, epoch: int, hosts: Sequence[Host]) -> None:
    """Enrol hosts within the transaction that is open on `db`; what is known of an enrolled one is renewed.

    Raises StaleEpoch when the run has a newer owner.
    """
    if not db.execute("SELECT 1 FROM run WHERE number = ? AND epoch = ?", (run, epoch)).fetchone():
        raise StaleEpoch(f"run {run} was taken over: it is no longer at epoch {epoch}")
    known: dict[str, int] = dict(db.execute("SELECT name, id FROM worker WHERE run = ?", (run,)))
    for host in hosts:
        facts = host_to_json(host)
        if (id := known.get(host.name)) is not None:
            db.execute("UPDATE worker SET host = ? WHERE run = ? AND id = ?", (facts, run, id))
            continue
        known[host.name] = id = max(known.values(), default=0) + 1
        db.execute(INSERT_WORKER, (run, id, host.name, facts, secrets.token_hex(8)))
