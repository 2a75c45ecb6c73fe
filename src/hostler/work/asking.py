"""How the owner of a run comes to know what other processes want of it.

It must never look at a table while nothing was committed, and never ask the engine the same thing twice.
"""

from __future__ import annotations

from msgspec.structs import replace

from hostler.engine.facts import Asked
from hostler.model.requests import Cancel, Stop
from hostler.ports import Store

#: Seconds between two looks at whether anything was committed.
LOOK = 0.1


class Asking:
    """The requests to run `number`; a `visit` folds those that no owner has answered, also a stop.

    One that `stays` reaches no host: what ends jobs there waits for somebody who does.
    """

    def __init__(self, store: Store, number: int, *, visit: bool = False, stays: bool = False) -> None:
        self._store, self._number, self._visit, self._stays = store, number, visit, stays
        self._known: set[int] = set()
        self._version: int | None = None

    async def look(self) -> list[Asked]:
        """What is asked for and was not before."""
        first, version = self._version is None, self._store.version()
        if version == self._version:
            return []
        found = [one for one in await self._store.requests(self._number) if one.id not in self._known]
        self._version = version
        self._known.update(one.id for one in found)
        return [
            Asked(
                one.id,
                one.who,
                one.kind,
                one.wish,
                again=one.taken is not None,
                # Whoever takes a run up wants it to go on, whatever was asked of an owner that is no more.
                stale=first and not self._visit and isinstance(one.wish, Stop),
            )
            for one in found
            if not (self._stays and isinstance(one.wish, (Stop, Cancel)))
        ]

    async def standing(self, fact: Asked) -> Asked:
        """A request with how the jobs that it is about stand at this turn."""
        if not isinstance(fact.wish, Cancel):
            return fact
        found = await self._store.standings(self._number, fact.wish.jobs)
        return replace(fact, standings=tuple(found.items()))
