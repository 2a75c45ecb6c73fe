"""Hosts as names alone: folded, counted, one a line, or by group, for people and for other programs.

Nothing is known of a host here but its name and tags. It must never look into the store, nor reach a host.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from hostler.cli.options import Marked, group
from hostler.errors import UsageError

if TYPE_CHECKING:
    from hostler.model.hosts import Host

_ONCE = "what is shown is said each time"

#: --explain, --fold, --count, --expand and --groups.
shape_options = group(
    click.option(
        "--explain",
        cls=Marked,
        never=_ONCE,
        is_flag=True,
        help="Tell of each fact where it comes from, and the ledger in sentences.",
    ),
    click.option(
        "--fold", cls=Marked, never=_ONCE, is_flag=True, help="Print names as a folded set: web[01-20],db1."
    ),
    click.option(
        "-c", "--count", cls=Marked, never=_ONCE, is_flag=True, help="Print how many hosts they are."
    ),
    click.option("-e", "--expand", cls=Marked, never=_ONCE, is_flag=True, help="Print one name a line."),
    click.option(
        "--groups",
        "--tags",
        "groups",
        cls=Marked,
        never=_ONCE,
        is_flag=True,
        help="Print the groups and tags, each with its hosts.",
    ),
)


def shape_of(given: Mapping[str, bool]) -> str | None:
    """The one shape that was asked for. Raises UsageError for two.

    >>> shape_of({"fold": True, "count": False})
    'fold'
    """
    asked = [name for name, there in given.items() if there]
    if len(asked) > 1:
        raise UsageError(f"--{asked[0]} and --{asked[1]}: one or the other")
    return asked[0] if asked else None


def shaped(shape: str | None, hosts: Sequence[Host], *, as_json: bool) -> str:
    """The hosts' names in a shape: lines, or one JSON value.

    >>> from hostler.model.hosts import Host
    >>> shaped("fold", [Host(name=f"web{n}", address="a") for n in (1, 2, 3)], as_json=False)
    'web[1-3]\\n'
    """
    from hostler.model.nodesets import fold

    names = [host.name for host in hosts]
    told: Any
    match shape:
        case "count":
            told = len(names)
        case "expand":
            told = names
        case "fold":
            told = fold(names)
        case _:
            every: dict[str, list[str]] = {}
            for host in hosts:
                for tag in host.tags:
                    every.setdefault(tag, []).append(host.name)
            told = {tag: {"hosts": fold(every[tag]), "count": len(every[tag])} for tag in sorted(every)}
    if as_json:
        return json.dumps(told, indent=2) + "\n"
    if isinstance(told, dict):
        wide = max(map(len, told), default=0) + 1
        count = max((len(str(each["count"])) for each in told.values()), default=0)
        lines = [
            f"{'@' + tag:<{wide}}  {each['count']:>{count}}  {each['hosts']}" for tag, each in told.items()
        ]
        return "".join(f"{line}\n" for line in lines)
    if isinstance(told, list):
        return "".join(f"{name}\n" for name in told)
    return f"{told}\n" if told != "" else ""
