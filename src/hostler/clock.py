"""The one source of time, so that tests can own it.

Nothing above this module calls time.time or asyncio.sleep by itself.
"""

from __future__ import annotations

import time
from typing import Protocol

_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Wall time, a steady time for intervals, and waiting."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def steady(self) -> float:
        """Seconds that only grow."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def steady(self) -> float:
        """Seconds that only grow, also while the machine sleeps, where it can tell."""
        return time.clock_gettime(_STEADY)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        import asyncio  # half of what a command that only looks at runs would take to start

        await asyncio.sleep(seconds)


class Reckoning:
    """Wall time that nobody sets: what a clock showed once, and how long ago that was.

    A machine's clock may be put right, or wrong, in the middle of a run; no lease is longer or shorter for that.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock, self._origin = clock, clock.now() - clock.steady()

    def now(self) -> float:
        """Seconds since the epoch, as reckoned from the beginning."""
        return self._origin + self._clock.steady()
