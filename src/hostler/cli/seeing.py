"""How a batch is watched while it runs: the options that say what is drawn, and what they come to."""

from __future__ import annotations

from typing import Any

import click

from hostler.cli.options import group

#: --progress, --worker-logs and --stop-on-pipe.
seeing_options = group(
    click.option(
        "--progress",
        type=click.Choice(["auto", "line", "none"]),
        default="auto",
        help="On a terminal a row per running job and a line (auto), the line alone, or nothing.",
    ),
    click.option(
        "--worker-logs",
        is_flag=True,
        help="Write a file per host into the run's folder, for tail -f: jobs that begin, output, ends.",
    ),
    click.option(
        "--stop-on-pipe", is_flag=True, help="When stdout is closed (| head), stop the run; else it goes on."
    ),
)


def seeing(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of Wanted that are about what is drawn."""
    return {name: options[name] for name in ("progress", "worker_logs", "stop_on_pipe")}
