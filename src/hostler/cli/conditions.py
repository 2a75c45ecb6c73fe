"""What jobs find when they begin: the options that say which environment and which folder, and what they come to.

A value of the environment goes to hosts by the line, never in an argv; it is kept with the run, which is ours alone to
read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

import click

from hostler.cli.options import Marked, group
from hostler.errors import UsageError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: --env and --workdir.
conditions_options = group(
    click.option(
        "--env",
        cls=Marked,
        names="the environment of jobs",
        assigns=True,
        metavar="NAME[=VALUE]",
        multiple=True,
        help="Set this in jobs' environment, without =VALUE to what it is here; kept with the run; repeatable.",
    ),
    click.option("--workdir", metavar="DIR", help="Begin jobs in this folder of the host (else the home)."),
)


def conditions(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of BatchSpec that were given on this command line. Raises UsageError."""
    if options["resume"] or options["retry"]:
        for flag in ("env", "workdir"):
            if options[flag]:
                raise UsageError(f"--{flag}: a run that goes on keeps its environment and folder")
        return {}
    changes: dict[str, Any] = {}
    if options["env"]:
        changes["env"] = environment(options["env"])
    if options["workdir"] is not None:
        if not options["workdir"]:
            raise UsageError("--workdir: name a folder of the hosts")
        changes["workdir"] = options["workdir"]
    return changes


def environment(given: Sequence[str]) -> dict[str, str]:
    """The environment that --env asks for. Raises UsageError.

    >>> environment(["A=1", "B=x=y"])
    {'A': '1', 'B': 'x=y'}
    """
    made = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not _NAME.fullmatch(name):
            raise UsageError(f"--env {name!r}: no name of a variable; write NAME or NAME=VALUE")
        if name.startswith("HOSTLER_"):
            raise UsageError(f"--env {name}: jobs get their HOSTLER_ variables from hostler")
        if not equals:
            if name not in os.environ:
                raise UsageError(f"--env {name}: it is not set here; write {name}=VALUE")
            value = os.environ[name]
        made[name] = value
    return made
