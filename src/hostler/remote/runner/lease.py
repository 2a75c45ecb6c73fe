"""The lease: how long the runner works on with nobody listening.

It is counted by a clock that goes on while the host sleeps, as the controller's does: by the time that the host wakes,
its work may be another's. A job's own time is counted by one that stands still meanwhile.
"""

import sys
import time

#: Python 3.6 has no name for Linux's.
AWAKE_OR_NOT = getattr(
    time, "CLOCK_BOOTTIME", 7 if sys.platform.startswith("linux") else time.CLOCK_MONOTONIC
)
#: A longer lease means that we work on whatever becomes of the controller; with nothing left to do and nobody there we
#: leave after this, and the results stay. In seconds.
ENDLESS, IDLE = 365 * 86400.0, 60.0


def steady() -> float:
    """Seconds that only grow, also while the host sleeps, where it can tell."""
    try:
        return time.clock_gettime(AWAKE_OR_NOT)
    except OSError:
        return time.monotonic()


class Lease:
    """Counts from the newest of our answers that the controller is known to have: it counts from there, or later."""

    def __init__(self) -> None:
        self.length = 120.0
        self.renewed = steady()
        self.heard = {}  # type: dict[int, float]

    def greeted(self, length: float, fresh: bool) -> None:
        """A hello came. What runs is not given more time by one whose answer may never arrive, only by what follows."""
        self.length, self.heard = length, {0: steady()}
        if fresh:
            self.renewed = self.heard[0]

    def spoken(self) -> None:
        """Somebody speaks after a hello, and so has heard our answer to it."""
        if 0 in self.heard:
            self.renew(0)

    def asked(self, stamp: int, known: int) -> None:
        """A renewal came, which we answer; the controller has our answer to the one that it calls `known`."""
        self.renew(known)
        self.heard[stamp] = steady()

    def renew(self, known: int) -> None:
        """Count from an answer, if it was ours."""
        then = self.heard.get(known)
        if then is not None:
            self.renewed = max(self.renewed, then)
            self.heard = {sent: at for sent, at in self.heard.items() if at > then}

    def left(self) -> float:
        """Seconds to its end; none or fewer once it is over."""
        return self.renewed + self.length - steady()

    def idle(self) -> bool:
        """Whether it is one without end, and nobody has come for so long that this lets us go."""
        return self.length > ENDLESS and steady() >= self.renewed + IDLE
