"""Lines by a run's session key where it lets us in, by the person's own means where it does not.

The key comes first, on a login of its own: an agent that hangs is not asked, a host that counts keys is shown one, and
what the person has is left for the login after that. It must never try the person's means in the place of the key.
"""

from __future__ import annotations

from hostler.clock import Clock, SystemClock
from hostler.errors import HostKeyMismatch, HostRefused, Unreachable
from hostler.model.hosts import Host
from hostler.ports import Connection, Transport
from hostler.transports.sessionkeys import SessionKeys
from hostler.transports.shares import Share


class KeyedTransport:
    """A ports.Transport around another, which shows a host that names the session key that key alone."""

    def __init__(self, inner: Transport, keys: SessionKeys, *, clock: Clock | None = None) -> None:
        self._inner, self._keys, self._clock = inner, keys, clock or SystemClock()

    async def connect(self, host: Host, *, deadline: float) -> Connection:
        """Open a line. Raises HostError as the inner one does."""
        keys = self._keys
        if keys.is_ours(host):
            return await self._inner.connect(host, deadline=deadline)
        began, ours = self._clock.steady(), keys.keyed(host)
        if ours is None:
            line = await self._inner.connect(host, deadline=deadline)
        else:
            try:
                line = await self._inner.connect(ours, deadline=deadline)
            except HostKeyMismatch:
                raise
            except HostRefused:
                left = deadline - (self._clock.steady() - began)
                line = await self._by_own_means(host, deadline=left)
                keys.shut_out(host)  # now we know that it was the key's fault
        held = _Held(line)
        keys.came(host, held.share(host))
        return held.share(host)

    async def _by_own_means(self, host: Host, *, deadline: float) -> Connection:
        if deadline <= 0:
            raise Unreachable(host.name, "no time was left after a login by the session key")
        try:
            return await self._inner.connect(host, deadline=deadline)
        except HostKeyMismatch:
            raise
        except HostRefused as error:
            raise HostRefused(host.name, f"{error.why}; nor is the session key let in") from error

    async def close(self) -> None:
        """Let go of what the inner one's connections share."""
        await self._keys.close()
        await self._inner.close()


class _Held:
    """A line that its user and the keeper of keys both hold: what that one is about is not cut off by the other."""

    def __init__(self, line: Connection) -> None:
        self._line, self._users = line, 0

    def share(self, host: Host) -> Share:
        self._users += 1
        return Share(host, self._line, leave=self._leave)

    async def _leave(self) -> None:
        self._users -= 1
        if not self._users:
            await self._line.close()
