"""Waiting for a run that another process works on: a look whenever something has changed, until nobody works on it.

Every verb that waits for a run waits here. It must never ask the tables whether there is news: the store's version says
so, and the sizes of files.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from hostler.cli.looking import stalled_words
from hostler.cli.saying import say
from hostler.clock import Clock, SystemClock
from hostler.model.commands import to_type
from hostler.stores.reading import Reader
from hostler.stores.reads.runs import has_owner, run, stalled

#: Seconds between two glances, as an owner's own at what is asked of it.
PAUSE = 0.1
#: Seconds between two looks whether the owner still shows signs of life.
PULSE = 5.0

#: How the row says that a run is over.
OVER = ("finished", "stopped")


class Glance(NamedTuple):
    """What a moment showed: whether there may be news since the last one, and whether anybody works on the run."""

    news: bool
    owned: bool


async def glances(
    reader: Reader, number: int, *, until: float | None = None, clock: Clock | None = None,
    tell: Callable[[str], None] = say,
) -> AsyncIterator[Glance]:  # fmt: skip
    """Look at a run several times a second, until nobody works on it or the clock's steady time is `until`.

    The first glance and the last one count as news: whoever looks again then has seen all that there is. `tell`
    is told, in one line, when who works on the run shows no sign of life.
    """
    clock = clock or SystemClock()
    version, due, told = -1, clock.steady(), False
    while True:
        # Asked in this order: what a dying owner wrote last is still seen.
        owned = has_owner(reader, number)
        if clock.steady() >= due:
            due, silent = clock.steady() + PULSE, stalled(reader, number)
            if silent is not None and not told:
                tell(f"batch {number} is stalled: {stalled_words(run(reader, number), silent)}")
            told = silent is not None
        last = not owned or (until is not None and clock.steady() >= until)
        now = reader.version()
        yield Glance(now != version or last, owned)
        version = now
        if last:
            return
        await clock.sleep(PAUSE)


async def left_alone(reader: Reader, number: int, *, until: float | None = None) -> bool:
    """Wait until nobody works on the run; False when somebody still does at `until`, a steady time of the clock."""
    async for glance in glances(reader, number, until=until):
        if not glance.owned:
            return True
    return False


def say_if_left(reader: Reader, number: int) -> None:
    """Say so when the run was left before its end."""
    row = run(reader, number)
    if row.state not in OVER:
        again = to_type(f"{row.verb} --resume {number}")
        say(f"nobody works on {row.verb} {number} any more; this goes on with it: {again}")
