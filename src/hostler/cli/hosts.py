"""`hostler hosts`: the inventory, with how each host's machine has behaved over all runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from hostler.cli.hostnames import shape_of, shape_options, shaped
from hostler.cli.options import colour_option
from hostler.cli.parsing import Verb
from hostler.cli.saying import say
from hostler.cli.storing import store_option
from hostler.cli.targeting import chosen_hosts, exclude_option, inventories, inventory_option, limit_option

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hostler.model.hosts import Host
    from hostler.views.machines import Listed

EXAMPLES = (
    "\b\nExamples:\n  hostler hosts\n  hostler hosts '@sandbox&!sandbox1' --fold\n  hostler hosts --groups"
)

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
@exclude_option
@limit_option
@inventory_option
@shape_options
@click.option(
    "--json", "as_json", is_flag=True, help="The same as one JSON value; times are seconds since the epoch."
)
@colour_option
@store_option
def command(
    targets: str | None,
    exclude: str | None,
    limit: str | None,
    inventory: tuple[str, ...],
    as_json: bool,
    color: str,
    **shapes: bool,
) -> None:
    """List hosts, each with its machine's ledger: strikes, when it answered, how long a line takes, clock, disk, load.

    Strikes fade, half of them in half an hour. Two names of one machine share its ledger, and so do all runs.

    TARGETS are names, addresses, sets, @tags and earlier results (@last:failed); without any, all hosts that the
    inventories name, the sandbox hosts of this machine, and those that earlier runs knew. Only the table
    tells of those: with --fold, --count, --expand and --groups it is the hosts that TARGETS could mean.
    """
    from hostler.cli import looking
    from hostler.clock import SystemClock
    from hostler.views.machines import health_facts, hosts_table

    now, shape = SystemClock().now(), shape_of(shapes)
    options = {"hosts": targets, "hostfile": None, "exclude": exclude, "limit": limit, "inventory": inventory}
    if shape not in (None, "explain"):
        click.echo(shaped(shape, chosen(options), as_json=as_json), nl=False)
        return
    explain = shape == "explain"
    hosts = listed(options, now=now)
    if not hosts:
        say("no hosts are known: name some (hostler hosts user@host), or an inventory with -i FILE")
    sources = inventories(inventory).sources() if explain else {}
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


def chosen(options: dict[str, Any]) -> list[Host]:
    """The hosts that are meant: with no targets all that are known without a run. Raises UsageError, SpecError."""
    from hostler.wiring.machines import sandbox_hosts

    everybody = {**options, "hosts": options["hosts"] or "all"}
    if not options["hosts"] and not len(inventories(options["inventory"]).inventory(sandbox_hosts())):
        return []
    return chosen_hosts(everybody, flag="")


def listed(options: dict[str, Any], *, now: float) -> list[Listed]:
    """The hosts that are meant, with what is known of them. Raises UsageError, SpecError, StoreError."""
    from hostler.cli import looking
    from hostler.stores.reads import ledger
    from hostler.views.machines import Listed

    hosts = chosen(options)
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
    if options["hosts"] or options["exclude"] or options["limit"]:
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
