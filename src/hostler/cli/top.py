"""`hostler top`: runs, hosts, jobs and what these print, on the whole terminal, as it changes."""

from __future__ import annotations

import os

import click

from hostler.cli.options import colour_option
from hostler.cli.parsing import Verb
from hostler.cli.storing import store_option
from hostler.errors import UsageError

#: The exit code where the screen itself failed.
BROKEN = 6

EXAMPLES = "\b\nExamples:\n  hostler top\n  hostler top last"


@click.command(cls=Verb, epilog=EXAMPLES)
@click.argument("name", metavar="[RUN]", required=False)
@colour_option
@store_option
def command(name: str | None, color: str) -> int:
    """Watch runs on the whole terminal: all of them, or the hosts and jobs of one, and what a job prints.

    RUN is a run's number, the first letters of its uid, or 'last'. ? shows what keys do: filter, sort, see only what
    fails, follow a job's output, pause or stop a run, cancel a job; q leaves, and runs go on. It needs the package
    Textual: pip install 'hostler[top]'.
    """
    from hostler.cli import looking

    if not all(looking.is_terminal(fd) for fd in (0, 1, 2)) or os.environ.get("TERM") in (None, "", "dumb"):
        raise UsageError(
            "hostler top needs a terminal; hostler runs and hostler status RUN print what it shows"
        )
    try:
        import textual  # noqa: F401
    except ImportError:
        raise UsageError("hostler top needs the package Textual: pip install 'hostler[top]'") from None
    if not looking.colour_of(1, color):
        os.environ["NO_COLOR"] = "1"
    else:
        os.environ.pop("NO_COLOR", None)
    # A store that can't be used is told of before anything is drawn.
    with looking.opened() as reader:
        number = None if name is None else looking.look(reader, name).row.number
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)  # what a shell has exported once doesn't change with the window
    from hostler.cli.top_asking import ask
    from hostler.cli.top_reading import Board
    from hostler.views.top.app import Top

    top = Top(Board(), ask, run=number)
    code = top.run()
    return BROKEN if code is None and top.return_code else code or 0
