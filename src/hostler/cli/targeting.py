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
    from hostler.model.selectors import ResultSet, Selector

_hosts_option = click.option(
    "--hosts",
    cls=Marked,
    rivals=("hostfile",),
    metavar="TARGETS",
    help="Where to run: names, addresses, sets, @tags: 'web[1-9]&!@old'.",
)
_rest = (
    click.option("-x", "--exclude", metavar="TARGETS", help="Hosts to leave out."),
    click.option(
        "-i", "--inventory", metavar="FILE", multiple=True, help="An inventory (YAML or plain); repeatable."
    ),
)
_HOSTFILE = "A file of hosts, [user@]host[:port] one a line."

#: --hosts, --hostfile, -x and -i.
targeting_options = group(
    _hosts_option,
    click.option("--hostfile", cls=Marked, rivals=("hosts",), metavar="FILE", help=_HOSTFILE),
    *_rest,
)
#: The same of a verb whose hosts stand on the command line by themselves.
picking_options = group(
    click.option("--hostfile", cls=Marked, never="it is instead of TARGETS", metavar="FILE", help=_HOSTFILE),
    *_rest,
)


def names_hosts(options: dict[str, Any]) -> bool:
    """Whether the options name any host: an inventory that only a setting gives knows hosts and names none."""
    return bool(options["hosts"] or options["hostfile"] or (options["inventory"] and said("inventory")))


def chosen_hosts(options: dict[str, Any], *, flag: str = "--hosts") -> list[Host]:
    """The hosts that the options name, those of `flag`, or of a word that has none. Raises UsageError, SpecError."""
    from hostler.manifests import load_inventory, read_hostfile
    from hostler.model.hosts import Inventory, refuse_twins
    from hostler.wiring.machines import sandbox_hosts

    files = [Path(path) for path in options["inventory"]]
    inventory = load_inventory(files, extra=sandbox_hosts())
    text = options["hosts"]
    if options["hostfile"]:
        if text:
            raise UsageError(f"{flag or 'TARGETS'} and --hostfile: one or the other")
        text = "^" + options["hostfile"]
    if not text:
        if not names_hosts(options):
            named_by = f"{flag} 'user@host1,user@host2'".strip() + (" before '--'" if not flag else "")
            raise UsageError(f"no hosts: name them with {named_by}, --hostfile FILE or -i FILE")
        # All that the files name, and nothing that is known without them.
        named = {host.name for host in load_inventory(files)}
        inventory, text = Inventory(tuple(host for host in inventory if host.name in named)), "all"
    exclude = _targets("--exclude", options["exclude"]) if options["exclude"] else None
    picked = _targets(flag or "TARGETS", text).pick(
        inventory, files=read_hostfile, leave_out=exclude, results=earlier
    )
    hosts = list(picked)
    if not hosts:
        raise UsageError(f"no host is left of {text!r}" + (" without those of -x" if exclude else ""))
    refuse_twins(hosts)
    return hosts


def earlier(asked: ResultSet) -> list[Host]:
    """The hosts of an earlier run that came to some result. Raises UsageError, StoreError."""
    from hostler.cli.storing import open_reader
    from hostler.stores.reads.batch import no_run_yet
    from hostler.stores.reads.results import hosts_that
    from hostler.stores.reads.runs import resolve

    reader = open_reader()
    if reader is None:
        raise no_run_yet(asked.run)
    try:
        return hosts_that(reader, resolve(reader, asked.run), asked)
    finally:
        reader.close()


def _targets(flag: str, text: str) -> Selector:
    """A target text from a flag. Raises UsageError that shows it."""
    from hostler.model.selectors import parse_targets

    try:
        return parse_targets(text)
    except UsageError as error:
        raise UsageError(f"{flag} {text!r}: {str(error).removeprefix('targets: ')}") from None
