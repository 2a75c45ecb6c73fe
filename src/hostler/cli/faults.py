"""`hostler sandbox faults`: give sandbox hosts the troubles that real ones have, and take them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hostler.cli.options import colour_option, duration
from hostler.cli.parsing import Verb
from hostler.cli.saying import say

if TYPE_CHECKING:
    from hostler.providers.sandbox_faults import Fault, Standing
    from hostler.providers.sandbox_files import Entry

LIST = "list"
SECONDS = 30.0


@click.command(
    cls=Verb,
    epilog="\b\nExamples:\n  hostler sandbox faults list\n  hostler sandbox faults sandbox1 silent --for 30s",
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--for", "lasting", metavar="DUR", help="Clear the fault after this time (30s, 5m, 2h, 1d).")
@colour_option
def command(names: tuple[str, ...], lasting: str | None, color: str) -> None:
    """Have sandbox hosts go wrong, to see what becomes of a batch at work there.

    The last word is a fault, or `clear`, and the names before it are hosts. `list`, or nothing, shows the faults that
    there are. A host has one at a time: another takes its place, `clear` takes it back, and it ends with its host.
    What a host has now stands in `hostler sandbox list`.
    """
    from hostler.errors import UsageError
    from hostler.providers.sandbox_faults import CLEAR, fault

    if names in ((), (LIST,)):
        if lasting is not None:
            raise UsageError(
                "--for: say which host and which fault: hostler sandbox faults sandbox1 silent --for 30s"
            )
        _show(color)
        return
    *hosts, what = names
    if not hosts:
        raise UsageError(f"{what}: say which host and which fault: hostler sandbox faults sandbox1 silent")
    seconds = None if lasting is None else duration(lasting, "--for")
    wanted = None if what == CLEAR else fault(what)
    if seconds is not None and (wanted is None or not wanted.stays):
        raise UsageError(f"--for {lasting}: {what} is done once and doesn't last")
    for entry in _entries(hosts):
        if wanted is None:
            _clear(entry)
        else:
            _give(entry, wanted, seconds)


def tell(state: Standing | None, now: float) -> str:
    """A host's fault in a word or two, for a table; "" when it is sound."""
    from hostler.model.durations import format_duration

    if state is None:
        return ""
    left = None if state.until is None else max(0.0, state.until - now)
    return state.name if left is None else f"{state.name}, {format_duration(left)} left"


def _entries(names: list[str]) -> list[Entry]:
    """The hosts of these names or ids, each once. Raises UsageError."""
    from hostler.errors import UsageError
    from hostler.providers.sandbox_files import Registry

    known = {word: entry for entry in Registry().entries() for word in (entry.id, entry.name)}
    for name in names:
        if name not in known:
            raise UsageError(f"{name}: no such sandbox host (see: hostler sandbox list)")
    return list({known[name].id: known[name] for name in names}.values())


def _give(entry: Entry, wanted: Fault, lasting: float | None) -> None:
    from hostler.clock import SystemClock
    from hostler.model.durations import format_duration
    from hostler.providers.sandbox_faults import give

    give(entry, wanted, now=SystemClock().now(), lasting=lasting, seconds=SECONDS)
    seconds = wanted.seconds if lasting is None else lasting
    how = f" for {format_duration(seconds)}" if seconds is not None and wanted.stays else ""
    say(f"{entry.name}: {wanted.name}{how}: {wanted.about}")
    if wanted.stays:
        say(f"to end it: hostler sandbox faults {entry.name} clear")


def _clear(entry: Entry) -> None:
    from hostler.providers.sandbox_faults import clear

    state = clear(entry, seconds=SECONDS)
    say(f"{entry.name}: {state.name} cleared" if state else f"{entry.name}: had no fault")


def _show(color: str) -> None:
    from hostler.cli.looking import colour_of, columns_of
    from hostler.providers.sandbox_faults import FAULTS
    from hostler.views.tables import Column, table

    heads = [Column(head, widest=None) for head in ("fault", "lasts", "what happens")]
    rows = [(each.name, _lasts(each), each.about) for each in FAULTS]
    click.echo(table(heads, rows, width=columns_of(1), colour=colour_of(1, color)), nl=False)


def _lasts(each: Fault) -> str:
    if not each.stays:
        return "once"
    return "until cleared" if each.seconds is None else f"{each.seconds:.0f}s"
