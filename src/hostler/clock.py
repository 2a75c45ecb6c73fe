"""The one source of time, so that tests can own it.

Nothing above this module calls time.time or asyncio.sleep by itself.
"""

from __future__ import annotations

import time
from typing import Protocol


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
        """Seconds that only grow."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        import asyncio  # half of what a command that only looks at runs would take to start

        await asyncio.sleep(seconds)
