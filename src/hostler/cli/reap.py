"""`hostler reap`: machines that nobody will come back for, found and ended."""

from __future__ import annotations

import json

import click

SECONDS = 60.0


@click.command(name="reap", epilog="\b\nExamples:\n  hostler reap\n  hostler reap --json")
@click.option(
    "--run", "runs", metavar="UID", multiple=True, help="End the machines of this run too (its uid)."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON list of what was ended, and why.")
def command(runs: tuple[str, ...], as_json: bool) -> None:
    """End forgotten machines.

    Those are sandbox hosts whose time is up, broken ones whose keeper has died, and all of the runs that are named.
    """
    from hostler.clock import SystemClock
    from hostler.providers.sandbox_end import end, forgotten
    from hostler.providers.sandbox_files import Registry

    now = SystemClock().now()
    ended = end(
        Registry(), lambda entry: forgotten(entry, now=now, runs=frozenset(runs)) is not None, seconds=SECONDS
    )
    told = [
        {
            "name": entry.name,
            "id": entry.id,
            "provider": "sandbox",
            "run": entry.record.run if entry.record else None,
            "why": forgotten(entry, now=now, runs=frozenset(runs)),
        }
        for entry in ended
    ]
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    for each in told:
        click.echo(f"{each['name']}  {each['why']}")
    if not told:
        click.echo("hostler: nothing to reap", err=True)
