"""What becomes of jobs' output: the options that say what is printed and written where, and what they come to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from hostler.cli.options import Marked, blaming, colour_option, group
from hostler.errors import UsageError

#: -k, --tag, --tagstring, --stream, --line-buffer, --joblog, --results, -q and --color.
shaping_options = group(
    click.option(
        "-k",
        "--keep-order",
        cls=Marked,
        rivals=("line-buffer", "stream"),
        is_flag=True,
        help="Print output in the order of the jobs, not as they end.",
    ),
    click.option("--tag", is_flag=True, help="Print a job's argument and a tab before each of its lines."),
    click.option(
        "--tagstring", metavar="TEXT", help="Print this before each line: '{host} {1/.}: ' and the like."
    ),
    click.option(
        "--line-buffer",
        cls=Marked,
        rivals=("keep-order",),
        is_flag=True,
        help="Print output line by line as it comes, not job by job.",
    ),
    click.option(
        "--stream",
        cls=Marked,
        rivals=("keep-order",),
        is_flag=True,
        help="The same with host and job's number before each line.",
    ),
    click.option(
        "--joblog",
        cls=Marked,
        never="it is about one run",
        metavar="FILE",
        help="Write a line per attempt there, as GNU parallel does.",
    ),
    click.option(
        "--results",
        cls=Marked,
        never="it is about one run",
        metavar="DIR",
        help="Write each job's output to DIR/1/ARGUMENT/stdout and stderr.",
    ),
    click.option(
        "-q",
        "--quiet",
        is_flag=True,
        help="No progress and no report: errors, and a line if not all went well.",
    ),
    colour_option,
)


def shaping(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of Wanted that are about output. Raises UsageError."""
    from hostler.views.colours import wanted
    from hostler.views.tags import ARGUMENTS, WHO, tag_of

    if options["keep_order"] and (options["line_buffer"] or options["stream"]):
        other = "--stream" if options["stream"] else "--line-buffer"
        raise UsageError(f"--keep-order prints whole jobs in turn: leave {other} out")
    tag = options["tagstring"] or (ARGUMENTS if options["tag"] else WHO if options["stream"] else None)
    if tag:
        with blaming(f"--tagstring {tag!r}:"):
            tag_of(tag)
    return {
        "keep_order": options["keep_order"],
        "tag": tag,
        "line_buffer": options["line_buffer"] or options["stream"],
        "quiet": options["quiet"],
        "colour": wanted(options["color"], terminal=_err_tty(), environ=os.environ),
    }


def filing(options: dict[str, Any], *, fresh: bool) -> dict[str, Any]:
    """The fields of BatchSpec that say what is written beside; a `fresh` run's are new. Raises UsageError."""
    changes: dict[str, Any] = {}
    if options["joblog"]:
        from hostler.views.joblog import check_joblog

        changes["joblog"] = os.path.abspath(options["joblog"])
        check_joblog(Path(changes["joblog"]))
    if options["results"]:
        from hostler.views.results import check_results

        changes["results"] = os.path.abspath(options["results"])
        check_results(Path(changes["results"]), fresh=fresh)
    return changes


def _err_tty() -> bool:
    try:
        return os.isatty(2)
    except OSError:
        return False
