"""The store in PostgreSQL: the crash loop on it, and its server killed, restarted and frozen while a run is at work.

The controller outlives its server: it holds its turn until that is there again. Nothing may come out otherwise than
on SQLite.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.faults.crash import Ground, playground, rounds, wait
from tests.faults.frame import CannotTry, Tally, Trial, fault
from tests.faults.judge import judge
from tests.faults.plan import Gates, Plan, count_begun
from tests.own_postgres import OwnPostgres, missing


@contextmanager
def server() -> Iterator[OwnPostgres]:
    """A server of this fault's own."""
    if why := missing():
        raise CannotTry(why)
    made = OwnPostgres()
    try:
        yield made
    finally:
        made.close()


@fault("controller killed, store in PostgreSQL", sample=8.0, full=600.0)
def killed(trial: Trial) -> Iterator[Tally]:
    """Kill the controller and cut lines at random, as on SQLite."""
    with server() as there:
        store = there.make("killed")
        if trial.sample:
            yield from rounds(trial, jobs=20, kills=1, cuts=0, a_round=20, harm=3, store=store)
        else:
            yield from rounds(trial, jobs=120, kills=40, cuts=10, a_round=40, harm=20, store=store)


@fault("server of the store killed, restarted, frozen", full=240.0)
def gone(trial: Trial) -> Iterator[Tally]:
    """Take the server away under a run, again and again."""
    with server() as there, playground(trial.folder) as ground:
        ground.hostler.env["HOSTLER_STORE"] = there.make("gone")
        for _ in range(8):
            yield _round(ground, there, trial.chance, times=6)


def _more(effects: Path, begun: int) -> bool:
    return count_begun(effects) > begun


def _round(ground: Ground, there: OwnPostgres, chance: random.Random, *, times: int) -> Tally:
    """One run, during which the server goes away so many times."""
    hostler = ground.hostler
    plan = Plan.make(10 * times, chance=chance, retries=1, gates=times)
    effects = hostler.folder / f"effects{len(ground.codes)}"
    done = []
    with Gates(effects, times) as gates:
        running = hostler.start(
            "batch", "-i", "hosts.yaml", "-j", "3", *plan.options, *plan.words(effects), stdin=plan.lines
        )
        wait(lambda: count_begun(effects) or running.process.poll() is not None, seconds=60.0)
        for number in range(times):
            begun = count_begun(effects)
            wait(lambda: running.process.poll() is not None, seconds=chance.uniform(0.0, 0.5))
            way = chance.choice(("immediate", "fast", "freeze"))
            done.append(way)
            gates.open(number)  # they go on while nobody can write it down
            if way == "freeze":
                with there.frozen():
                    time.sleep(chance.uniform(0.1, 1.5))
            else:
                there.stop(how=way)
                time.sleep(chance.uniform(0.0, 1.0))
                there.start()
            wait(partial(_more, effects, begun), seconds=20.0)
        gates.open(times)
        over = running.wait(180.0)
    ground.codes.append(over.code)
    if over.code not in (0, 1, 3):
        return Tally(
            tries=times, lost=len(plan.tasks), evidence=(f"exit code {over.code}: {over.err[-500:]}",)
        )
    verdict = judge(hostler, plan=plan, effects=effects)
    return verdict.tally(tries=times, note=", ".join(sorted(set(done))))
