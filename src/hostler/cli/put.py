"""`hostler put TARGETS SRC DST`: a file or folder of this machine onto many hosts."""

from __future__ import annotations

from typing import Any

import click

from hostler.cli.copying import comparing_options, hosts_and_way, hosts_options, run
from hostler.cli.parsing import Verb

EXAMPLES = (
    "\b\nExamples:\n  hostler put @sandbox app.conf /tmp/\n  hostler put 'web[1-9]' site /srv --dry-run"
)


@click.command(cls=Verb, epilog=EXAMPLES)
@click.argument("targets", metavar="TARGETS")
@click.argument("src", metavar="SRC")
@click.argument("dst", metavar="DST")
@click.option(
    "-p", "--parents", is_flag=True, help="Make the folders that DST is in, where they are missing."
)
@comparing_options
@hosts_options
def command(targets: str, src: str, dst: str, **options: Any) -> int:
    """Put a file or folder of this machine onto hosts, as `cp -r` would: into DST where that is a folder.

    Where DST is a folder there, or ends in a slash, SRC comes to lie in it under its own name; else DST is what SRC is
    called there. Files that are the same there, by size and time, are passed over. What is there and not here stays.
    A DST without a slash in front is beneath the home there. Each file is the old or the new one at every moment; what
    was cut off is gone on with when it is said again.
    """
    from hostler.cli.sending import sent

    hosts, how = hosts_and_way(targets, options)
    return run("put", hosts, how, options, sent(src, dst, options, how, equal=False))
