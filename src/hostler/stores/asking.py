"""Requests as they lie in rows: made by any process, folded by the run's owner.

It must never change a row of the run itself when a request is made; that is the owner's, when it folds it.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

from msgspec.structs import asdict

from hostler.errors import StoreError
from hostler.model.events import HostEnrolled, JobsAccepted, JobsCancelled, RequestAnswered, RequestMade
from hostler.model.jobs import JobState
from hostler.model.requests import WISHES, Add, Wish
from hostler.stores.database import Db
from hostler.stores.enrolling import INSERT_WORKER
from hostler.stores.packing import host_from_json, host_to_json


def wish_to_json(wish: Wish) -> str:
    """What a wish asks for, without its kind."""
    if isinstance(wish, Add):
        return json.dumps(
            {"jobs": wish.jobs, "hosts": [json.loads(host_to_json(host)) for host in wish.hosts]}
        )
    return json.dumps(asdict(wish))


def wish_from_json(kind: str, text: str) -> Wish | None:
    """The wish that `wish_to_json` wrote; None for a kind of a later version."""
    found: Any = next((wish for wish in WISHES if wish.kind == kind), None)
    if found is None:
        return None
    args: dict[str, Any] = json.loads(text)
    if "hosts" in args:
        args["hosts"] = [host_from_json(json.dumps(host)) for host in args["hosts"]]
    known = {name: args[name] for name in found.__struct_fields__ if name in args}
    wish: Wish = found(**{name: tuple(v) if isinstance(v, list) else v for name, v in known.items()})
    return wish


def ask_for(db: Db, run: int, wish: Wish, who: str, at: float) -> int:
    """Put a wish down; the request's number."""
    (request,) = db.execute(
        "INSERT INTO request (run, at, who, kind, args, done, words) VALUES (?, ?, ?, ?, ?, 0, '') RETURNING id",
        (run, at, who, wish.kind, wish_to_json(wish)),
    ).fetchone()
    return int(request)


def ask_again(db: Db, request: int, wish: Wish) -> None:
    """Say what is wanted anew, in the transaction that put it down."""
    db.execute("UPDATE request SET args = ? WHERE id = ?", (wish_to_json(wish), request))


# -- what an owner's events change ----------------------------------------------------------------------------------


def made(db: Db, run: int, event: RequestMade) -> None:
    """A request was taken up."""
    db.execute("UPDATE request SET taken = ? WHERE id = ? AND run = ?", (event.at, event.request, run))


def answered(db: Db, run: int, event: RequestAnswered) -> None:
    """A request was answered; it is answered once. Raises StoreError."""
    changed = db.execute(
        "UPDATE request SET answered = ?, done = ?, words = ? WHERE id = ? AND run = ? AND answered IS NULL",
        (event.at, int(event.done), event.words, event.request, run),
    ).rowcount
    if not changed:
        raise StoreError(f"run {run}: request {event.request} does not wait for an answer")
    db.execute("DELETE FROM request_job WHERE request = ?", (event.request,))


def jobs_accepted(db: Db, run: int, event: JobsAccepted) -> None:
    """Jobs that lay beside a request join the run. Raises StoreError when they are not as many as that."""
    if event.request is None:
        return
    changed = db.execute(
        "INSERT INTO job (run, seq, key, args, state, tries, attempts) "
        "SELECT ?, seq + ?, key, args, 0, 0, 0 FROM request_job WHERE request = ?",
        (run, event.first - 1, event.request),
    ).rowcount
    if changed != event.last - event.first + 1:
        raise StoreError(f"run {run}: {event.last - event.first + 1} jobs were to join, {changed} are there")
    db.execute("UPDATE run SET total = ? WHERE number = ?", (event.last, run))
    # One that had finished has something to do again, and waits for somebody to go on with it.
    db.execute(
        "UPDATE run SET state = 'running', finished = NULL, exit_code = NULL "
        "WHERE number = ? AND state = 'finished'",
        (run,),
    )
    db.execute("UPDATE run SET counts = NULL WHERE number = ?", (run,))


def jobs_cancelled(db: Db, run: int, event: JobsCancelled) -> None:
    """Waiting jobs are to wait no longer. Raises StoreError when one of them doesn't wait."""
    changed = db.executemany(
        f"UPDATE job SET state = {int(JobState.CANCELLED)} WHERE run = ? AND seq = ? AND state = 0",
        [(run, job) for job in event.jobs],
    ).rowcount
    if changed != len(event.jobs):
        raise StoreError(f"run {run}: {len(event.jobs)} jobs were to be cancelled, {changed} of them wait")


def host_enrolled(db: Db, run: int, event: HostEnrolled) -> None:
    """A host that a request names joins the run; of one that is enrolled already the facts are renewed."""
    (text,) = db.execute("SELECT args FROM request WHERE id = ?", (event.request,)).fetchone()
    host = next(host for host in json.loads(text)["hosts"] if host["name"] == event.name)
    facts = host_to_json(host_from_json(json.dumps(host)))
    changed = db.execute(
        "UPDATE worker SET host = ?, state = CASE WHEN state IN ('lost', 'retired') THEN 'new' ELSE state END "
        "WHERE run = ? AND id = ? AND name = ?",
        (facts, run, event.worker, event.name),
    ).rowcount
    if not changed:
        db.execute(INSERT_WORKER, (run, event.worker, event.name, facts, secrets.token_hex(8)))
