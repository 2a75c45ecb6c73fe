"""A worker as the engine sees it: what it holds, how fast it is, how far ahead of need it is fed.

The window: a host is sent as many jobs as it has slots, and ahead of that enough to cover the round trip and a
quarter of a second of work, so that it never waits for us; one job ahead when jobs are long.
"""

from __future__ import annotations

from enum import Enum
from math import ceil

from msgspec import Struct, field

from hostler.model.jobs import Queued

#: Seconds of work that are sent ahead of need, beyond the round trip.
AHEAD = 0.25
#: Seconds over which ended jobs are counted.
SPAN = 0.2
#: Attempts that all workers together may hold.
OPEN_LIMIT = 20_000
#: Seconds between tries to reach a worker, by how many have failed in a row.
DELAYS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
#: Seconds between tries to reach a worker that holds work of ours, at most: what it does there is waited for.
EAGER = 1.5
#: Hosts that a job may take with it before it is suspected, and then given a host to itself.
SUSPECT = 2
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


class Try(Struct):
    """An attempt that is open. One sent `again` may have been taken back before, and nobody here knows of it."""

    queued: Queued
    n: int
    worker: int
    serial: int
    started: bool = False
    taken_back: bool = False
    again: bool = False


class Hand(Struct):
    """One worker. The first six fields are durable, the rest begins anew with every controller."""

    id: int
    serial: int = 0
    spool: str | None = None
    machine: str = ""
    launched: bool = False
    open: dict[int, Try] = field(default_factory=dict)
    line: Line = Line.DOWN
    slots: int = 1
    rtt: float = 0.0
    pace: float | None = None
    rate: float = 0.0
    counted: int = 0
    since: float = 0.0
    failures: int = 0
    refusals: int = 0
    #: Jobs in a row that failed here, and whether it gets no more for them.
    misses: int = 0
    retired: bool = False
    #: Jobs in a row that it gave back though nobody had asked for them.
    unasked: int = 0
    #: Lines in a row that ended in nonsense, with no job ended in between.
    nonsense: int = 0
    #: Whether it could not be had for so long that it was struck, or was given up, and has not answered since.
    out: bool = False
    given_up: bool = False
    #: Whether its machine has ended: it never comes back.
    gone: bool = False
    #: When the job began that shows whether it is well; 0 when there is none.
    probed: float = 0.0
    #: Whether something of ours may be there that no attempt of this life tells of.
    owed: bool = False
    resting: bool = False
    renewed: float = 0.0
    went: float = 0.0
    until: float = 0.0
    came: float = 0.0
    ended: float = 0.0
    why: str = ""

    def finished(self, elapsed: float, at: float) -> None:
        """Learn from one more job how fast this worker is, by how long jobs take and by how many end in a second.

        The second matters where jobs differ much: seven slots may be quick while the eighth works for an hour.
        """
        self.refusals = self.unasked = self.nonsense = 0
        self.ended = at
        self.pace = elapsed if self.pace is None else self.pace + (elapsed - self.pace) * 0.1
        self.counted += 1
        span = at - self.since
        if span > SPAN:
            fresh = self.counted / span if span < 10 * SPAN else 0.0
            self.rate = (self.rate + fresh) / 2 if self.rate else fresh
            self.counted, self.since = 0, at

    def speed(self) -> float:
        """Jobs per second that this worker ends when it is fed; 0 while nothing is known."""
        return 0.0 if self.pace is None else max(self.slots / max(self.pace, 1e-4), self.rate)

    @property
    def alone(self) -> bool:
        """Whether a suspect is at work here, with which nothing else is."""
        return len(self.open) == 1 and next(iter(self.open.values())).queued.kills >= SUSPECT

    def window(self, share: int) -> int:
        """How many open attempts this worker should hold, at most `share`."""
        ahead = self.slots if self.pace is None else ceil(self.speed() * (self.rtt + AHEAD))
        return min(self.slots + max(ahead, 1), max(share, self.slots + 1))

    def surplus(self) -> list[int]:
        """Serials that have most likely not been started, the last ones sent first."""
        count = len(self.open) - self.slots
        if count <= 0:
            return []
        waiting = [
            t.serial
            for t in self.open.values()
            if not t.started and not t.taken_back and t.queued.pin is None
        ]
        waiting.sort(reverse=True)
        return waiting[:count]

    def backlog(self, at: float) -> float:
        """Seconds of work that it holds beyond what it runs; without any knowledge, a lot.

        A worker that was quick may be at work on long jobs now: it counts for no quicker than it has been of late.
        """
        speed = self.speed()
        quiet = at - max(self.ended, self.came) - self.rtt - AHEAD  # results come in batches
        if quiet > 0:
            speed = min(speed, self.slots / quiet)
        return (len(self.open) - self.slots) * (1 / speed if speed else 60.0)
