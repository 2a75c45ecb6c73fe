"""`hostler pause RUN`: start nothing more until it is unpaused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hostler.cli.parsing import Verb
from hostler.cli.storing import store_option

if TYPE_CHECKING:
    from hostler.model.requests import Wish
    from hostler.model.runs import RunRow
    from hostler.stores.store import RowStore

EXAMPLES = "\b\nExamples:\n  hostler pause last\n  hostler pause 42"


@click.command(cls=Verb, epilog=EXAMPLES)
@click.argument("name", metavar="RUN")
@store_option
def command(name: str) -> int:
    """Start no more jobs; those that run go on. It lasts until unpause, also across a resume.

    RUN is a run's number, the first letters of its uid, or 'last'.
    """
    from hostler.cli.asking import ask, refuse_finished
    from hostler.model.requests import Pause

    def make(store: RowStore, row: RunRow) -> Wish | str:
        refuse_finished(row, "there is nothing to pause")
        return Pause()

    return ask(name, make)
