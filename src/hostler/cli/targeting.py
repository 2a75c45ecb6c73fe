"""Which hosts a verb is to work on: the options that name them, and what those come to.

It must never reach a host, nor guess at one: what is named nowhere is an error that says how to name it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hostler.cli.options import Marked, group
from hostler.cli.parsing import said
from hostler.errors import UsageError

if TYPE_CHECKING:
    from hostler.model.hosts import Host
    from hostler.model.selectors import Selector

#: --hosts, --hostfile, -x and -i.
targeting_options = group(
    click.option(
        "--hosts",
        cls=Marked,
        rivals=("hostfile",),
        metavar="TARGETS",
        help="Where to run: names, addresses, sets, @tags: 'web[1-9]&!@old'.",
    ),
    click.option(
        "--hostfile",
        cls=Marked,
        rivals=("hosts",),
        metavar="FILE",
        help="A file of hosts, [user@]host[:port] one a line.",
    ),
    click.option("-x", "--exclude", metavar="TARGETS", help="Hosts to leave out."),
    click.option(
        "-i", "--inventory", metavar="FILE", multiple=True, help="An inventory (YAML or plain); repeatable."
    ),
)


def names_hosts(options: dict[str, Any]) -> bool:
    """Whether the options name any host: an inventory that only a setting gives knows hosts and names none."""
    return bool(options["hosts"] or options["hostfile"] or (options["inventory"] and said("inventory")))


def chosen_hosts(options: dict[str, Any]) -> list[Host]:
    """The hosts that the options name. Raises UsageError, SpecError."""
    from hostler.manifests import load_inventory, read_hostfile
    from hostler.model.hosts import Inventory, refuse_twins
    from hostler.wiring.machines import sandbox_hosts

    files = [Path(path) for path in options["inventory"]]
    inventory = load_inventory(files, extra=sandbox_hosts())
    text = options["hosts"]
    if options["hostfile"]:
        if text:
            raise UsageError("--hosts and --hostfile: one or the other")
        text = "^" + options["hostfile"]
    if not text:
        if not names_hosts(options):
            raise UsageError(
                "no hosts: name them with --hosts 'user@host1,user@host2', --hostfile FILE or -i FILE"
            )
        # All that the files name, and nothing that is known without them.
        named = {host.name for host in load_inventory(files)}
        inventory, text = Inventory(tuple(host for host in inventory if host.name in named)), "all"
    exclude = _targets("--exclude", options["exclude"]) if options["exclude"] else None
    hosts = list(_targets("--hosts", text).pick(inventory, files=read_hostfile, leave_out=exclude))
    if not hosts:
        raise UsageError(f"no host is left of {text!r}" + (" without those of -x" if exclude else ""))
    refuse_twins(hosts)
    return hosts


def _targets(flag: str, text: str) -> Selector:
    """A target text from a flag. Raises UsageError that shows it."""
    from hostler.model.selectors import parse_targets

    try:
        return parse_targets(text)
    except UsageError as error:
        raise UsageError(f"{flag} {text!r}: {str(error).removeprefix('targets: ')}") from None
