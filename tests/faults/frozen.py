"""A controller that is frozen, for shorter and for longer than its lease, and goes on as if nothing had been.

Beyond the lease hosts end their jobs by themselves; what the controller finds when it goes on must be recorded as it
was, and what is made again must be said. Within it nothing may be repeated at all.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator

from tests.faults.crash import OVER, PATIENCE, Ground, playground, wait
from tests.faults.frame import Tally, Trial, fault
from tests.faults.judge import judge
from tests.faults.plan import Plan, count_begun

LEASE = 4.0
FREEZES = 5


@fault("controller frozen", full=150.0)
def frozen(trial: Trial) -> Iterator[Tally]:
    """Stop and continue the controller at random moments, for times on either side of the lease."""
    with playground(trial.folder) as ground:
        for _ in range(trial.count(sample=1, full=3)):
            yield from _round(ground, random.Random(trial.chance.random()), shorter=True)
            yield from _round(ground, random.Random(trial.chance.random()), shorter=False)
            if trial.left < 0:
                break


def _round(ground: Ground, chance: random.Random, *, shorter: bool) -> Iterator[Tally]:
    hostler, plan = ground.hostler, Plan.make(40, chance=chance, longest=3.0, timeout=20.0)
    effects = hostler.folder / f"effects{len(ground.codes)}"
    # What a slow machine takes for a moment must not be as long as a lease.
    lease, most = (60.0, 3.0) if shorter else (LEASE, 3 * LEASE)
    given = ["-i", "hosts.yaml", "-j", "2", "--on-disconnect", f"lease={lease}", *plan.options]
    running = hostler.start("batch", *given, *plan.words(effects), stdin=plan.lines)
    tries = 0
    for _ in range(FREEZES):
        begun = count_begun(effects)
        wait(lambda begun=begun: count_begun(effects) > begun + 2, seconds=5.0)  # type: ignore[misc]
        time.sleep(chance.uniform(0.0, 0.5))
        if running.process.poll() is not None:
            break
        running.signal(signal.SIGSTOP)
        time.sleep(chance.uniform(0.3, most))
        running.signal(signal.SIGCONT)
        tries += 1
    done = running.wait(PATIENCE)
    ground.codes.append(done.code)
    assert done.code in OVER, done.err[-1000:]
    verdict = judge(hostler, plan=plan, effects=effects, forgives=() if shorter else ("lost", "interrupted"))
    name = f"controller frozen, {'shorter' if shorter else 'longer'} than its lease"
    note = "" if shorter else "jobs that were ended are made again, and that is said"
    yield verdict.tally(tries=tries, fault=name, note=note)
