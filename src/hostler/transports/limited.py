"""Lines opened politely: so many at once, and fewer to those who hang up because too many come.

What a host that hangs up before the login means by it is "not so many at once", so its caller doesn't hear of it as
long as there is time to come again. It must never try a host again for any other reason.
"""

from __future__ import annotations

from hostler.clock import Clock, SystemClock
from hostler.errors import Crowded
from hostler.model.hosts import Host
from hostler.ports import Connection, Transport
from hostler.transports.ramp import Lane

#: Seconds before who was turned away comes again, doubled each time up to the second.
PAUSE, LONGEST = 0.1, 5.0
#: As many as come at once again after having been turned away: sshd lets in ten whatever happens.
AGAIN = 8
#: As many as are tried at once for the first time, however many are turned away.
FIRST = 8
#: How often a host may hang up on us although nobody else was at its door: that is no crowd.
ALONE = 5


class LimitedTransport:
    """A ports.Transport around another that opens at most `limit` lines at once.

    `deadline` counts from when a host's turn comes, and goes on while it is tried again.
    """

    def __init__(self, inner: Transport, *, limit: int, clock: Clock | None = None) -> None:
        self._inner, self._clock = inner, clock or SystemClock()
        self._all = Lane(limit, least=limit, most=limit)
        self._first = Lane(limit, least=FIRST, most=limit)
        self._again = Lane(AGAIN, least=1, most=limit)
        self._under_way = 0

    async def connect(self, host: Host, *, deadline: float) -> Connection:
        """Open a line when its turn comes. Raises HostError as the inner one does, Crowded once time is up."""
        lane, pause, left, alone = self._first, PAUSE, deadline, 0
        while True:
            async with lane.turn(), self._all.turn():
                began = self._clock.steady()
                self._under_way += 1
                try:
                    line = await self._inner.connect(host, deadline=left)
                except Crowded:
                    lane.turned_away()
                    alone = alone + 1 if self._under_way == 1 else 0
                    left -= self._clock.steady() - began + pause
                    if left <= 0 or alone >= ALONE:
                        raise
                else:
                    lane.got_in()
                    return line
                finally:
                    self._under_way -= 1
            await self._clock.sleep(pause)
            lane, pause = self._again, min(2 * pause, LONGEST)

    async def close(self) -> None:
        """Let go of what the inner one's connections share."""
        await self._inner.close()
