"""`hostler report RUN`: the report that a batch ends with, again at any time, of any run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from hostler.cli.options import colour_option
from hostler.cli.parsing import Verb
from hostler.cli.storing import store_option

if TYPE_CHECKING:
    from hostler.cli.looking import Look
    from hostler.engine.summary import Summary
    from hostler.views.report import Findings


@click.command(cls=Verb, epilog="\b\nExamples:\n  hostler report last\n  hostler report 42 --json")
@click.argument("name", metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; times are seconds since the epoch.")
@colour_option
@store_option
def command(name: str, as_json: bool, color: str) -> None:
    """Print a run's report: counts, failures that are alike put together, the slowest jobs, the hosts, what to do next.

    Of a run that isn't over it tells how it stands. RUN is a run's number, the first letters of its uid, or 'last'.
    """
    from hostler.cli import looking
    from hostler.clock import SystemClock
    from hostler.views.report import report

    with looking.opened() as reader:
        seen = looking.look(reader, name)
        width = looking.columns_of(1)
        now = SystemClock().now()
        result = looking.summary(seen, now=now, signal=looking.signal_of(seen.row))
        found = looking.findings(seen, width=10_000 if as_json else width, now=now)
        if as_json:
            click.echo(json.dumps(facts(seen, result, found), indent=2))
        else:
            text = report(result, found, width=width, colour=looking.colour_of(1, color))
            click.echo(text, nl=False)


def facts(seen: Look, result: Summary, found: Findings) -> dict[str, Any]:
    """What scripts are told."""
    from hostler.cli.runs import facts as run_facts
    from hostler.cli.status import host_facts, next_step

    return run_facts(seen.row, alive=seen.alive, stalled=seen.stalled) | {
        "seconds": result.elapsed,
        "rate": result.rate,
        "next": next_step(seen, result),
        "failures": [
            {
                "count": cluster.count,
                "ending": cluster.how,
                "last_line": cluster.last_line,
                "alike": not cluster.exact,
                "jobs": list(cluster.jobs),
                "hosts": list(cluster.hosts),
            }
            for cluster in found.failures
        ],
        "failures_looked_at": found.looked_at,
        "slowest": [
            {
                "job": slow.job,
                "attempt": slow.n,
                "host": slow.host,
                "seconds": slow.elapsed,
                "command": slow.command,
            }
            for slow in found.slowest
        ],
        "hosts": [host_facts(host, elapsed=result.elapsed) for host in found.hosts],
        "maybe_duplicated": found.repeated_count,
        "maybe_duplicated_first": list(found.repeated),
    }
