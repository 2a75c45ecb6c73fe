"""Machines that exist only as values: for the tests of those who build on the Provider port.

It passes the suite that the real providers pass; it must never do what they could not.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from msgspec.structs import replace

from hostler.clock import Clock, SystemClock
from hostler.errors import ProviderError, UsageError
from hostler.model.hosts import Host
from hostler.model.instances import Instance


class Memory:
    """A provider whose machines are entries in a dict.

    `capacity` is how many there can be at once; a launch beyond it raises ProviderError and launches none.
    """

    name = "memory"

    def __init__(self, *, clock: Clock | None = None, capacity: int = 1000) -> None:
        self._clock = clock or SystemClock()
        self._capacity = capacity
        self._numbers = itertools.count(1)
        self._all: dict[str, Instance] = {}
        self._ever: set[str] = set()

    async def launch(
        self, count: int, *, run: str | None, token: str, deadline: float, lifetime: float | None
    ) -> tuple[Instance, ...]:
        """Launch `count` machines; the same token again gives the same ones, topped up to `count`.

        `lifetime` is their fuse in seconds. Raises UsageError for a count below 1, ProviderError when full.
        """
        if count < 1:
            raise UsageError(f"{count} machines: at least 1")
        there = [instance for instance in self._living() if instance.token == token]
        missing = count - len(there)
        if missing > 0 and len(self._all) + missing > self._capacity:
            raise ProviderError(f"memory: {self._capacity} machines are all there are")
        there += [self._new(run, token, lifetime) for _ in range(missing)]
        return tuple(there[:count])

    async def destroy(self, instances: Sequence[Instance], *, deadline: float) -> None:
        """End machines; one that is gone already is no error."""
        for instance in instances:
            self._all.pop(instance.id, None)

    async def instances(self, *, run: str | None = None) -> tuple[Instance, ...]:
        """The machines that there are, of one run or all, oldest first."""
        return tuple(each for each in self._living() if run is None or each.run == run)

    async def ended(self, hosts: Sequence[Host], *, deadline: float) -> frozenset[str]:
        """Which of these have ended; of those that others launched it knows nothing."""
        there = {each.id for each in self._living()}
        asked = {host.instance for host in hosts if host.instance is not None}
        return frozenset(asked & self._ever - there)

    def ending(self, instances: Sequence[Instance]) -> str:
        """The command that ends machines, if they were more than values."""
        return " ".join(["hostler destroy", *(instance.host.name for instance in instances)])

    async def adopt(self, *, run: str) -> tuple[Instance, ...]:
        """Answer for a run's machines from now on."""
        return await self.instances(run=run)

    async def release(self, instances: Sequence[Instance]) -> tuple[Instance, ...]:
        """Make machines nobody's: of no run."""
        there = [replace(self._all[each.id], run=None) for each in instances if each.id in self._all]
        self._all |= {each.id: each for each in there}
        return tuple(there)

    def has(self, instance: Instance) -> bool:
        """Whether the machine is there."""
        return any(each.id == instance.id for each in self._living())

    def _living(self) -> list[Instance]:
        now = self._clock.now()
        for instance in [*self._all.values()]:
            if instance.left(now) == 0.0:
                del self._all[instance.id]
        return [*self._all.values()]

    def _new(self, run: str | None, token: str, lifetime: float | None) -> Instance:
        number = next(self._numbers)
        now = self._clock.now()
        id = f"mem-{number}"
        host = Host(
            name=f"memory{number}", address=f"memory{number}", tags=frozenset({"memory"}), source="memory",
            instance=None if run is None else id,
        )  # fmt: skip
        expires = None if lifetime is None else now + lifetime
        made = Instance(
            id=id,
            provider=self.name,
            run=run,
            token=token,
            host=host,
            started=now,
            expires=expires,
        )
        self._all[made.id] = made
        self._ever.add(made.id)
        return made
