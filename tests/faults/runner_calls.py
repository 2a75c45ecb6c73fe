"""The runner killed at every system call of an attempt's life, and of its own beginning.

What comes to it later must be told the truth: done with what the job really did, lost when nobody can know, or never
seen, and then it may be sent again. No attempt may begin twice, and nothing of one may go on.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hostler.model.jobs import Ending
from hostler.model.reports import Began, Lost, Result, Standing
from hostler.remote.runner import wire
from tests.faults.frame import Tally, Trial, fault
from tests.faults.injecting import attached, killed, killing, need_strace, places, watching
from tests.integration.runner_rig import Line, Rig, eventually, rigged

#: What a job does, by serial: `begin` writes its line first. 5 is taken back before it could begin, mostly.
JOBS = {
    1: "echo out 1; exit 1",
    2: "head -c 20000 /dev/zero; sleep 0.02; exit 2",
    3: "(setsid sleep 300 &) ; sleep 300",
    4: "echo err >&2",
    5: "exit 5",
}
#: What they end with, as exit code and bytes of stdout and stderr, when they end by themselves.
ENDS = {1: (1, 6, 0), 2: (2, 20000, 0), 4: (0, 0, 4), 5: (5, 0, 0)}
#: Calls by which a runner comes into being. Others are made by shells and interpreters by the hundred.
MAKING = (
    "mkdir", "chmod", "flock", "bind", "listen", "fallocate", "pwrite64", "rename", "setsid", "clone", "socketpair",
    "socket", "sendto", "recvfrom", "chdir", "fchdir", "pipe2", "unlink", "umask", "write", "fcntl", "dup",
)  # fmt: skip


@dataclass(slots=True)
class Seen:
    """What was told of attempts, by serial; `jobs` are those that there are."""

    jobs: tuple[int, ...] = tuple(JOBS)
    results: dict[int, Result] = field(default_factory=dict)
    began: set[int] = field(default_factory=set)
    acknowledged: set[int] = field(default_factory=set)
    harm: list[tuple[str, str]] = field(default_factory=list)

    def take(self, line: Line) -> None:
        """Take in what a line told; what was told before must be told again."""
        for report in line.reports:
            if isinstance(report, Began):
                self.began.add(report.serial)
            elif isinstance(report, Result) and report.serial not in self.acknowledged:
                known = self.results.setdefault(report.serial, report)
                if (known.ending, known.code, known.out_size) != (
                    report.ending,
                    report.code,
                    report.out_size,
                ):
                    self.harm.append(("wrong", f"{report} after {known}"))
            elif isinstance(report, Lost) and report.serial in self.results.keys() - self.acknowledged:
                self.harm.append(("lost", f"{report} after its result was told"))


@fault("runner killed at each call of an attempt", sample=3.0, full=120.0)
def during(trial: Trial) -> Iterator[Tally]:
    """Starts, results, output, kill, return and acknowledgement: one kill at each call that the runner makes."""
    need_strace()
    log = trial.folder / "calls"
    # A kill looks at every process here, which takes long under strace where there are many.
    jobs = tuple(serial for serial in JOBS if not (trial.sample and serial == 3))
    with rigged(trial.folder / "reference") as rig:
        line = rig.line(slots=2)
        with attached(watching(log), line.answer()["pid"]):
            talk(line, Seen(jobs), rig)
            eventually(rig.deserted, "the end of an undisturbed runner")

    def hurt(rig: Rig, seen: Seen, words: list[str]) -> None:
        line = rig.line(slots=2)
        pid = line.answer()["pid"]
        with attached(words, pid):
            talk(line, seen, rig)
            eventually(lambda: gone(pid), "the end of the runner")
        seen.take(line)

    yield from every(trial, places(log), hurt, jobs=jobs, sample=5)


@fault("runner killed at each call of its beginning", sample=2.0, full=60.0)
def beginning(trial: Trial) -> Iterator[Tally]:
    """From the first word of a line to the answer: spool, lock, socket, log, the two forks."""
    need_strace()
    log = trial.folder / "calls"

    def hurt(rig: Rig, seen: Seen, words: list[str]) -> None:
        line = rig.fork()
        with attached([*words, "-f"], line.process.pid):  # type: ignore[union-attr]
            line.hello(**rig.hello)
            while line.read() and not [kind for kind, _ in line.heard if kind == wire.R_HELLO]:
                pass
        line.close()

    with rigged(trial.folder / "reference") as rig:
        hurt(rig, Seen(), watching(log, MAKING))
        found = places(log)
        judged(rig, Seen((1,)), "undisturbed")
    yield from every(trial, found, hurt, jobs=(1,), sample=3)


def every(
    trial: Trial,
    found: list[tuple[str, int]],
    hurt: Callable[[Rig, Seen, list[str]], None],
    *,
    jobs: tuple[int, ...],
    sample: int,
) -> Iterator[Tally]:
    """Injure at all these places, and judge what came of each."""
    for number, (call, n) in enumerate(trial.pick(found, sample=sample), 1):
        if trial.left < 0 and not trial.sample:
            return
        folder = trial.folder / f"{call}-{n}"
        log, seen, what = folder / "calls", Seen(jobs), f"killed at {call} {n}"
        with rigged(folder) as rig:
            folder.mkdir()
            hurt(rig, seen, killing(call, n, log=log))
            judged(rig, seen, what)
        died = killed(log)
        if not seen.harm:
            shutil.rmtree(folder)
        trial.say("\n".join([f"   {what}", *(f"   {words}" for _, words in seen.harm)]))
        count = Counter(kind for kind, _ in seen.harm)
        yield Tally(
            tries=int(died),
            lost=count["lost"],
            doubled=count["doubled"],
            wrong=count["wrong"],
            note=f"{number} of {len(found)} places",
            evidence=tuple(f"{what}: {words}" for _, words in seen.harm),
        )


def begin(rig: Rig, line: Line, serial: int) -> None:
    """Send an attempt, which writes down that it begins."""
    line.start(serial, f"echo {serial} >>{rig.folder}/effects; {JOBS[serial]}")


def effects(rig: Rig) -> Counter[int]:
    """How often each attempt has begun."""
    path = rig.folder / "effects"
    return Counter(map(int, path.read_text().split())) if path.exists() else Counter()


def talk(line: Line, seen: Seen, rig: Rig) -> None:
    """Say all that a controller says about attempts, as far as the line lasts."""

    def wait(true: Callable[[], object]) -> None:
        until = time.monotonic() + 30
        while not true() and line.read():
            assert time.monotonic() < until

    def done(serial: int) -> None:
        wait(lambda: line.of(Result, serial))
        if line.of(Result, serial):
            line.ack(serial)
            seen.acknowledged.add(serial)

    for serial in seen.jobs:
        begin(rig, line, serial)
    line.send(wire.frame(wire.REVOKE, wire.numbers([5])))
    done(1)
    done(2)
    if 3 in seen.jobs:
        wait(lambda: line.of(Began, 3))
        line.kill(3)
        done(3)
    done(4)
    if not line.over:
        line.bye()
    line.end()


def judged(rig: Rig, seen: Seen, what: str) -> None:
    """Come as the next controller, and hold what is said then against what was said before and what was done."""

    def harm(kind: str, words: str) -> None:
        seen.harm.append((kind, words))

    asked = [serial for serial in seen.jobs if serial not in seen.acknowledged]
    line = rig.line(slots=2, ask=asked)
    begun = effects(rig)
    for serial, standing in line.answer()["standings"]:
        known = serial in seen.began or serial in seen.results or begun[serial]
        if standing in (Standing.UNKNOWN, Standing.WAITING) and known:
            harm("doubled", f"{serial} is not known any more, and has begun")
        elif standing == Standing.DONE and serial in ENDS and not begun[serial]:
            harm("wrong", f"{serial} is said to be done, and has not begun")
        elif standing == Standing.LOST and serial in seen.results:
            harm("lost", f"{serial} is said to be lost after {seen.results[serial]}")
        if standing == Standing.UNKNOWN:
            begin(rig, line, serial)
    if 3 in asked:
        line.until(lambda: any(line.of(kind, 3) for kind in (Began, Lost, Result)), "news of 3")
        line.kill(3)

    def ended(serial: int) -> bool:
        return any(line.of(kind, serial) for kind in (Result, Lost))

    line.until(lambda: all(map(ended, asked)), "an end of each")
    seen.take(line)
    for serial, count in effects(rig).items():
        if count > 1:
            harm("doubled", f"{serial} began {count} times")
    for serial, result in seen.results.items():
        if (serial == 3) != (result.ending is Ending.CANCELLED):
            harm("wrong", f"{result}")
        elif serial != 3 and (result.code, result.out_size, result.err_size) != ENDS[serial]:
            harm("wrong", f"{result}, and not {ENDS[serial]}")
    alive = [words for words in rig.processes().values() if "sleep" in words]
    if alive:
        harm("wrong", f"{alive} goes on")
    line.ack(*asked)
    line.bye()
    line.end()
    eventually(rig.deserted, f"{what}: nothing left")


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return b") Z" in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return True
