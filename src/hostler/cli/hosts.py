"""`hostler hosts`: the inventory, with how each host's machine has behaved over all runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hostler.cli.options import colour_option
from hostler.cli.parsing import Verb
from hostler.cli.saying import say
from hostler.cli.storing import store_option
from hostler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hostler.views.machines import Listed

EXAMPLES = "\b\nExamples:\n  hostler hosts\n  hostler hosts @sandbox --json"

#: The facts of a host that --explain names the source of, in this order.
FIELDS = ("address", "user", "port", "jump", "identity", "host_key", "slots")
#: Hosts that only earlier runs know of which are listed, and the length of a value that is shown whole.
OTHERS, LONG = 50, 48
#: Seconds for which a host that no inventory names is listed after it was met last.
REMEMBERED = 30 * 86400.0
#: The source of what no file says.
BY_HAND = "named by hand"


@click.command(cls=Verb, epilog=EXAMPLES)
@click.argument("targets", metavar="[TARGETS]", required=False)
@click.option("-x", "--exclude", metavar="TARGETS", help="Hosts to leave out.")
@click.option(
    "-i", "--inventory", metavar="FILE", multiple=True, help="An inventory (YAML or plain); repeatable."
)
@click.option(
    "--explain", is_flag=True, help="Tell of each fact where it comes from, and the ledger in sentences."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON list; times are seconds since the epoch.")
@colour_option
@store_option
def command(
    targets: str | None,
    exclude: str | None,
    inventory: tuple[str, ...],
    explain: bool,
    as_json: bool,
    color: str,
) -> None:
    """List hosts, each with its machine's ledger: strikes, when it answered, how long a line takes, clock, disk, load.

    Strikes fade, half of them in half an hour. Two names of one machine share its ledger, and so do all runs.

    TARGETS are names, addresses, sets and @tags; without any, all hosts that the inventories name, the sandbox hosts of
    this machine, and those that earlier runs knew.
    """
    from hostler.cli import looking
    from hostler.clock import SystemClock
    from hostler.views.machines import health_facts, hosts_table

    now = SystemClock().now()
    hosts = listed(targets, exclude=exclude, inventory=inventory, now=now)
    if not hosts:
        say("no hosts are known: name some (hostler hosts user@host), or an inventory with -i FILE")
    sources = _sources(inventory) if explain else {}
    if as_json:
        told = []
        for each in hosts:
            facts = _facts(each) | {"ledger": health_facts(each.health, now=now)}
            if explain:
                facts["sources"] = _origins(each, sources)
            told.append(facts)
        click.echo(json.dumps(told, indent=2))
    elif explain:
        click.echo("\n".join(_explained(each, sources, now=now) for each in hosts), nl=False)
    else:
        width, colour = looking.columns_of(1), looking.colour_of(1, color)
        click.echo(hosts_table(hosts, now=now, width=width, colour=colour), nl=False)


def listed(targets: str | None, *, exclude: str | None, inventory: Sequence[str], now: float) -> list[Listed]:
    """The hosts that are meant, with what is known of them. Raises UsageError, SpecError, StoreError."""
    from hostler.cli import looking
    from hostler.cli.targeting import chosen_hosts
    from hostler.manifests import load_inventory
    from hostler.stores.reads import ledger
    from hostler.views.machines import Listed
    from hostler.wiring.machines import sandbox_hosts

    known = load_inventory([Path(path) for path in inventory], extra=sandbox_hosts())
    options = {"hosts": targets or "all", "hostfile": None, "exclude": exclude, "inventory": inventory}
    try:
        hosts = chosen_hosts(options) if targets or len(known) else []
    except UsageError as error:
        raise UsageError(str(error).removeprefix("--hosts ")) from None
    with looking.opened() as reader:
        rows = {row.id: row for row in ledger.machines(reader)} if reader else {}
    found = []
    for host in hosts:
        row = rows.get(host.machine)
        found.append(
            Listed(
                name=host.name, endpoint=host.endpoint, tags=tuple(sorted(host.tags)), host=host,
                health=row.health if row else None, run=row.run if row else None,
            )
        )  # fmt: skip
    if targets or exclude:
        return found
    named = {host.machine for host in hosts}
    others = [row for row in rows.values() if row.id not in named and row.health.touched > now - REMEMBERED]
    others.sort(key=lambda row: -row.run)
    if len(others) > OTHERS:
        say(f"{len(others) - OTHERS} more hosts are known from earlier runs; name them to see them")
    return found + [
        Listed(name=row.name, endpoint=row.endpoint, health=row.health, run=row.run)
        for row in others[:OTHERS]
    ]


def _facts(each: Listed) -> dict[str, Any]:
    host = each.host
    return {
        "name": each.name,
        "endpoint": each.endpoint,
        "tags": list(each.tags),
        "source": host.source if host else "",
        "slots": host.slots if host else None,
        "jump": host.jump if host else None,
        "last_run": each.run,
    }


def _origins(each: Listed, sources: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Where each fact of a host that is set comes from."""
    if each.host is None:
        return {}
    said, host = sources.get(each.name, {}), each.host
    names = [name for name in FIELDS if getattr(host, name) is not None]
    names += [f"vars.{name}" for name, _ in host.vars]
    elsewhere = host.source if each.name not in sources and host.source else BY_HAND
    usual = {"address": "its name" if host.address == host.name else elsewhere}
    return {name: said.get(name, usual.get(name, elsewhere)) for name in names}


def _explained(each: Listed, sources: Mapping[str, Mapping[str, str]], *, now: float) -> str:
    """A host with the source of each of its facts, and its ledger in sentences."""
    from hostler.cli import looking
    from hostler.views.machines import health_words, indented
    from hostler.views.text import one_line

    host = each.host
    rows = []
    for name, origin in _origins(each, sources).items():
        value = dict(host.vars)[name[5:]] if host and name.startswith("vars.") else getattr(host, name)
        rows.append((name, str(value) if len(str(value)) <= LONG else f"{str(value)[:LONG]}…", origin))
    if each.tags:
        rows.append(("tags", ",".join(each.tags), host.source if host and host.source else BY_HAND))
    wide = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    lines = [f"{name:<{wide[0]}}  {value:<{wide[1]}}  {origin}" for name, value, origin in rows]
    lines = lines or [f"at {each.endpoint}, in no inventory"]
    known = health_words(each.health, now=now) if each.health else []
    if each.run is not None:
        known.append(f"it was in run {each.run} last")
    width = looking.columns_of(1) if looking.is_terminal(1) else None
    text = [each.name, *(f"  {line}" for line in lines)]
    for line in known or ["no run has met it yet"]:
        plain = one_line(line.encode("utf-8", "surrogateescape"))
        text += indented(plain, width=width)
    return "".join(one_line(line.encode("utf-8", "surrogateescape")) + "\n" for line in text)


def _sources(inventory: Sequence[str]) -> dict[str, dict[str, str]]:
    from hostler.manifests.inventories import field_sources

    return field_sources([Path(path) for path in inventory])
