"""Packets that are dropped without a word, and cables that are pulled: what the network does, and nobody tells of.

Two clocks must hold then, each by itself: that of the line, by which the controller gives it up after three
keepalives, and that of the job, which its host goes by. Nothing here waits for a time that the machine's speed decides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.command import Running, survivors
from tests.faults.crash import PATIENCE, wait
from tests.faults.frame import Tally, Trial, fault
from tests.faults.judge import judge
from tests.faults.plan import Plan, Task, count_begun
from tests.faults.wire import Far, far

#: Three keepalives of fifteen seconds, and room for a slow machine.
GIVEN_UP = 120.0
Case = Callable[[Trial, Far, Path, Running], None]


def moments(trial: Trial, ground: Far, effects: Path, running: Running) -> None:
    """Several times, for a few seconds in the middle of the work: nobody need notice."""
    for number in range(3):
        _in_the_middle(effects, running, 3 + 6 * number)
        ground.wire.drop()
        time.sleep(trial.chance.uniform(0.5, 4.0))
        ground.wire.heal()


def keepalives(trial: Trial, ground: Far, effects: Path, running: Running) -> None:
    """Until the controller has given the line up, by its own clock, and beyond."""
    _in_the_middle(effects, running, 3)
    ground.wire.drop()
    wait(lambda: _over(running) or "far: the host stopped answering" in running.err, seconds=GIVEN_UP)
    time.sleep(trial.chance.uniform(0.0, 10.0))
    ground.wire.heal()


def unplugged(trial: Trial, ground: Far, effects: Path, running: Running) -> None:
    """The cable pulled and put in again, twice."""
    for number in range(2):
        _in_the_middle(effects, running, 3 + 6 * number)
        ground.wire.unplug()
        time.sleep(trial.chance.uniform(1.0, 8.0))
        ground.wire.plug()


def job_clock(trial: Trial, ground: Far, effects: Path, running: Running) -> None:
    """Until a job's time is over: its host must end it although nobody listens."""
    wait(lambda: _over(running) or count_begun(effects) >= 4, seconds=60.0)
    ground.wire.drop()
    uid = ground.hostler.uid()
    wait(lambda: not survivors(uid), seconds=60.0)
    ground.wire.heal()


def lease(trial: Trial, ground: Far, effects: Path, running: Running) -> None:
    """Until the lease has ended there, and here: what ran was ended, and is made again."""
    wait(lambda: _over(running) or count_begun(effects) >= 4, seconds=60.0)
    ground.wire.drop()
    uid = ground.hostler.uid()
    wait(lambda: not survivors(uid), seconds=60.0)
    wait(lambda: _over(running) or _ended(ground) >= 4, seconds=GIVEN_UP)
    ground.wire.heal()


SHORT = Plan(tasks=tuple(Task(seconds=0.1 * (n % 5), out=300 * n) for n in range(36)))
#: name, what is done, the plan, more options, endings that it accounts for.
CASES: tuple[tuple[str, Case, Plan, tuple[str, ...], tuple[str, ...]], ...] = (
    ("packets dropped for moments", moments, SHORT, (), ()),
    ("packets dropped until the line is given up", keepalives, SHORT, (), ()),
    ("cable unplugged", unplugged, SHORT, (), ()),
    (
        "packets dropped until jobs' time is over", job_clock,
        Plan(tasks=(*(Task(end="hang") for _ in range(4)), *(Task() for _ in range(8))), timeout=2.0), (), (),
    ),
    (
        "packets dropped until the lease is over", lease,
        Plan(tasks=(*(Task(seconds=30.0) for _ in range(4)), *(Task() for _ in range(8)))),
        ("--on-disconnect", "lease=3"), ("lost", "interrupted"),
    ),
)  # fmt: skip


@fault("network that says nothing", full=420.0)
def network(trial: Trial) -> Iterator[Tally]:
    """Drop all packets in the middle of a run, for moments and for long; pull the cable."""
    with far(trial.folder) as ground:
        for name, case, plan, more, forgiven in CASES:
            effects = ground.hostler.folder / f"effects-{case.__name__}"
            words = ["batch", "-i", "far.yaml", "-j", "4", *more, *plan.options, *plan.words(effects)]
            running = ground.hostler.start(*words, stdin=plan.lines)
            case(trial, ground, effects, running)
            running.wait(PATIENCE)
            verdict = judge(ground.hostler, plan=plan, effects=effects, forgives=forgiven)
            yield verdict.tally(tries=1, fault=name)


@fault("packets dropped for a moment", sample=4.0, full=10.0)
def moment(trial: Trial) -> Iterator[Tally]:
    """Drop all packets while the first line is being opened, and once more in the middle of the work."""
    with far(trial.folder) as ground:
        effects = ground.hostler.folder / "effects"
        ground.wire.drop()
        words = ["batch", "-i", "far.yaml", "-j", "4", *SHORT.options, *SHORT.words(effects)]
        running = ground.hostler.start(*words, stdin=SHORT.lines)
        wait(lambda: _over(running) or "1 host" in running.err, seconds=60.0)
        time.sleep(0.5)
        ground.wire.heal()
        _in_the_middle(effects, running, 6)
        ground.wire.drop()
        time.sleep(trial.chance.uniform(0.3, 1.0))
        ground.wire.heal()
        running.wait(PATIENCE)
        yield judge(ground.hostler, plan=SHORT, effects=effects).tally(tries=2)


def _in_the_middle(effects: Path, running: Running, begun: int) -> None:
    wait(lambda: _over(running) or count_begun(effects) >= begun, seconds=60.0)


def _over(running: Running) -> bool:
    return running.process.poll() is not None


def _ended(ground: Far) -> int:
    """Attempts whose end is on record."""
    return sum(each["ending"] is not None for each in ground.hostler.json("log", "last"))
