"""`hostler sync TARGETS SRC DST`: have a file or folder on many hosts be what it is here."""

from __future__ import annotations

from typing import Any

import click

from hostler.cli.copying import comparing_options, hosts_and_way, hosts_options, run
from hostler.cli.options import Marked
from hostler.cli.parsing import Verb

EXAMPLES = (
    "\b\nExamples:\n  hostler sync @sandbox site /tmp/site --delete --dry-run\n"
    "  hostler sync 'web[1-9]' site /srv/site --checksum"
)


@click.command(cls=Verb, epilog=EXAMPLES)
@click.argument("targets", metavar="TARGETS")
@click.argument("src", metavar="SRC")
@click.argument("dst", metavar="DST")
@click.option(
    "--delete",
    cls=Marked,
    never="what it removes is gone",
    is_flag=True,
    help="Remove what is in DST and not in SRC.",
)
@click.option(
    "-p", "--parents", is_flag=True, help="Make the folders that DST is in, where they are missing."
)
@comparing_options
@hosts_options
def command(targets: str, src: str, dst: str, delete: bool, **options: Any) -> int:
    """Have DST on hosts be what SRC is here: names, content, links, rights and times.

    A slash at the end means nothing: DST becomes SRC, it never lies in it. Only what differs is sent, rights and times
    alone where only they do. What DST has more stays, but with --delete, which is refused where DST is the account's
    home or above it. Owners, hard links and devices are not carried over.
    """
    from hostler.cli.sending import sent

    hosts, how = hosts_and_way(targets, options)
    return run("sync", hosts, how, options, sent(src, dst, options, how, equal=True, delete=delete))
