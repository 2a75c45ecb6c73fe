"""`hostler explain RUN JOB|HOST`: why a job or a host is where it is, in sentences."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from hostler.cli.parsing import Verb
from hostler.cli.storing import store_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hostler.cli.looking import Look
    from hostler.model.events import Event, HostConnected
    from hostler.model.runs import AttemptRow
    from hostler.stores.reads.hosts import WorkerRow
    from hostler.views.explaining import HostStanding, RunStanding, Told

#: What befell a host is told this far back; open attempts that are read.
LAST, OPEN_READ = 20, 20_000

#: Up to so many hosts, all that befell each of them is read for one job.
FEW = 32


@click.command(cls=Verb, epilog="\b\nExamples:\n  hostler explain last 17\n  hostler explain 42 web1 --json")
@click.argument("name", metavar="RUN")
@click.argument("what", metavar="JOB|HOST")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; times are seconds since the epoch.")
@store_option
def command(name: str, what: str, as_json: bool) -> None:
    """Say why a job or a host is where it is: what happened to it when, and what it waits for now.

    Of a job: where each attempt went, when the line of its host was lost and why, until when the host may keep it, why
    it was given back, what it waits for. Of a host: its strikes and their reasons, how it was reached, what it holds.

    RUN is a run's number, the first letters of its uid, or 'last'; JOB is a job's number, HOST a host's name or
    address.
    """
    from hostler.cli import looking
    from hostler.clock import SystemClock
    from hostler.views.explaining import drawn
    from hostler.views.text import one_line

    now = SystemClock().now()
    with looking.opened() as reader:
        seen = looking.look(reader, name)
        told = _job(seen, int(what), now=now) if _is_job(seen, what) else _host(seen, what, now=now)
        if as_json:
            click.echo(json.dumps(told.facts | _sentences(told.story, told.now), indent=2))
            return
        width = looking.columns_of(1) if looking.is_terminal(1) else None
        text = drawn(told.head, told.about, told.story, told.now, width=width)
        click.echo(
            "\n".join(one_line(line.encode("utf-8", "surrogateescape")) for line in text.split("\n")),
            nl=False,
        )


class _Explained:
    """What there is to say, for people and for programs."""

    def __init__(
        self,
        head: str,
        about: Sequence[str],
        story: Sequence[Told],
        now: Sequence[str],
        facts: dict[str, Any],
    ) -> None:
        self.head, self.about, self.story, self.now, self.facts = head, about, story, now, facts


def _is_job(seen: Look, what: str) -> bool:
    """Whether `what` is a job's number; a host may be called by a number that no job has."""
    return what.isascii() and what.isdigit() and 0 < int(what[:19]) <= sum(seen.row.counts.values())


def _sentences(story: Sequence[Told], now: Sequence[str]) -> dict[str, Any]:
    return {"story": [{"at": told.at, "text": told.text} for told in story], "now": list(now)}


# -- a job --------------------------------------------------------------------------------------------------------


def _job(seen: Look, number: int, *, now: float) -> _Explained:
    from hostler.model.events import AttemptSuperseded, HostRetired
    from hostler.model.jobs import JobState
    from hostler.stores.reads.attempts import attempts, job
    from hostler.stores.reads.hosts import before, late_results, worker_rows
    from hostler.views.explaining import Told, attempt_story, job_now, waiting_words
    from hostler.views.words import ending_text

    reader, run = seen.reader, seen.row.number
    about, made = job(reader, run, number), list(attempts(reader, run, job=number))
    standing, rows = run_standing(seen), worker_rows(reader, run)
    open_ = _open(seen)
    used = {attempt.worker for attempt in made}
    hosts = {
        row.host.name: host_standing(seen, row, open_, told=len(rows) <= FEW or row.host.name in used)
        for row in rows
    }
    story: list[Told] = []
    tries = 0
    for index, attempt in enumerate(made):
        host = hosts[attempt.worker]
        excused = any(
            isinstance(each, HostRetired) and (each.job, each.at) == (number, attempt.ended_at)
            for each in host.events
        )
        tries += attempt.ending is not None and _costs(attempt) and not excused
        story += attempt_story(
            attempt, host, standing, tries=None if excused else tries, now=now, before=made[:index]
        )
    for event in late_results(reader, run, number):
        if isinstance(event, AttemptSuperseded):
            how = ending_text(event.ending, code=event.code)
            story.append(
                Told(
                    event.at,
                    f"attempt {event.n}, given up before, ended after all: {how}; it counts for nothing",
                )
            )
    last = made[-1] if made else None
    if about.state is JobState.QUEUED:
        ahead, avoid = before(reader, run, number)
        name = next((row.host.name for row in rows if row.id == avoid), None)
        lines = waiting_words(
            standing,
            list(hosts.values()),
            ahead=ahead,
            avoid=name,
            due=_due(seen, last, about.tries, now=now),
            kills=about.kills,
        )
    else:
        lines = job_now(about.state, last, hosts[last.worker] if last else None, standing, now=now)
    command = seen.command(about.args, number)
    facts = {
        "run": run,
        "job": number,
        "state": about.state.word,
        "tries": about.tries,
        "hosts_lost": about.kills,
        "command": command,
    }
    return _Explained(
        f"job {number} of {seen.row.verb} {run}: {about.state.word}", [command], story, lines, facts
    )


def _costs(attempt: AttemptRow) -> bool:
    """Whether an attempt's end has used up one of its job's tries."""
    from hostler.model.jobs import BLAMES_JOB

    return attempt.ending in BLAMES_JOB


def _due(seen: Look, last: AttemptRow | None, tries: int, *, now: float) -> float | None:
    """When a waiting job may be tried again; None when it may be at once."""
    from hostler.model.retrying import delay_before

    if last is None or last.ended_at is None or not _costs(last) or not seen.spec.retry_delay:
        return None
    due = last.ended_at + delay_before(tries, first=seen.spec.retry_delay, most=seen.spec.retry_delay_max)
    return due if due > now else None


# -- a host -------------------------------------------------------------------------------------------------------


def _host(seen: Look, name: str, *, now: float) -> _Explained:
    from hostler.cli.looking import host_figures
    from hostler.model.durations import format_duration
    from hostler.stores.reads import ledger
    from hostler.stores.reads.hosts import worker_named
    from hostler.views.explaining import host_now, host_story, jobs_listed
    from hostler.views.machines import health_facts, health_words
    from hostler.views.tables import counted

    row = worker_named(seen.reader, seen.row.number, name)
    open_ = [attempt for attempt in _open(seen) if attempt.worker == row.host.name]
    standing = host_standing(seen, row, open_, told=True)
    figures = next(host for host in host_figures(seen) if host.host == row.host.name)
    mean = f", {format_duration(figures.mean)} each" if figures.mean else ""
    ended = f"{figures.ok} ok, {figures.failed} failed, {figures.gone} lost"
    did = f"{counted(figures.ended, 'attempt')} ended here: {ended}{mean}"
    connected = _connected(standing.events)
    way = connected.way if connected is not None else ""
    about = [
        f"reached at {row.host.endpoint}" + (f" through {row.host.jump}" if row.host.jump else "")
        + (f", by {way}" if way else ""),
        f"{counted(row.strikes, 'strike')} in this run",
        did,
    ]  # fmt: skip
    health = ledger.health(seen.reader, [row.host.machine]).get(row.host.machine)
    if health is not None:
        about += health_words(health, now=now)
    if seen.alive:
        lines = [host_now(standing)]
    else:
        lines = [
            "the run is over"
            if seen.row.state == "finished"
            else "nobody works on the run, and so on this host"
        ]
    begun = [attempt for attempt in open_ if attempt.began is not None]
    ahead = [attempt for attempt in open_ if attempt.began is None]
    for some, word in ((begun, "at work there"), (ahead, "sent there, not started")):
        if some:
            lines.append(f"{word}: job{'s' if len(some) > 1 else ''} {jobs_listed(some)}")
    facts = {
        "run": seen.row.number,
        "host": row.host.name,
        "endpoint": row.host.endpoint,
        "way": way or None,
        "state": figures.state,
        "why": row.why,
        "strikes": row.strikes,
        "ledger": health_facts(health, now=now),
        "slots": standing.slots,
        "running": [attempt.job for attempt in begun],
        "sent_ahead": [attempt.job for attempt in ahead],
        "ok": figures.ok,
        "failed": figures.failed,
        "lost": figures.gone,
    }
    head = f"host {row.host.name} in {seen.row.verb} {seen.row.number}: {figures.state}"
    return _Explained(head, about, host_story(standing, last=LAST), lines, facts)


# -- what both need -----------------------------------------------------------------------------------------------


def run_standing(seen: Look) -> RunStanding:
    """The run at this moment."""
    from hostler.stores.reads.runs import stopped_by
    from hostler.views.explaining import RunStanding

    return RunStanding(
        number=seen.row.number,
        verb=seen.row.verb,
        alive=seen.alive,
        state=seen.row.state,
        paused=seen.row.paused,
        stopping=seen.row.stopping,
        stopped_by=stopped_by(seen.reader, seen.row.number) if seen.row.stopping else "",
        retries=seen.spec.retries,
        lease=seen.spec.lease,
        retry_on=seen.spec.retry_on,
    )


def host_standing(seen: Look, row: WorkerRow, open_: Sequence[AttemptRow], *, told: bool) -> HostStanding:
    """One host at this moment; with what befell it where that is to be told, or where it is out."""
    from hostler.stores.reads.hosts import host_events
    from hostler.views.explaining import HostStanding

    events = host_events(seen.reader, seen.row.number, row.id) if told or row.why else []
    connected = _connected(events)
    mine = [attempt for attempt in open_ if attempt.worker == row.host.name]
    running = sum(attempt.began is not None for attempt in mine)
    return HostStanding(
        name=row.host.name,
        state=row.state,
        why=row.why,
        events=events,
        running=running,
        ahead=len(mine) - running,
        slots=seen.spec.slots or row.host.slots or (connected.slots if connected else None),
    )


def _connected(events: Sequence[Event]) -> HostConnected | None:
    """When the host answered last, as far as that was read; None when it never did."""
    from hostler.model.events import HostConnected

    return next((event for event in reversed(events) if isinstance(event, HostConnected)), None)


def _open(seen: Look) -> list[AttemptRow]:
    from hostler.stores.reads.attempts import open_attempts

    return open_attempts(seen.reader, seen.row.number, limit=OPEN_READ)
