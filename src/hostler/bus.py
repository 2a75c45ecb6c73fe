"""The turn: collect what has arrived, decide, commit, and only then act on it and tell the views.

No timer drives it: while one turn commits, the next one's facts gather. A turn that the store can't take (a full
disk) is held and tried again, so nothing is recorded wrongly and nothing is acted on that is not on disk. It must
never drop a fact, and never let a view hold anything up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from hostler.clock import Clock
from hostler.errors import HostlerError, StoreFull
from hostler.model.events import Event
from hostler.ports import Store, Turn, View

F = TypeVar("F")
#: Seconds between tries of a turn that the store has no room for.
AGAIN = 2.0


class Inbox(Generic[F]):
    """Facts that have arrived and wait for the next turn."""

    def __init__(self) -> None:
        self._facts: list[F] = []
        self._some = asyncio.Event()

    def put(self, fact: F) -> None:
        """Add a fact."""
        self._facts.append(fact)
        self._some.set()

    def peek(self) -> list[F]:
        """All facts there are, at once."""
        facts, self._facts = self._facts, []
        self._some.clear()
        return facts

    async def take(self, *, patience: float | None = None) -> list[F]:
        """All facts there are; after `patience` seconds without one, none."""
        if not self._facts:
            try:
                async with asyncio.timeout(patience):
                    await self._some.wait()
            except TimeoutError:
                return []
        return self.peek()


class Bus:
    """Numbers the events of one run, commits them, and shows them to the views.

    `seq` is the last event number that the store holds. `say` is told, in one line, of what goes wrong here.
    """

    def __init__(
        self, store: Store, *, run: int, epoch: int, seq: int, views: Sequence[View], clock: Clock,
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._store, self._clock, self._say = store, clock, say
        self._run, self._epoch, self._seq = run, epoch, seq
        self._views = list(views)
        self._holding = False

    @property
    def seq(self) -> int:
        """The number of the last event that was committed."""
        return self._seq

    def watch(self, view: View) -> None:
        """Show this view too what is committed from now on."""
        self._views.append(view)

    async def commit(self, events: Sequence[Event], *, before: Callable[[], None] | None = None) -> None:
        """Write the events of one turn. Returns once they are durable, however long the disk is full.

        Raises StaleEpoch when another controller has taken the run over, StoreError when the store is broken.
        """
        turn = Turn(run=self._run, epoch=self._epoch, seq=self._seq + 1, events=events)
        while True:
            try:
                await self._store.commit(turn, before=before)
                break
            except StoreFull as error:
                await self.hold(error)
        if self._holding:
            self._holding = False
            self._say("hostler: the state can be written again; going on")
        self._seq += len(events)
        self._show(events)

    async def hold(self, error: StoreFull) -> None:
        """Wait a little for room, and say so the first time."""
        if not self._holding:
            self._say(f"hostler: {error}; nothing new is started until it can be written")
        self._holding = True
        await self._clock.sleep(AGAIN)

    def _show(self, events: Sequence[Event]) -> None:
        for view in list(self._views):
            try:
                view.saw(events)
            except Exception as error:  # a view decides nothing: one that fails is let go, the run goes on
                self._views.remove(view)
                if isinstance(error, HostlerError):
                    self._say(f"hostler: {error}")
                else:
                    self._say(f"{type(view).__name__} was let go: {type(error).__name__}: {error}")
