"""`hostler reap`: machines that nobody will come back for, found and ended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from hostler.cli.options import Marked
from hostler.cli.parsing import Verb
from hostler.cli.saying import say
from hostler.errors import UsageError

if TYPE_CHECKING:
    from hostler.providers.sandbox_files import Entry

SECONDS = 60.0
WORDS = {
    "run": "its run was named",
    "expired": "its time was up",
    "orphan": "the hostler that launched it for a run has died",
    "dead": "it was broken: its keeper had died",
}


@click.command(cls=Verb, name="reap", epilog="\b\nExamples:\n  hostler reap\n  hostler reap --json")
@click.option(
    "--run",
    "runs",
    cls=Marked,
    never="it names one run",
    metavar="UID",
    multiple=True,
    help="End the machines of this run too (its uid).",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON list of what was ended, and why.")
def command(runs: tuple[str, ...], as_json: bool) -> None:
    """End forgotten machines.

    Those are sandbox hosts that were launched for a run whose hostler has died (a resume takes them over, as long as
    they are there), hosts whose time is up, broken ones whose keeper has died, and all of the runs that are named.
    """
    from hostler.clock import SystemClock
    from hostler.providers.sandbox_end import end, forgotten
    from hostler.providers.sandbox_files import Registry

    for uid in runs:
        if len(uid) != 32 or set(uid) - set("0123456789abcdef"):
            raise UsageError(f"--run {uid}: a run's uid is 32 hex digits (hostler status RUN shows it)")
    now, why = SystemClock().now(), {}

    def wanted(entry: Entry) -> bool:
        why[entry.id] = forgotten(entry, now=now, runs=frozenset(runs))
        return why[entry.id] is not None

    ended = end(Registry(), wanted, seconds=SECONDS)
    told = [
        {
            "name": entry.name,
            "id": entry.id,
            "provider": "sandbox",
            "run": entry.record.run if entry.record else None,
            "why": why[entry.id],
        }
        for entry in ended
    ]
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    for each in told:
        click.echo(f"{each['name']}  {WORDS[str(each['why'])]}")
    if not told:
        say("nothing to reap")
