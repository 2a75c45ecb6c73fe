"""`--dry-run`: the commands that a batch would execute, and on how many hosts; nothing is reached, nothing is kept.

Names of hosts are read from files only. It must never open a line, make a run or launch a machine.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hostler.errors import UsageError

if TYPE_CHECKING:
    from hostler.cli.jobsource import JobSource
    from hostler.model.hosts import Host
    from hostler.model.templates import Template

#: --dry-run.
dry_option = click.option(
    "--dry-run", is_flag=True, help="Print the commands, one a line, and do nothing: no host is reached."
)
#: Characters gathered before they are printed.
GATHER = 1 << 16


def dry_run(source: JobSource, template: Template, *, hosts: Sequence[Host], launch: int, quiet: bool) -> int:
    """Print each job's command as it would be typed; gives the exit code. Raises UsageError as the run would."""
    from hostler.cli.jobsource import NO_JOBS
    from hostler.views.tables import counted
    from hostler.views.words import command_words

    count, lines, size = 0, [], 0
    for count, (args, _) in enumerate(source.jobs(check=lambda: None), 1):
        line = command_words(template, args, count)
        lines.append(line)
        size += len(line)
        if size > GATHER:
            _print(lines)
            lines, size = [], 0
    _print(lines)
    if not count:
        raise UsageError(NO_JOBS)
    if not quiet:
        where = [f"on {counted(len(hosts), 'host')}"] if hosts else []
        if launch:
            where.append(f"on {counted(launch, 'host')} launched for it")
        sys.stderr.write(f"hostler: dry run: {counted(count, 'job')} {' and '.join(where)}".rstrip() + "\n")
    return 0


def _print(lines: list[str]) -> None:
    if lines:
        sys.stdout.buffer.write("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()
