"""How many may go in at once: fewer when somebody was turned away at the door, more again as others get in.

An sshd that holds too many half-open lines hangs up on further ones before it has said a word (MaxStartups). Which
addresses are one machine nobody knows before the first line is open, so what is learned holds for a lane: all who
have not tried yet, or all who were turned away. It must never count who is inside wrongly when a caller gives up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

#: What a lane loses in width when one is turned away; it gains one with each that gets in. So it settles where about
#: one of five is turned away at worst: a door that lets in all but a few of those who come at once.
LOSS = 4


class Lane:
    """A queue with a door that lets in `width` callers at once, between `least` and `most`."""

    def __init__(self, width: int, *, least: int, most: int) -> None:
        self.width = min(width, most)
        self._least, self._most = min(least, most), most
        self._inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, first come first served, and hold it inside the block."""
        await self._enter()
        try:
            yield
        finally:
            self._leave()

    def got_in(self) -> None:
        """One was let in: there is room for one more."""
        self.width = min(self._most, self.width + 1)
        self._admit()

    def turned_away(self) -> None:
        """One was turned away: there were too many."""
        self.width = max(self._least, self.width - LOSS)

    async def _enter(self) -> None:
        if self._inside < self.width and not self._waiting:
            self._inside += 1
            return
        mine = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            with suppress(ValueError):
                self._waiting.remove(mine)
            if mine.done() and not mine.cancelled():
                self._leave()  # the turn came, and nobody was there to take it
            raise

    def _leave(self) -> None:
        self._inside -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._inside < self.width:
            mine = self._waiting.popleft()
            if not mine.done():
                self._inside += 1
                mine.set_result(None)
