"""The channels of one connection on which attempt.sh is spoken to: as many commands at a time as the host grants."""

from __future__ import annotations

import asyncio

from hostler.clock import Clock
from hostler.errors import Unreachable
from hostler.links.attempt_state import BATCH
from hostler.ports import Connection, Finished
from hostler.remote.attempt_source import BOOT

#: Commands at a time, beside the one that stays.
CHANNELS = 3
#: Seconds that a command may take there.
DEADLINE = 120.0
#: Seconds for which a host may refuse another session before its line is given up.
PATIENCE = 10.0
#: The same for the first command, beside which no other has just ended.
ALONE = 0.5


class Channels:
    """Runs messages for attempt.sh over a connection. A host that refuses one beside others gets fewer at a time."""

    def __init__(self, connection: Connection, *, clock: Clock) -> None:
        self._connection, self._clock = connection, clock
        self._busy, self._width, self._freed = 0, CHANNELS, asyncio.Event()

    async def run(self, text: bytes, *, patience: float = PATIENCE) -> Finished:
        """Run one when there is a channel; `patience` in seconds. Raises HostError."""
        until = 0.0
        while True:
            while self._busy >= self._width:
                self._freed.clear()
                await self._freed.wait()
            self._busy += 1
            until = until or self._clock.steady() + patience
            try:
                return await self._connection.run(
                    BOOT, stdin=text, deadline=DEADLINE, limit=BATCH + (256 << 10)
                )
            except Unreachable:
                if self._clock.steady() > until:
                    raise
                self._width = max(1, self._busy - 1)
            finally:
                self._busy -= 1
                self._freed.set()
            await self._clock.sleep(0.05)  # a session that has just ended counts there a little longer
