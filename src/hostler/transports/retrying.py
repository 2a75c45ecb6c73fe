"""Hosts that did not answer, tried again with growing delays: for who comes by once and has nobody above that would.

That is a visit to a run's hosts; a batch at work has its engine for it. It must never try again what was refused: the
same try would fail again.
"""

from __future__ import annotations

from hostler.clock import Clock, SystemClock
from hostler.errors import Unreachable
from hostler.model.hosts import Host
from hostler.ports import Connection, Transport

#: Seconds before the second try, doubled each time up to the second figure.
PAUSE, LONGEST = 0.5, 15.0


class RetryingTransport:
    """A ports.Transport around another that tries `tries` times."""

    def __init__(self, inner: Transport, *, tries: int, clock: Clock | None = None) -> None:
        self._inner, self._tries, self._clock = inner, tries, clock or SystemClock()

    async def connect(self, host: Host, *, deadline: float) -> Connection:
        """Open a line, as far as the tries fit into `deadline` seconds.

        Raises the last try's Unreachable, HostRefused and HostKeyMismatch at once.
        """
        until, pause = self._clock.steady() + deadline, PAUSE
        left, tried = deadline, 0
        while True:
            try:
                return await self._inner.connect(host, deadline=left)
            except Unreachable:
                left, tried = until - self._clock.steady() - pause, tried + 1
                if left <= 0 or tried >= self._tries:
                    raise
            await self._clock.sleep(pause)
            pause = min(2 * pause, LONGEST)

    async def close(self) -> None:
        """Let go of what the inner one's connections share."""
        await self._inner.close()
