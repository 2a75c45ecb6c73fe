"""`hostler get TARGETS SRC DIR`: a file or folder of many hosts into a folder here, each host's apart."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from hostler.cli.copying import comparing_options, hosts_and_way, hosts_options, run
from hostler.cli.parsing import Verb
from hostler.errors import UsageError

if TYPE_CHECKING:
    from hostler.ports import Transport
    from hostler.work.copying.copies import One, Planned

EXAMPLES = (
    "\b\nExamples:\n  hostler get @sandbox /etc/hostname got\n"
    "  hostler get 'web[1-9]' /var/log/app logs --suffix"
)


@click.command(cls=Verb, epilog=EXAMPLES)
@click.argument("targets", metavar="TARGETS")
@click.argument("src", metavar="SRC")
@click.argument("folder", metavar="DIR")
@click.option("--suffix", is_flag=True, help="DIR/NAME.HOST instead of DIR/HOST/NAME.")
@comparing_options
@hosts_options
def command(targets: str, src: str, folder: str, suffix: bool, **options: Any) -> int:
    """Get a file or folder of many hosts into DIR/HOST/, under the name that it has there.

    A SRC without a slash in front is beneath the home there. Files that are the same here, by size and time, are passed
    over; what DIR has more stays. A host writes beneath its own name only, and never through a link.
    """
    source, place = os.fsencode(src), os.fsencode(folder)
    if b"\0" in source or not folder:
        raise UsageError("SRC and DIR: no names of files or folders")
    if os.path.lexists(place) and not os.path.isdir(place):
        raise UsageError(f"{folder}: not a folder")
    hosts, how = hosts_and_way(targets, options)

    async def make(transport: Transport, show: Callable[[Planned], None]) -> One:
        from hostler.engine.copyplan import Rules
        from hostler.work.copying.copies import SAFE_RIGHTS, Getting, Wish

        wish = Wish(
            rules=Rules(content=options["checksum"], rights=SAFE_RIGHTS), durable=options["fsync"],
            dry=options["dry_run"], diff=options["diff"], deadline=how.connect_timeout,
        )  # fmt: skip
        return Getting(source, place, place_of(suffix), transport=transport, wish=wish, show=show).of

    return run("get", hosts, how, options, make)


def place_of(suffix: bool) -> Callable[[str, bytes], bytes]:
    """Where beneath DIR what a host gives goes, by the host's name and its own.

    >>> place_of(True)("web1", b"app.log"), place_of(False)("web1", b"app.log")
    (b'app.log.web1', b'web1/app.log')
    """
    from hostler.views.results import file_name

    def place(host: str, name: bytes) -> bytes:
        own, safe = os.fsencode(file_name(host.encode())), os.fsencode(file_name(name))
        return safe + b"." + own if suffix else own + b"/" + safe

    return place
