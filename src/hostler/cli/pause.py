"""`hostler pause RUN`: start nothing more until it is unpaused."""

from __future__ import annotations

import click

from hostler.cli.parsing import Verb
from hostler.cli.storing import store_option

EXAMPLES = "\b\nExamples:\n  hostler pause last\n  hostler pause 42"


@click.command(cls=Verb, epilog=EXAMPLES)
@click.argument("name", metavar="RUN")
@store_option
def command(name: str) -> int:
    """Start no more jobs; those that run go on. It lasts until unpause, also across a resume.

    RUN is a run's number, the first letters of its uid, or 'last'.
    """
    from hostler.cli.asking import ask, unless_finished
    from hostler.model.requests import Pause

    return ask(name, unless_finished(Pause(), instead="there is nothing to pause"))
