"""What becomes of jobs' output: the options that say what is printed and written where, and what they come to."""

from __future__ import annotations

import os
from typing import Any

import click

from hostler.cli.options import colour_option, group

#: --line-buffer, -q and --color.
shaping_options = group(
    click.option(
        "--line-buffer", is_flag=True, help="Print output line by line as it comes, not job by job."
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
    """The fields of Wanted that are about output."""
    from hostler.views.colours import wanted

    return {
        "line_buffer": options["line_buffer"],
        "quiet": options["quiet"],
        "colour": wanted(options["color"], terminal=_err_tty(), environ=os.environ),
    }


def _err_tty() -> bool:
    try:
        return os.isatty(2)
    except OSError:
        return False
