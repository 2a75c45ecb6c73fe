"""Clocks that tests own."""

from __future__ import annotations

import asyncio


class Hurried:
    """A clock whose seconds pass as soon as somebody sleeps, and everybody else had a turn."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds

    def steady(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        until = self.seconds + seconds
        for _ in range(20):
            await asyncio.sleep(0)
        self.seconds = max(self.seconds, until)
