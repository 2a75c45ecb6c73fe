"""Waiting for a run that another process works on: a look whenever something has changed, until nobody works on it.

It must never ask the tables whether there is news: the store's version says so, and the sizes of files.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from hostler.cli.saying import say
from hostler.clock import Clock, SystemClock
from hostler.stores.reading import Reader
from hostler.stores.reads.runs import has_owner, run

#: Seconds between two looks at the version.
LOOK = 0.1

#: How the row says that a run is over.
OVER = ("finished", "stopped")


async def changes(reader: Reader, number: int, *, clock: Clock | None = None) -> AsyncIterator[bool]:
    """Whether the store has changed since the last look, several times a second: first True, and True at the end.

    It ends once nobody works on the run, after a last look at what its owner has left.
    """
    clock = clock or SystemClock()
    version = -1
    while True:
        # Asked in this order: what a dying owner wrote last is still seen.
        alive = has_owner(reader, number)
        now = reader.version()
        yield now != version or not alive
        version = now
        if not alive:
            return
        await clock.sleep(LOOK)


def say_if_left(reader: Reader, number: int) -> None:
    """Say so when the run was left before its end."""
    if run(reader, number).state not in OVER:
        say(f"nobody works on batch {number} any more; this goes on with it: hostler batch --resume {number}")
