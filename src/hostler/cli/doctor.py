"""`hostler doctor TARGETS`: what would go wrong on a host, why that matters, and what mends it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from hostler.cli.options import colour_option
from hostler.cli.parsing import Verb
from hostler.cli.placing import as_password_option, entrusted, housed, login
from hostler.cli.reaching import reaching, reaching_options, refuse_unreachable, sources_apart
from hostler.cli.saying import say
from hostler.cli.storing import store_option
from hostler.cli.targeting import (
    chosen_hosts,
    exclude_option,
    hostfile_option,
    inventory_option,
    limit_option,
)
from hostler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hostler.model.checkups import Facts
    from hostler.model.hosts import Host
    from hostler.wiring.wanted import Wanted

EXAMPLES = (
    "\b\nExamples:\n  hostler doctor @sandbox\n  hostler doctor 'user@host1,user@host2' --forks 8 --json"
)

#: The exit code when a host can't be had.
OUT = 4


@click.command(cls=Verb, epilog=EXAMPLES)
@click.argument("targets", metavar="[TARGETS]", required=False)
@hostfile_option
@exclude_option
@limit_option
@inventory_option
@click.option("--user", metavar="NAME", help="Log in as NAME where a host names no user of its own.")
@click.option(
    "--as", "as_user", metavar="USER", help="Look as USER, too, through sudo: as --as USER has jobs run."
)
@as_password_option
@reaching_options
@click.option("--json", "as_json", is_flag=True, help="One JSON list, with all that was learnt of each host.")
@colour_option
@store_option
def command(targets: str | None, as_json: bool, color: str, **options: Any) -> int:
    """Look at hosts before jobs do: what would go wrong there, why that matters, and what mends it.

    TARGETS are the words of `batch --hosts`. Nothing is changed on a host, and each look has an end. Checked are the
    name, the port, the host key, the login, how many lines and sessions the host allows, its login shell and start-up
    files, Python, the temporary folder, the place for our work and its room, clock, load, logind, and the strikes of
    earlier runs. It ends with 4 when a host can't be had; remarks alone are no failure.
    """
    import asyncio

    from hostler.cli.looking import colour_of, columns_of
    from hostler.clock import SystemClock
    from hostler.engine.diagnosing import findings
    from hostler.views.checkups import Seen, checkups_text, facts_json, summed
    from hostler.wiring.wanted import Wanted

    if not targets and not options["inventory"] and not options["hostfile"]:
        raise UsageError(
            "no hosts: name them, hostler doctor 'user@host1,user@host2', with --hostfile FILE or -i FILE"
        )
    if targets and options["hostfile"]:
        raise UsageError("TARGETS and --hostfile: one or the other")
    sources_apart(options, jobs_on_stdin=False)
    new = {**options, "resume": None, "retry": None}
    become = None if options["as_user"] is None else login(options["as_user"], "--as")
    how = Wanted(**reaching(new), **entrusted(new))
    chosen = chosen_hosts({**options, "hosts": targets or None}, flag="")
    hosts = housed(chosen, options)
    refuse_unreachable(hosts, how)
    facts = asyncio.run(_looked(hosts, how, as_user=become))
    now = SystemClock().now()
    seen = [Seen(facts=each, found=tuple(findings(each, now=now))) for each in _with_ledger(facts)]
    if as_json:
        click.echo(json.dumps([facts_json(each) for each in seen], indent=2))
    else:
        click.echo(checkups_text(seen, width=columns_of(1), colour=colour_of(1, color)), nl=False)
        say(summed(seen))
    return OUT if any(each.out for each in seen) else 0


async def _looked(hosts: Sequence[Host], how: Wanted, *, as_user: str | None) -> list[Facts]:
    """The facts of all hosts, with the file that a new key was put in."""
    from msgspec.structs import replace

    from hostler.clock import SystemClock
    from hostler.model.runs import BatchSpec
    from hostler.stores.folder import state_dir
    from hostler.transports.knownhosts import place
    from hostler.wiring.reaching import limited, ways
    from hostler.wiring.ways import sudo
    from hostler.work.checkup import checkups

    state = state_dir()
    record = state / "known_hosts"
    known = _names(record)
    choosing = ways(state, wanted=how, say=say)
    transport = limited(choosing, wanted=how)
    try:
        facts = await checkups(
            hosts,
            by=transport,
            at_once=choosing,
            clock=SystemClock(),
            deadline=how.connect_timeout,
            forks=how.forks or BatchSpec().forks,
            become=sudo(as_user, how.as_password),
        )
    finally:
        await transport.close()
    new = _names(record) - known
    return [
        replace(
            each,
            way=choosing.taken(each.host),
            took=choosing.took(each.host),
            recorded=str(record)
            if not each.host.host_key and place(each.host.address, each.host.port or 22) in new
            else "",
        )
        for each in facts
    ]


def _names(record: Path) -> set[str]:
    """The hosts whose keys stand in our own record."""
    try:
        lines = record.read_text(errors="replace").splitlines()
    except OSError:
        return set()
    return {line.split(" ")[0] for line in lines}


def _with_ledger(facts: Sequence[Facts]) -> list[Facts]:
    """The same with what is known of their machines from earlier runs."""
    from msgspec.structs import replace

    from hostler.cli import looking
    from hostler.stores.reads import ledger

    with looking.opened() as reader:
        known = ledger.health(reader, [each.host.machine for each in facts]) if reader else {}
    return [replace(each, health=known.get(each.host.machine)) for each in facts]
