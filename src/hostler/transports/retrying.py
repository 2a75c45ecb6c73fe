"""Hosts that did not answer, tried again with growing delays: for one-shot work, which has nobody above it that would.

A batch has its engine for that. It must never try again what was refused: the same try would fail again.
"""

from __future__ import annotations

from hostler.clock import Clock, SystemClock
from hostler.errors import Unreachable
from hostler.model.hosts import Host
from hostler.ports import Connection, Transport

#: Seconds before the second try, doubled each time up to the second figure.
PAUSE, LONGEST = 0.5, 15.0


class RetryingTransport:
    """A ports.Transport around another."""

    def __init__(self, inner: Transport, *, clock: Clock | None = None) -> None:
        self._inner, self._clock = inner, clock or SystemClock()

    async def connect(self, host: Host, *, deadline: float) -> Connection:
        """Open a line, however many tries fit into `deadline` seconds.

        Raises the last try's Unreachable, HostRefused and HostKeyMismatch at once.
        """
        until, pause = self._clock.steady() + deadline, PAUSE
        left = deadline
        while True:
            try:
                return await self._inner.connect(host, deadline=left)
            except Unreachable:
                left = until - self._clock.steady() - pause
                if left <= 0:
                    raise
            await self._clock.sleep(pause)
            pause = min(2 * pause, LONGEST)

    async def close(self) -> None:
        """Let go of what the inner one's connections share."""
        await self._inner.close()
