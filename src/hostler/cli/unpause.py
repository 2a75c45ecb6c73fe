"""`hostler unpause RUN`: let a paused run go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hostler.cli.parsing import Verb
from hostler.cli.storing import store_option

if TYPE_CHECKING:
    from hostler.model.requests import Wish
    from hostler.model.runs import RunRow
    from hostler.stores.store import RowStore

EXAMPLES = "\b\nExamples:\n  hostler unpause last\n  hostler unpause 42"


@click.command(cls=Verb, epilog=EXAMPLES)
@click.argument("name", metavar="RUN")
@store_option
def command(name: str) -> int:
    """Let a paused run go on.

    RUN is a run's number, the first letters of its uid, or 'last'.
    """
    from hostler.cli.asking import ask, refuse_finished
    from hostler.model.requests import Unpause

    def make(store: RowStore, row: RunRow) -> Wish | str:
        refuse_finished(row, "it is not paused")
        return Unpause()

    return ask(name, make)
