"""Hosts that go wrong in the middle of a run, in every way that `hostler sandbox faults` has: given as a person would.

Each is given to one of two hosts while both are at work, stays for a moment, and is cleared. What a fault accounts for
stands in `FORGIVEN`; everything else must be as if nothing had happened.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from hostler.providers.sandbox_faults import FAULTS
from tests.command import Hostler, Running
from tests.faults.crash import PATIENCE, wait
from tests.faults.frame import Tally, Trial, fault
from tests.faults.judge import judge
from tests.faults.plan import Plan, Task, count_begun
from tests.lab import Lab

#: Endings that a fault accounts for.
FORGIVEN = {"kill-runner": ("lost",), "reboot": ("lost",), "wipe": ("lost",)}
JOBS = 30
#: The first jobs of every run hold slots of both hosts, so that there is a runner on each while the command starts.
LONG = tuple(Task(seconds=6.0 + number) for number in range(4))


@fault("a host that goes wrong", full=300.0)
def hosts(trial: Trial) -> Iterator[Tally]:
    """Give each fault to one of two hosts in the middle of a run."""
    with Lab(path=trial.folder / "lab") as lab:
        lab.shared(2)
        hostler = Hostler(trial.folder / "controller", lab)
        try:
            for number, each in enumerate(trial.pick(FAULTS, sample=2)):
                plan = Plan(
                    tasks=(*LONG, *Plan.make(JOBS, chance=trial.chance, longest=0.6).tasks), timeout=20.0
                )
                effects = hostler.folder / f"effects{number}"
                given = ["--hosts", "@sandbox", "-j", "3", *plan.options, *plan.words(effects)]
                running = hostler.start("batch", *given, stdin=plan.lines)
                _in_the_middle(effects, running, len(LONG) + trial.chance.randint(0, JOBS // 4))
                for word in (each.name, "clear"):
                    done = hostler("sandbox", "faults", "sandbox1", word)
                    if done.code:
                        raise AssertionError(done.err)
                    time.sleep(trial.chance.uniform(0.0, 3.0))
                running.wait(PATIENCE)
                verdict = judge(hostler, plan=plan, effects=effects, forgives=FORGIVEN.get(each.name, ()))
                yield verdict.tally(tries=1, fault=f"a host with the fault {each.name}")
        finally:
            hostler.close()


def _in_the_middle(effects: Path, running: Running, begun: int) -> None:
    wait(lambda: count_begun(effects) >= begun or running.process.poll() is not None, seconds=60.0)
