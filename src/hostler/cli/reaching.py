"""How hosts are reached: the options that say so, and what they come to for a controller."""

from __future__ import annotations

from typing import Any

import click

from hostler.cli.options import Marked, duration, group, whole

#: -f, --connect-timeout and --strict-host-keys.
reaching_options = group(
    click.option("-f", "--forks", metavar="N", default="64", help="Hosts connected to at once (64)."),
    click.option(
        "--connect-timeout", metavar="DUR", default="30s", help="Give a host this long to answer (30s)."
    ),
    click.option(
        "--strict-host-keys",
        cls=Marked,
        names="a host-key policy",
        is_flag=True,
        help="Refuse hosts whose key is not known yet.",
    ),
)


def reaching(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of Wanted that are about reaching hosts. Raises UsageError."""
    return {
        "strict": True if options["strict_host_keys"] else None,
        "connect_timeout": duration(options["connect_timeout"], "--connect-timeout"),
        "forks": whole(options["forks"], "--forks", least=1, most=10_000),
    }
