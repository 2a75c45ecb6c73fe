"""`hostler stop RUN`: end a run, whoever works on it, or nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hostler.cli.parsing import Verb
from hostler.cli.storing import store_option
from hostler.cli.visiting import visiting, visiting_options

if TYPE_CHECKING:
    from hostler.model.requests import Wish
    from hostler.model.runs import RunRow
    from hostler.stores.store import RowStore

EXAMPLES = "\b\nExamples:\n  hostler stop last\n  hostler stop --drain 42"


@click.command(cls=Verb, epilog=EXAMPLES)
@visiting_options
@click.option(
    "--drain", is_flag=True, help="Start nothing more, and stop when what runs has ended by itself."
)
@click.argument("name", metavar="RUN")
@store_option
def command(name: str, drain: bool, **options: Any) -> int:
    """End a run: running jobs are ended, the others wait for 'hostler batch --resume'.

    When nobody works on it any more, its hosts are visited and what they still run of it is ended; what they were
    begun with (--transport, --strict-host-keys) holds for that, too. Where a host can't be reached, that is told, and
    the exit code is 4. RUN is a run's
    number, the first letters of its uid, or 'last'.
    """
    from hostler.cli.asking import ask, ended_words
    from hostler.cli.looking import still_open
    from hostler.model.requests import Stop

    def make(store: RowStore, row: RunRow) -> Wish | str:
        if row.exit_code is not None and not still_open(store.reader, row.number):
            return f"it has ended already, {ended_words(row)}"
        return Stop(drain=drain)

    return ask(name, make, reach=visiting(options))
