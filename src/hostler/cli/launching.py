"""Machines that are launched for a run: the options that ask for them, and what those come to."""

from __future__ import annotations

from typing import Any

import click

from hostler.cli.options import Marked, group, whole
from hostler.cli.parsing import said, said_only
from hostler.errors import UsageError

#: What a project's settings may not choose.
MONEY = "what may cost money"

#: --launch, --provider, --keep and -y.
launching_options = group(
    click.option(
        "--launch",
        cls=Marked,
        names=MONEY,
        metavar="N",
        help="Launch N hosts for this run; they end with it.",
    ),
    click.option(
        "--provider", cls=Marked, names="a provider", metavar="NAME", help="Who launches them (sandbox)."
    ),
    click.option("--keep", cls=Marked, names=MONEY, is_flag=True, help="Leave launched hosts running."),
    click.option(
        "-y",
        "--yes",
        cls=Marked,
        names=MONEY,
        is_flag=True,
        help="Don't ask before anything that costs money.",
    ),
)


def launching(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of Wanted that are about launched machines. Raises UsageError."""
    from hostler.wiring.machines import PROVIDERS

    if options["resume"] or options["retry"]:
        options = said_only(options)
    launch, name = options["launch"], options["provider"]
    if launch and not name:
        raise UsageError(f"--launch {launch}: name who launches them, with --provider {PROVIDERS[0]}")
    if name and not launch and said("provider"):
        raise UsageError(f"--provider {name}: say how many hosts it is to launch, with --launch N")
    if name and name not in PROVIDERS:
        raise UsageError(f"--provider {name}: there is: {', '.join(PROVIDERS)}")
    if options["keep"] and said("keep") and not (launch or options["resume"] or options["retry"]):
        raise UsageError("--keep is about hosts that are launched for the run, with --launch N")
    return {
        "launch": whole(launch, "--launch", most=500) if launch else 0,
        "provider": name or PROVIDERS[0],
        "keep": options["keep"],
    }
