"""Which way leads to a host: what its variable `transport` says, else the usual one.

It must never take one way for another because the first failed: a host that is refused here stays refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from hostler.errors import HostRefused
from hostler.model.hosts import Host
from hostler.ports import Connection, Transport

#: The host variable that names a way.
VARIABLE = "transport"


class Choosing:
    """A ports.Transport over several, by name; hosts that name none are reached by the one called `usual`."""

    def __init__(self, ways: Mapping[str, Transport], *, usual: str) -> None:
        self._ways, self._usual = ways, usual

    async def connect(self, host: Host, *, deadline: float) -> Connection:
        """Open a line the host's own way. Raises HostRefused when there is none of that name, and as that way does."""
        name = host.var(VARIABLE) or self._usual
        way = self._ways.get(name)
        if way is None:
            raise HostRefused(host.name, f"transport {name!r}: there is {', '.join(sorted(self._ways))}")
        return await way.connect(host, deadline=deadline)

    async def close(self) -> None:
        """Let go of what every way's connections share."""
        for way in self._ways.values():
            await way.close()
