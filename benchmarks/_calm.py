"""Whether the machine is ours: what other programs take of it, and waiting until that is little.

It must never wait without an end: patience is in seconds, for a whole benchmark.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
CORES = len(os.sched_getaffinity(0))
#: A machine counts as calm when it was idle for this part of a look, and a run as undisturbed when others took less
#: than this part of the machine.
IDLE, DISTURBED = 0.9, 0.1
LOOK = 0.5


class Calm:
    """Waits for calm, `patience` seconds in all."""

    def __init__(self, patience: float) -> None:
        self.left = patience

    def begin(self) -> str:
        """Wait, and say in one sentence what came of it."""
        return "The machine was calm when it began." if self.wait() else "Others were at work when it began."

    def wait(self) -> bool:
        """Wait until nobody else is at work; whether that came about."""
        said = False
        while True:
            before, begun = busy(), time.monotonic()
            time.sleep(LOOK)
            if 1 - (busy() - before) / (time.monotonic() - begun) / CORES >= IDLE:
                return True
            if self.left <= 0:
                return False
            if not said:
                print(f"waiting for a calm machine, {self.left:.0f} s at most", file=sys.stderr, flush=True)
            said = True
            pause = min(2.0, self.left)
            time.sleep(pause)
            self.left -= pause + LOOK


def busy() -> float:
    """CPU seconds that this machine has worked since it was started, all cores together."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _waiting, irq, softirq, steal = map(int, words)
    return (user + nice + system + irq + softirq + steal) / TICK
