"""Which way leads to a host: what its variable `transport` says, else what the user said, else what its line needs.

It must never take one way for another because the first failed: a host that is refused here stays refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from hostler.clock import Clock, SystemClock
from hostler.errors import HostRefused
from hostler.model.hosts import Host
from hostler.ports import Connection, Transport

#: The host variable that names a way.
VARIABLE = "transport"
#: The name that leaves the choice to us.
AUTO = "auto"


class Choosing:
    """A ports.Transport over several, by name. Each is made when the first host is to be reached by it.

    Hosts that name none are reached by the one called `usual`. "auto" means the ssh program (`openssh`) for those of
    which `needs` says why, AsyncSSH for all others.
    """

    def __init__(
        self,
        ways: Mapping[str, Callable[[], Transport]],
        *,
        usual: str,
        needs: Callable[[Host], Awaitable[str | None]] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._ways, self._usual, self._needs = ways, usual, needs
        self._clock = clock or SystemClock()
        self._made: dict[str, Transport] = {}
        self._chosen: dict[Host, tuple[str, str]] = {}
        self._took: dict[str, float] = {}

    async def connect(self, host: Host, *, deadline: float) -> Connection:
        """Open a line the host's own way. Raises HostRefused when there is none of that name, and as that way does."""
        name, _ = await self.choice(host)
        if name not in self._made:
            self._made[name] = self._ways[name]()
        began = self._clock.steady()
        connection = await self._made[name].connect(host, deadline=deadline)
        self._took[host.name] = self._clock.steady() - began
        return connection

    async def choice(self, host: Host) -> tuple[str, str]:
        """A host's way by name, and why it is that one. Raises HostRefused, Unreachable."""
        held = self._chosen.get(host)
        if held is None:
            held = self._chosen[host] = await self._choose(host)
        return held

    async def why(self, host: Host) -> str:
        """A host's way and the reason for it, in one line.

        >>> await choosing.why(host)  # doctest: +SKIP
        'asyncssh, as nothing in your SSH configuration needs the ssh program'
        """
        name, reason = await self.choice(host)
        return f"{name}, {reason}"

    def taken(self, host: Host) -> str:
        """The way that a host was reached and why so, in one line; empty when it was not tried yet."""
        return ", ".join(self._chosen.get(host, ()))

    def took(self, host: Host) -> float | None:
        """Seconds that the last line to a host took to open; None when there was none."""
        return self._took.get(host.name)

    async def close(self) -> None:
        """Let go of what every way's connections share."""
        for way in self._made.values():
            await way.close()

    async def _choose(self, host: Host) -> tuple[str, str]:
        own = host.var(VARIABLE)
        name = own or self._usual
        if name == AUTO and self._needs is not None:
            why = await self._needs(host)
            if why is None:
                return "asyncssh", "as nothing in your SSH configuration needs the ssh program"
            return "openssh", f"as {why}"
        if name not in self._ways:
            raise HostRefused(host.name, f"transport {name!r}: there is {', '.join(sorted(self._ways))}")
        return name, "as its variable transport says" if own else "as --transport or a setting says"
