"""The controller killed at every system call by which it tells anything to a disk or a host.

From the command line to the last acknowledgement: once with a store that is there, once with one that is just being
made, once while it takes up what a killed one left. Whenever it dies, `--resume` must end with each job done once; a
run whose number was printed must have all its jobs; and where no run was accepted, no job may have begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from hostler.stores.sqlite import open_store
from tests.command import ALL, Running
from tests.door import entry
from tests.faults.forking import QuickHostler
from tests.faults.frame import Tally, Trial, fault
from tests.faults.injecting import attached, killing, need_strace, places, watching
from tests.faults.judge import judge
from tests.faults.plan import Plan, Task, count_begun
from tests.lab import Lab, wait_until

#: Calls that change what a disk or a host knows, and those by which it learns what a host says.
CALLS = (
    "pwrite64", "write", "fdatasync", "fsync", "ftruncate", "fallocate", "sendto", "sendmsg", "recvfrom", "connect",
    "mkdir", "rename", "link", "unlink", "rmdir", "flock", "shutdown",
)  # fmt: skip
#: What counts while a store is made.
DISK = (
    "pwrite64",
    "write",
    "fdatasync",
    "fsync",
    "ftruncate",
    "open",
    "mkdir",
    "rename",
    "link",
    "unlink",
    "flock",
)
#: Well, failing, failing once, with output enough for a file of its own, by a signal.
PLAN = Plan(
    tasks=(
        Task(out=40),
        Task(end="7", out=300, err=20, seconds=0.02),
        Task(end="3", upto=1),
        Task(out=70_000, seconds=0.06),
        Task(end="TERM", upto=1, seconds=0.01),
    ),
    retries=1,
)
RUN_CODE = 1


class Place:
    """Hosts for all tries of a fault, and what a try begins with: a state folder with or without a store."""

    def __init__(self, trial: Trial, lab: Lab, *, store: bool, python: bool) -> None:
        self.trial, self.lab = trial, lab
        self.sheet = "" if python else sheet(lab)
        self.template = trial.folder / "template"
        self.template.mkdir(mode=0o700)
        if store:
            asyncio.run(open_store(self.template).close())

    @contextmanager
    def hostler(self, name: str) -> Iterator[QuickHostler]:
        """A command with a state folder of its own."""
        made = QuickHostler(self.trial.folder / name, self.lab)
        shutil.copytree(self.template, made.folder / "state")
        (made.folder / "hosts.yaml").write_text(self.sheet)
        if self.sheet:  # they are to be known by it alone
            made.env["HOSTLER_SANDBOX_DIR"] = str(made.folder / "none")
        try:
            yield made
        finally:
            made.close()


@contextmanager
def ground(trial: Trial, *, store: bool = True, python: bool = True) -> Iterator[Place]:
    """One host, and where each try begins."""
    with Lab(path=trial.folder / "lab") as lab:
        lab.shared(1)
        yield Place(trial, lab, store=store, python=python)


def sheet(lab: Lab) -> str:
    """The host in an inventory, as one without Python."""
    (host,) = lab.shared(1)
    spool = dict(host.vars)["spool"]
    return "hosts:\n" + entry(host, "sh1").replace("}\n", f", vars: {{spool: '{spool}', python: none}}}}\n")


def submitted(hostler: QuickHostler, *, held: bool = False) -> Running:
    """A run of the plan, just begun."""
    given = ALL if not (hostler.folder / "hosts.yaml").stat().st_size else ("-i", "hosts.yaml")
    words = ["batch", *given, "-j", "2", *PLAN.options, *PLAN.words(hostler.folder / "effects")]
    return hostler.start(*words, stdin=PLAN.lines, held=held)


def resumed(hostler: QuickHostler, *, held: bool = False) -> Running:
    """The last run, just taken up."""
    return hostler.start("batch", "--resume", "last", held=held)


def interrupted(hostler: QuickHostler, *, held: bool = False) -> Running:
    """A controller that takes up a run whose first one was killed in the middle of it."""
    first = submitted(hostler)
    effects = hostler.folder / "effects"
    wait_until(lambda: count_begun(effects) > 1 or first.process.poll() is not None, what="two beginnings")
    first.kill()
    return resumed(hostler, held=held)


def under(strace: list[str], running: Running) -> int:
    """Let a command that is held go on under strace, to its end; its exit code, negative for a signal."""
    with attached([*strace, "-f"], running.process.pid):
        os.kill(running.process.pid, signal.SIGCONT)
        return running.process.wait(60)


@fault("controller killed at each call of a run", sample=4.0, full=900.0)
def whole(trial: Trial) -> Iterator[Tally]:
    """Submit, dispatch, record, acknowledge, finish."""
    with ground(trial) as place:
        yield from every(place, submitted, calls=CALLS, sample=3)


@fault("controller killed at each call of a run, no Python there", sample=2.0, full=1800.0)
def without_python(trial: Trial) -> Iterator[Tally]:
    """The same over attempt.sh."""
    with ground(trial, python=False) as place:
        yield from every(place, submitted, calls=CALLS, sample=1, most=60)


@fault("controller killed at each call of making a store", sample=2.0, full=400.0)
def making(trial: Trial) -> Iterator[Tally]:
    """The first command of a new account: until its run is accepted."""
    with ground(trial, store=False) as place:
        yield from every(place, submitted, calls=DISK, until='write(2, "batch ', sample=1)


@fault("controller killed at each call of a resume", sample=3.0, full=700.0)
def resuming(trial: Trial) -> Iterator[Tally]:
    """Taking up what a killed controller left: claim, ask, follow, record, acknowledge, finish."""
    with ground(trial) as place:
        yield from every(place, interrupted, calls=CALLS, sample=2)


def every(
    place: Place,
    begun: Callable[..., Running],
    *,
    calls: Sequence[str],
    sample: int,
    until: str = "",
    most: int = 1 << 20,
) -> Iterator[Tally]:
    """Let one command be, to see where it can be killed; then kill one at each of these calls, or `most` of them."""
    need_strace()
    trial, log = place.trial, place.trial.folder / "calls"
    with place.hostler("reference") as hostler:
        code = under(watching(log, calls), begun(hostler, held=True))
        assert code == RUN_CODE, code
    if until:
        text = log.read_text()
        log.write_text(text[: text.index(until)])
    found = places(log)
    chosen = sorted(trial.chance.sample(found, min(len(found), most)))
    picked = list(trial.pick(chosen, sample=sample))
    tried, enough = 0, len(picked)
    if trial.sample:  # before a run is accepted there is nothing to judge: a sample goes on until there was
        picked += trial.chance.sample(chosen, len(chosen))
    for number, (call, n) in enumerate(picked, 1):
        if (trial.left < 0 and not trial.sample) or (trial.sample and tried >= enough):
            return
        name = f"killed at {call} {n}"
        with place.hostler(f"{call}-{n}") as hostler:
            code = under(killing(call, n), begun(hostler, held=True))
            tally = judged(hostler, code)
        tried += bool(tally.tries)
        trial.say("\n".join([f"   {name}: {code}", *(f"   {line}" for line in tally.evidence)]))
        if tally.clean or not tally.tries:
            shutil.rmtree(hostler.folder)
        yield replace(
            tally,
            note=f"{number} of {len(found)} places",
            evidence=tuple(f"{name}: {line}" for line in tally.evidence),
        )


def judged(hostler: QuickHostler, code: int) -> Tally:
    """Bring the run to its end after a controller's death, and judge it."""
    state, effects = hostler.folder / "state", hostler.folder / "effects"
    harm: list[str] = []
    printed = any(b"batch 1: " in path.read_bytes() for path in hostler.folder.glob("err*"))
    totals = accepted(state)
    if printed and not totals:
        harm.append("its number was printed, and there is no such run")
    if [total for total in totals if total != len(PLAN.tasks)]:
        harm.append(f"a run with {totals} of {len(PLAN.tasks)} jobs was accepted")
    if not totals and count_begun(effects):
        harm.append("jobs began of a run that was not accepted")
    done = (resumed if totals else submitted)(hostler).wait()
    if done.code != RUN_CODE:
        harm.append(f"it ended with {done.code}: {done.err}")
    tally = judge(hostler, plan=PLAN, effects=effects).tally(tries=int(code == -signal.SIGKILL))
    return replace(tally, wrong=tally.wrong + len(harm), evidence=(*tally.evidence, *harm))


def accepted(state: Path) -> list[int]:
    """How many jobs each run of a store has; nothing where there is no store yet."""
    if not (state / "store.db").exists():
        return []
    with contextlib.closing(sqlite3.connect(state / "store.db")) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'job'").fetchone():
            return []
        return [row[0] for row in db.execute("SELECT (SELECT count(*) FROM job WHERE run = number) FROM run")]
