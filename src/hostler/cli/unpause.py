"""`hostler unpause RUN`: let a paused run go on."""

from __future__ import annotations

import click

from hostler.cli.parsing import Verb
from hostler.cli.storing import store_option

EXAMPLES = "\b\nExamples:\n  hostler unpause last\n  hostler unpause 42"


@click.command(cls=Verb, epilog=EXAMPLES)
@click.argument("name", metavar="RUN")
@store_option
def command(name: str) -> int:
    """Let a paused run go on.

    RUN is a run's number, the first letters of its uid, or 'last'.
    """
    from hostler.cli.asking import ask, unless_finished
    from hostler.model.requests import Unpause

    return ask(name, unless_finished(Unpause(), instead="it is not paused"))
