"""A worker as the engine sees it: what it holds, how fast it is, how far ahead of need it is fed.

The window: a host is sent as many jobs as it has slots, and ahead of that enough to cover the round trip and a
quarter of a second of work, so that it never waits for us; one job ahead when jobs are long.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import ceil

from hostler.model.jobs import Queued

#: Seconds of work that are sent ahead of need, beyond the round trip.
AHEAD = 0.25
#: Attempts that all workers together may hold.
OPEN_LIMIT = 20_000
#: Seconds between tries to reach a worker, by how many have failed in a row.
DELAYS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
#: Failures in a row after which a worker is struck: it rests, and is probed now and then.
STRIKES = 3


class Line(Enum):
    """How a worker stands with us now."""

    DOWN = "down"
    CONNECTING = "connecting"
    UP = "up"
    RESTING = "resting"
    LOST = "lost"
    LEAVING = "leaving"
    RELEASED = "released"


@dataclass(slots=True)
class Try:
    """An attempt that is open."""

    queued: Queued
    n: int
    worker: int
    serial: int
    started: bool = False
    taken_back: bool = False


@dataclass(slots=True)
class Hand:
    """One worker. The first four fields are durable, the rest begins anew with every controller."""

    id: int
    serial: int = 0
    spool: str | None = None
    open: dict[int, Try] = field(default_factory=dict)
    line: Line = Line.DOWN
    slots: int = 1
    rtt: float = 0.0
    pace: float | None = None
    failures: int = 0
    refusals: int = 0
    resting: bool = False
    renewed: float = 0.0
    went: float = 0.0
    came: float = 0.0
    why: str = ""

    def finished(self, elapsed: float) -> None:
        """Learn from one more job how long they take."""
        self.refusals = 0
        self.pace = elapsed if self.pace is None else self.pace + (elapsed - self.pace) * 0.1

    def window(self, share: int) -> int:
        """How many open attempts this worker should hold, at most `share`."""
        if self.pace is None:
            ahead = self.slots
        else:
            ahead = ceil(self.slots / max(self.pace, 1e-4) * (self.rtt + AHEAD))
        return min(self.slots + max(ahead, 1), max(share, self.slots + 1))

    def surplus(self) -> list[int]:
        """Serials that have most likely not been started, the last ones sent first."""
        count = len(self.open) - self.slots
        if count <= 0:
            return []
        waiting = [t.serial for t in self.open.values() if not t.started and not t.taken_back]
        waiting.sort(reverse=True)
        return waiting[:count]

    def backlog(self) -> float:
        """Seconds of work that it holds beyond what it runs; without any knowledge, a lot."""
        count = len(self.open) - self.slots
        return count * (self.pace if self.pace is not None else 60.0) / self.slots
