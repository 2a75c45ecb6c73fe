"""Which hosts a verb is to work on: the options that name them, and what those come to.

It must never reach a host, nor guess at one: what is named nowhere is an error that says how to name it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hostler.cli.options import META, Marked, group
from hostler.cli.parsing import said
from hostler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hostler.manifests.inventories import Drafts
    from hostler.model.hosts import Host
    from hostler.model.selectors import Selector
    from hostler.settings.layers import Value

#: Where a context keeps the inventories that its verb has read: a program is run once.
READ = "hostler.inventories"

exclude_option = click.option("-x", "--exclude", metavar="TARGETS", help="Hosts to leave out.")
limit_option = click.option("--limit", metavar="TARGETS", help="Of the hosts named, only these.")
inventory_option = click.option(
    "-i",
    "--inventory",
    cls=Marked,
    literals=("ssh:",),
    metavar="FILE",
    multiple=True,
    help="An inventory: YAML, a list, Ansible's or Loom's, a program; ssh: is your SSH configuration. Repeatable.",
)
hostfile_option = click.option(
    "--hostfile",
    cls=Marked,
    rivals=("hosts",),
    metavar="FILE",
    help="A file of hosts, [user@]host[:port] one a line.",
)

#: --hosts, --hostfile, -x, --limit and -i.
targeting_options = group(
    click.option(
        "--hosts",
        cls=Marked,
        rivals=("hostfile",),
        metavar="TARGETS",
        help="Where to run: names, addresses, sets, @tags, earlier results: 'web[1-9]&!@old,@last:failed'.",
    ),
    hostfile_option,
    exclude_option,
    limit_option,
    inventory_option,
)
#: The same of a verb whose hosts stand on the command line by themselves.
picking_options = group(
    click.option(
        "--hostfile",
        cls=Marked,
        never="it is instead of TARGETS",
        metavar="FILE",
        help="A file of hosts, [user@]host[:port] one a line.",
    ),
    exclude_option,
    limit_option,
    inventory_option,
)


def names_hosts(options: dict[str, Any]) -> bool:
    """Whether the options name any host: an inventory that only a setting gives knows hosts and names none."""
    return bool(options["hosts"] or options["hostfile"] or (options["inventory"] and said("inventory")))


def chosen_hosts(options: dict[str, Any], *, flag: str = "--hosts") -> list[Host]:
    """The hosts that the options name; `flag` is how the verb asks for them. Raises UsageError, SpecError."""
    from hostler.cli.earlier import results
    from hostler.manifests import read_hostfile
    from hostler.model.hosts import Inventory, refuse_twins
    from hostler.wiring.machines import sandbox_hosts

    known = inventories(options["inventory"])
    inventory = known.inventory(sandbox_hosts())
    text = options["hosts"]
    if options["hostfile"]:
        if text:
            raise UsageError("--hosts and --hostfile: one or the other")
        text = "^" + options["hostfile"]
    if not text:
        if not names_hosts(options):
            named_by = f"{flag} 'user@host1,user@host2'".strip() + (" before '--'" if not flag else "")
            raise UsageError(f"no hosts: name them with {named_by}, --hostfile FILE or -i FILE")
        # All that the files name, and nothing that is known without them.
        named = set(known.names)
        inventory, text = Inventory(tuple(host for host in inventory if host.name in named)), "all"
    narrowed = [("-x", options["exclude"]), ("--limit", options["limit"])]
    exclude, limit = (targets(f"{which} ", words) if words else None for which, words in narrowed)
    hosts = list(
        targets(f"{flag} " if flag else "", text).pick(
            inventory, results=results, files=read_hostfile, within=limit, leave_out=exclude
        )
    )
    if not hosts:
        narrowing = " and ".join(f"{which} {words!r}" for which, words in narrowed if words)
        raise UsageError(f"no host is left of {text!r}" + (f" by {narrowing}" if narrowing else ""))
    refuse_twins(hosts)
    return hosts


def inventories(sources: Sequence[str]) -> Drafts:
    """What the inventories say, read once for a verb; what is left aside of them is said. Raises SpecError."""
    from hostler.cli.saying import say
    from hostler.manifests import read_inventories

    ctx = click.get_current_context(silent=True)
    kept: dict[tuple[str, ...], Drafts] = ctx.meta.setdefault(READ, {}) if ctx is not None else {}
    key = tuple(sources)
    if key not in kept:
        set_: dict[str, Value] = ctx.meta.get(META, {}) if ctx is not None else {}
        value = set_.get("inventory")
        why = ""
        if value is not None and value.source == "project":
            why = f"a project's file may not have one run ({value.place}); give it with -i, or in your own settings"
        kept[key] = read_inventories(sources, no_programs=why)
        for remark in kept[key].remarks:
            say(remark)
    return kept[key]


def targets(before: str, text: str) -> Selector:
    """A target text from a command line; `before` is what its complaints begin with. Raises UsageError."""
    from hostler.model.selectors import parse_targets

    return parse_targets(text, what=f"{before}{text!r}" if len(text) <= 200 else before.strip() or "targets")
