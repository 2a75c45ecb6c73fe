"""`--dry-run`: the commands that a batch would execute, and on how many hosts; nothing is reached, nothing is kept.

Names of hosts are read from files only. It must never open a line, make a run or launch a machine.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hostler.cli.saying import say
from hostler.errors import HostError, UsageError

if TYPE_CHECKING:
    from hostler.cli.jobsource import JobSource
    from hostler.model.hosts import Host
    from hostler.model.templates import Template
    from hostler.wiring.wanted import Wanted

#: --dry-run.
dry_option = click.option(
    "--dry-run", is_flag=True, help="Print the commands, one a line, and do nothing: no host is reached."
)
#: Seconds in which the ssh program must say what its configuration holds for a host.
ASK = 30.0
#: Characters gathered before they are printed.
GATHER = 1 << 16


def dry_run(source: JobSource, template: Template, *, hosts: Sequence[Host], how: Wanted) -> int:
    """Print each job's command as it would be typed; gives the exit code. Raises UsageError as the run would."""
    import asyncio

    from hostler.cli.jobsource import NO_JOBS
    from hostler.views.tables import counted, listed
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
    launch = how.launch
    if not how.quiet:
        where = [f"on {counted(len(hosts), 'host')}"] if hosts else []
        if launch:
            where.append(f"on {counted(launch, 'host')} launched for it")
        sys.stderr.write(f"hostler: dry run: {counted(count, 'job')} {' and '.join(where)}".rstrip() + "\n")
        for way, names in asyncio.run(_ways(hosts, how)).items():
            sys.stderr.write(f"hostler: {listed(names, shown=5)}: {way}\n")
    return 0


async def _ways(hosts: Sequence[Host], how: Wanted) -> dict[str, list[str]]:
    """How each host would be reached and why so, by the steps of a run that reaches none."""
    from tempfile import TemporaryDirectory

    from hostler.wiring.reaching import limited, ways

    found: dict[str, list[str]] = {}
    reached: list[str] = []
    with TemporaryDirectory(prefix="hostler-") as state:
        choosing = ways(Path(state), wanted=how, say=say, dry=lambda step: reached.append(step.host.name))
        transport = limited(choosing, wanted=how)
        for host in hosts:
            try:
                await transport.connect(host, deadline=ASK)
                found.setdefault(f"by {choosing.taken(host)}", []).append(reached.pop())
            except HostError as error:
                found.setdefault(error.why, []).append(host.name)
        await transport.close()
    return found


def _print(lines: list[str]) -> None:
    if lines:
        sys.stdout.buffer.write("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()
