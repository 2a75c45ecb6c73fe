"""`hostler set RUN`: other values for a run that is under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hostler.cli.options import duration, whole
from hostler.cli.parsing import Verb
from hostler.cli.storing import store_option
from hostler.errors import UsageError
from hostler.model.commands import to_type

if TYPE_CHECKING:
    from hostler.model.requests import Wish
    from hostler.model.runs import RunRow
    from hostler.stores.store import RowStore

EXAMPLES = "\b\nExamples:\n  hostler set last --slots 4\n  hostler set 42 --timeout 10m --retries 2"


@click.command(cls=Verb, epilog=EXAMPLES)
@click.option("-j", "--slots", metavar="N", help="Jobs at once on each host.")
@click.option("--timeout", metavar="DUR", help="End an attempt that begins from now on after this long.")
@click.option("--retries", metavar="N", help="Try a job that fails from now on this many times more.")
@click.argument("name", metavar="RUN")
@store_option
def command(name: str, slots: str | None, timeout: str | None, retries: str | None) -> int:
    """Change how a run works, from now on. What runs is let end; nothing is started anew for it.

    RUN is a run's number, the first letters of its uid, or 'last'.
    """
    from hostler.cli.asking import ask, refuse_finished
    from hostler.model.requests import Change

    change = Change(
        slots=None if slots is None else whole(slots, "--slots", most=10_000),
        timeout=None if timeout is None else duration(timeout, "--timeout"),
        retries=None if retries is None else whole(retries, "--retries", least=0, most=1000),
    )
    if not change.values:
        raise UsageError("nothing to set: say --slots, --timeout or --retries")

    given = {"-j": slots, "--timeout": timeout, "--retries": retries}
    said = " ".join(f"{flag} {value}" for flag, value in given.items() if value is not None)

    def make(store: RowStore, row: RunRow) -> Wish | str:
        refuse_finished(
            row, f"what failed is tried again so by: {to_type(f'batch --retry {row.number} {said}')}"
        )
        return change

    return ask(name, make)
