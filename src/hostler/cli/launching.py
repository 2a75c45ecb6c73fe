"""Machines that are launched for a run: the options that ask for them, and what those come to."""

from __future__ import annotations

from typing import Any

import click

from hostler.cli.options import group, whole
from hostler.errors import UsageError

#: --launch, --provider, --keep and -y.
launching_options = group(
    click.option("--launch", metavar="N", help="Launch N hosts for this run; they end with it."),
    click.option("--provider", metavar="NAME", help="Who launches them (sandbox)."),
    click.option("--keep", is_flag=True, help="Leave launched hosts running."),
    click.option("-y", "--yes", is_flag=True, help="Don't ask before anything that costs money."),
)


def launching(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of Wanted that are about launched machines. Raises UsageError."""
    from hostler.wiring import PROVIDERS

    launch, name = options["launch"], options["provider"]
    if launch and not name:
        raise UsageError(f"--launch {launch}: name who launches them, with --provider {PROVIDERS[0]}")
    if name and not launch:
        raise UsageError(f"--provider {name}: say how many hosts it is to launch, with --launch N")
    if name and name not in PROVIDERS:
        raise UsageError(f"--provider {name}: there is: {', '.join(PROVIDERS)}")
    if options["keep"] and not (launch or options["resume"] or options["retry"]):
        raise UsageError("--keep is about hosts that are launched for the run, with --launch N")
    return {
        "launch": whole(launch, "--launch", most=500) if launch else 0,
        "provider": name or PROVIDERS[0],
        "keep": options["keep"],
    }
