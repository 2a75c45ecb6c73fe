"""What the jobs of a batch are made of: the options that say where they stand and how they are read."""

from __future__ import annotations

import random
from typing import Any

import click

from hostler.cli.options import Marked, group, whole
from hostler.cli.rows import Form, column_separator
from hostler.errors import UsageError

#: --jobs, -0, --words, --colsep, --header, --link, --shuf, --seed and --shell.
sourcing_options = group(
    click.option(
        "--jobs",
        "job_file",
        cls=Marked,
        never="it is about one run",
        metavar="FILE",
        help="A file of jobs, one a line, instead of stdin.",
    ),
    click.option("-0", "--null", is_flag=True, help="Jobs end with NUL instead of newline (find -print0)."),
    click.option(
        "--words",
        cls=Marked,
        rivals=("colsep",),
        is_flag=True,
        help="Cut each line into arguments as a shell would.",
    ),
    click.option(
        "--colsep",
        cls=Marked,
        rivals=("words",),
        metavar="REGEX",
        help="Cut each line into arguments {1} {2} … at this: '\\t'.",
    ),
    click.option("--header", metavar=":", help="The first line names columns: {name} stands for {1}."),
    click.option("--link", is_flag=True, help="Pair the lists behind ':::' instead of combining them."),
    click.option("--shuf", is_flag=True, help="Begin jobs in random order."),
    click.option("--seed", metavar="N", help="The number that --shuf shuffles by, to have an order again."),
    click.option(
        "--shell/--no-shell", default=None, help="Take the command as text for a shell, or never do."
    ),
)


def sourcing(options: dict[str, Any]) -> Form:
    """How jobs are to be read. Raises UsageError."""
    if options["words"] and options["colsep"] is not None:
        raise UsageError("--words and --colsep: one or the other")
    if options["header"] not in (None, ":"):
        raise UsageError(f"--header {options['header']}: write --header : (the first line names columns)")
    if options["seed"] is not None and not options["shuf"]:
        raise UsageError("--seed is for --shuf")
    seed = None
    if options["shuf"]:
        given = options["seed"]
        seed = random.randrange(1 << 32) if given is None else whole(given, "--seed", least=0, most=1 << 63)
    return Form(
        null=options["null"],
        words=options["words"],
        colsep=None if options["colsep"] is None else column_separator(options["colsep"]),
        header=options["header"] is not None,
        link=options["link"],
        seed=seed,
    )


def refuse_sourcing(options: dict[str, Any]) -> None:
    """A run that goes on has its jobs. Raises UsageError for an option that is about reading them."""
    for flag in ("null", "words", "colsep", "header", "link", "shuf", "seed", "shell"):
        if options[flag] not in (None, False) or (flag == "shell" and options[flag] is not None):
            raise UsageError(f"--{flag}: a run that goes on keeps its command and jobs")
