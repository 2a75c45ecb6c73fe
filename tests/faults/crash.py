"""The crash loop: controllers killed at random instants, lines cut in three ways, resumed until all is done.

A round is one run on hosts of both kinds (with Python and without), reached through doors that can be slammed. It is
judged when it is over. Rounds follow each other until enough was killed and cut.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from hostler.model.hosts import Host
from tests.command import Hostler, Running, sessions
from tests.door import Door, entry
from tests.faults.frame import Tally, Trial, fault
from tests.faults.judge import Verdict, judge
from tests.faults.plan import Gates, Plan, count_begun
from tests.lab import Lab

WAYS = ("asyncssh", "asyncssh", "openssh")
#: Exit codes of a run that is over as its jobs have it.
OVER = (0, 1, 3)
#: So many jobs, kills or cuts as no time allows.
EVER = 1 << 30
#: Seconds that a round may take to its end when nothing is injured any more.
PATIENCE = 180.0


@dataclass(slots=True, kw_only=True)
class Ground:
    """Hosts behind doors, and a command: what rounds are played on. `kills` and `cuts` count over all of them."""

    hostler: Hostler
    lab: Lab
    doors: list[Door]
    kills: int = 0
    cuts: int = 0
    jobs: int = 0
    codes: list[int] = field(default_factory=list)

    def lines(self) -> list[tuple[Door, list[int]]]:
        """The hosts that have lines now, each with the processes of its sshd that serve them."""
        found = ((door, sessions(self.lab, door.host)) for door in self.doors)
        return [(door, pids) for door, pids in found if pids]

    def cut(self, chance: random.Random) -> bool:
        """Cut the lines to one host: its sessions killed, slammed, or reset; False when none had any for a while."""
        wait(self.lines, seconds=3.0)
        lines = self.lines()
        if not lines:
            return False
        door, pids = chance.choice(lines)
        way = chance.choice(("kill", "slam", "reset"))
        if way == "kill":
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        else:
            door.slam(reset=way == "reset")
        self.cuts += 1
        return True


@contextmanager
def playground(
    folder: Path,
    *,
    hosts: int = 2,
    without_python: int = 1,
    state: Path | None = None,
    spool: Path | None = None,
) -> Iterator[Ground]:
    """So many hosts of each kind, each behind a door of its own, in an inventory that `-i hosts.yaml` names.

    `state` and `spool` are where the controller and hosts keep what they keep, if elsewhere.
    """
    with ExitStack() as stack:
        lab = stack.enter_context(Lab(path=folder / "lab"))
        doors = [stack.enter_context(Door(host)) for host in lab.shared(hosts + without_python)]
        # The hosts are to be known by their doors alone: one endpoint, one name.
        hostler = Hostler(folder / "controller", lab, HOSTLER_SANDBOX_DIR=str(folder / "no-sandbox"))
        hostler.env |= {"HOSTLER_STATE_DIR": str(state)} if state else {}
        stack.callback(hostler.close)
        sheet = [
            _entry(door, number, python=number <= hosts, spool=spool) for number, door in enumerate(doors, 1)
        ]
        (hostler.folder / "hosts.yaml").write_text("hosts:\n" + "".join(sheet))
        yield Ground(hostler=hostler, lab=lab, doors=doors)


def _entry(door: Door, number: int, *, python: bool, spool: Path | None) -> str:
    host: Host = replace(door.host, address="127.0.0.1", port=door.port)
    said = dict(door.host.vars) | ({} if python else {"python": "none"})
    said |= {"spool": str(spool / str(number))} if spool else {}
    words = ", ".join(f"{name}: '{value}'" for name, value in said.items())
    return entry(host, f"{'door' if python else 'sh'}{number}").replace("}\n", f", vars: {{{words}}}}}\n")


def play(ground: Ground, plan: Plan, *, chance: random.Random, until: float, harm: Sequence[str]) -> Verdict:
    """One round: begin a run, kill and cut as `harm` says, let it end, judge it."""
    hostler = ground.hostler
    effects = hostler.folder / f"effects{len(ground.codes)}"
    given = ["-i", "hosts.yaml", "-j", str(chance.randint(2, 5)), *plan.options, *_way(chance)]
    with Gates(effects, len(harm)) as gates:
        running = hostler.start("batch", *given, *plan.words(effects), stdin=plan.lines)
        # The first one is not killed before its jobs are on disk: the promise begins with the run's number.
        wait(lambda: count_begun(effects) or running.process.poll() is not None, seconds=60.0)
        for number, what in enumerate(harm):
            if time.monotonic() > until or not _moment(ground, running, effects, chance):
                break
            if what == "kill":
                running.kill()
                ground.kills += 1
            if what == "cut" or chance.random() < 0.2:
                ground.cut(chance)
            if what == "kill":
                running = hostler.start("batch", "--resume", "last", *_way(chance))
            gates.open(number)
        gates.open(len(harm))
        done = running.wait(PATIENCE)
    ground.codes.append(done.code)
    ground.jobs += len(plan.tasks)
    if done.code not in OVER:
        raise AssertionError(f"exit code {done.code}: {done.err[-1000:]}")
    return judge(hostler, plan=plan, effects=effects)


def _order(harm: int, chance: random.Random) -> Sequence[str]:
    what = ["cut" if number % 5 in (0, 2) else "kill" for number in range(harm)]
    chance.shuffle(what)
    return what


def _way(chance: random.Random) -> list[str]:
    return ["--transport", chance.choice(WAYS)]


def _moment(ground: Ground, running: Running, effects: Path, chance: random.Random) -> bool:
    """Wait for the next moment to do harm; False when the run is over before it comes.

    Mostly that is when the controller has reached a host and some more attempts have begun, so that a slow machine is
    hurt as deep in its work as a quick one; now and then after some time, which may be before it has reached anything.
    """

    def over() -> bool:
        return running.process.poll() is not None

    more, most = 0, chance.uniform(0.0, 0.7)
    if chance.random() < 0.75:
        wait(lambda: over() or ground.lines(), seconds=5.0)
        more, most = chance.randint(0, 3), chance.uniform(0.0, 0.25)
    begun = count_begun(effects)
    wait(lambda: over() or count_begun(effects) >= begun + more, seconds=1.0)
    wait(over, seconds=most)
    return not over()


def wait(true: Callable[[], object], *, seconds: float) -> None:
    """Wait until it is so, or for so long."""
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.03)


def rounds(
    trial: Trial, *, jobs: int, kills: int, cuts: int, a_round: int, harm: int, store: str = ""
) -> Iterator[Tally]:
    """Play rounds of `a_round` jobs until so many jobs, kills and cuts are had; too few when time is over are wrong.

    Most rounds last until they were injured `harm` times; every third has jobs that hang instead, and ends with them.
    """
    with playground(trial.folder) as ground:
        ground.hostler.env |= {"HOSTLER_STORE": store} if store else {}
        while ground.jobs < jobs or ground.kills < kills or ground.cuts < cuts:
            # A sample is bounded by what it does: on a slow machine it still has to try something.
            if trial.left < 0 and not trial.sample:
                if jobs < EVER:
                    yield Tally(tries=0, wrong=1, evidence=(f"its time was over after {_told(ground)}",))
                break
            before = ground.kills + ground.cuts
            chance = random.Random(trial.chance.random())
            gates = 0 if len(ground.codes) % 3 == 2 else harm
            plan = Plan.make(a_round, chance=chance, retries=chance.randint(0, 2), gates=gates)
            until = time.monotonic() + (PATIENCE if trial.sample else max(20.0, trial.left))
            verdict = play(ground, plan, chance=chance, until=until, harm=_order(harm, chance))
            trial.say(f"   {_told(ground)}")
            yield verdict.tally(tries=ground.kills + ground.cuts - before, note=_told(ground))
            if not verdict.clean:
                break


def _told(ground: Ground) -> str:
    codes = ", ".join(map(str, sorted(set(ground.codes))))
    return f"{ground.jobs} jobs, {ground.kills} kills, {ground.cuts} cuts; exit codes {codes}"


@fault("controller killed, lines cut", sample=20.0, full=2400.0)
def crash(trial: Trial) -> Iterator[Tally]:
    """Kill the controller and cut lines at random, and resume, until all is done."""
    if trial.sample:
        yield from rounds(trial, jobs=30, kills=1, cuts=1, a_round=30, harm=7)
    else:
        yield from rounds(trial, jobs=300, kills=100, cuts=50, a_round=60, harm=33)
