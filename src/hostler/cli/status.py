"""`hostler status RUN`: how a run stands, on one screen."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from hostler.cli.options import colour_option
from hostler.cli.parsing import Verb
from hostler.cli.storing import store_option
from hostler.model.commands import to_type

if TYPE_CHECKING:
    from hostler.cli.looking import Look
    from hostler.engine.summary import HostFigures, Summary
    from hostler.model.runs import AttemptRow

#: Open attempts shown, and read.
OPEN_SHOWN, OPEN_READ = 10, 10_000


@click.command(cls=Verb, epilog="\b\nExamples:\n  hostler status last\n  hostler status 42 --json")
@click.argument("name", metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; times are seconds since the epoch.")
@colour_option
@store_option
def command(name: str, as_json: bool, color: str) -> None:
    """Show how a run stands: its jobs, its hosts, what is open, and what to do next.

    RUN is a run's number, the first letters of its uid, or 'last'.
    """
    from hostler.cli import looking
    from hostler.clock import SystemClock

    now = SystemClock().now()
    with looking.opened() as reader:
        seen = looking.look(reader, name)
        result, hosts = looking.summary(seen, now=now), looking.host_figures(seen)
        open_ = _open(seen)
        if as_json:
            click.echo(json.dumps(facts(seen, result, hosts, open_, now=now), indent=2))
        else:
            text = screen(seen, result, hosts, open_, now=now, colour=looking.colour_of(1, color))
            click.echo(text, nl=False)


def _open(seen: Look) -> list[AttemptRow]:
    """Attempts that have not ended, those that run longest first."""
    from hostler.model.jobs import JobState
    from hostler.stores.reads.attempts import attempts

    if not seen.counts.get(JobState.OPEN):
        return []
    found = list(attempts(seen.reader, seen.row.number, states=(JobState.OPEN,), limit=OPEN_READ))
    return sorted(found, key=lambda attempt: (attempt.started_at is None, attempt.started_at, attempt.job))


def facts(
    seen: Look, result: Summary, hosts: list[HostFigures], open_: list[AttemptRow], *, now: float
) -> dict[str, Any]:
    """What scripts are told of the run."""
    from hostler.cli.runs import facts as run_facts

    return run_facts(seen.row, alive=seen.alive, stalled=seen.stalled) | {
        "seconds": result.elapsed,
        "rate": result.rate,
        "next": next_step(seen, result),
        "hosts": [host_facts(host, elapsed=result.elapsed) for host in hosts],
        "open": [
            {
                "job": attempt.job,
                "attempt": attempt.n,
                "host": attempt.worker,
                "started": attempt.started_at,
                "seconds": None if attempt.started_at is None else max(0.0, now - attempt.started_at),
            }
            for attempt in open_
        ],
    }


def host_facts(host: HostFigures, *, elapsed: float | None) -> dict[str, Any]:
    """What scripts are told of one host."""
    return {
        "name": host.host,
        "state": host.state,
        "why": host.why,
        "ok": host.ok,
        "failed": host.failed,
        "lost": host.gone,
        "open": host.open,
        "mean": host.mean,
        "busy": host.share(elapsed),
    }


def next_step(seen: Look, result: Summary) -> str | None:
    """The command that goes on with the run, or watches it; None when there is nothing to do."""
    if pause := _paused(seen):
        return pause
    return _onward(seen, result)


def _paused(seen: Look) -> str:
    """The command that must come first where a run is paused; empty where none is."""
    return to_type(f"unpause {seen.row.number}") if seen.row.paused and seen.row.state != "finished" else ""


def _onward(seen: Look, result: Summary) -> str | None:
    if seen.alive:
        return to_type(f"{seen.row.verb} --resume {seen.row.number}")
    return result.next_command


def screen(
    seen: Look,
    result: Summary,
    hosts: list[HostFigures],
    open_: list[AttemptRow],
    *,
    now: float,
    colour: bool,
) -> str:
    """The run as people read it."""
    from hostler.cli.looking import columns_of, stalled_words
    from hostler.views import report
    from hostler.views.text import fit, one_line
    from hostler.views.words import when

    row, width = seen.row, columns_of(1)
    owner = row.owner or "?"
    if seen.stalled is not None:
        owner = stalled_words(row, seen.stalled)
    elif not seen.alive:
        owner = "nobody works on it"
    about = [
        ("command", one_line(row.command.encode("utf-8", "surrogateescape"))),
        ("started", when(row.started or row.created)),
        ("ended", when(row.finished) if row.finished is not None else ""),
        ("owner", "" if row.state == "finished" else one_line(owner.encode())),
        ("uid", row.uid),
    ]
    blocks = [
        report.headline(result, hosts, colour=colour),
        "".join(fit(f"  {word:<9}{text}", width) + "\n" for word, text in about if text),
        report.hosts_block(hosts, elapsed=result.elapsed, width=width, colour=colour),
        report.lost_block(hosts, width=width),
        _open_block(seen, open_, now=now, width=width, colour=colour),
        _next_block(seen, result, colour=colour),
    ]
    return "\n".join(block for block in blocks if block)


def _open_block(seen: Look, open_: list[AttemptRow], *, now: float, width: int, colour: bool) -> str:
    from hostler.cli.looking import lease_over
    from hostler.model.jobs import JobState
    from hostler.views.tables import Column, counted, table
    from hostler.views.words import took

    if not open_:
        return ""
    heads = [
        Column("job", right=True),
        Column("attempt", right=True),
        Column("host"),
        Column("runs", right=True),
    ]
    heads.append(Column("command", widest=None))
    rows = [
        (
            str(attempt.job),
            str(attempt.n),
            attempt.worker,
            took(attempt, now=now),
            seen.command_of(attempt.job, width=width),
        )
        for attempt in open_[:OPEN_SHOWN]
    ]
    count, asked = seen.counts.get(JobState.OPEN, len(open_)), ""
    if not seen.alive:
        over = lease_over(seen, now=now) and not seen.spec.detached
        may = "ended with its lease, if not before" if over else "may still run"
        asked = f", which {may}; whoever goes on with the run asks its host"
        if count > 1:
            asked = asked.replace("its lease", "their leases").replace("its host", "their hosts")
    some = f", the longest {len(rows)}" if count > len(rows) else ""
    return f"{counted(count, 'attempt')} open{some}{asked}:\n" + table(
        heads, rows, width=width, colour=colour
    )


def _next_block(seen: Look, result: Summary, *, colour: bool) -> str:
    from hostler.cli.leaving import with_secrets
    from hostler.model.jobs import JobState
    from hostler.views.report import painted

    step, pause = _onward(seen, result), _paused(seen)
    if step is None:
        return ""
    word = "watch it:" if seen.alive else "go on:" if result.done < result.total else "try again:"
    lines = [(word, step)]
    if pause:
        lines.insert(0, ("unpause it:", pause))
    if not seen.alive and seen.counts.get(JobState.OPEN):
        lines.insert(0, ("end them:", with_secrets(to_type(f"stop {seen.row.number}"), seen.spec)))
    if result.bad:
        lines.insert(0, ("look closer:", to_type(f"log {seen.row.number} --failed")))
    return "".join(f"{word:<13}{painted(text, '1', colour)}\n" for word, text in lines)
