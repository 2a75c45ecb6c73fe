"""Disks that are full for a while in the middle of a run: the controller's, and that of its hosts.

Not a byte is left, so whatever was not set aside before is refused. What runs goes on, what is done is not forgotten,
and once there is room all is as it would have been: a full disk is no reason to make anything again. (A job that
prints while its host's disk is full is told so by its own write, as behind any `>`; the jobs here print nothing then.)
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults.chaos import small_disks
from tests.faults.crash import PATIENCE, playground, wait
from tests.faults.frame import Tally, Trial, fault
from tests.faults.judge import judge
from tests.faults.plan import Plan, count_begun

JOBS = 40


@fault("disk full in the middle of a run", full=60.0)
def full(trial: Trial) -> Iterator[Tally]:
    """Fill the controller's disk, and the hosts', to the last byte, and make room again."""
    disks = {side: trial.folder / f"{side}-disk" for side in ("controller", "hosts")}
    with (
        small_disks(*disks.values()),
        playground(trial.folder, state=disks["controller"] / "state", spool=disks["hosts"]) as ground,
    ):
        for number, (side, disk) in enumerate(trial.pick([*disks.items()] * 2, sample=2)):
            plan = Plan.make(
                JOBS, chance=trial.chance, longest=0.4, largest=4_000 if side == "controller" else 0
            )
            effects = ground.hostler.folder / f"effects{number}"
            words = ["-i", "hosts.yaml", "-j", "3", *plan.options, *plan.words(effects)]
            running = ground.hostler.start("batch", *words, stdin=plan.lines)
            begun = trial.chance.randint(4, JOBS // 2)
            wait(lambda e=effects, n=begun: count_begun(e) >= n, seconds=60.0)  # type: ignore[misc]
            with filled(disk):
                time.sleep(trial.chance.uniform(1.0, 4.0))
            running.wait(PATIENCE)
            verdict = judge(ground.hostler, plan=plan, effects=effects)
            yield verdict.tally(tries=1, fault=f"disk full: {side}")


@contextlib.contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Leave no room on a disk, as long as the block lasts."""
    ballast = disk / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
        with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(512))
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(ballast)
