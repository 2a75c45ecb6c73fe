"""Sides of a comparison: commands that do the same jobs, in turns, each beside its floor of the same round.

A shared machine is never calm for long, so absolute figures say little; ratios within one round say more. It must
never count a round whose output was not checked.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from _calm import CORES, DISTURBED, Calm, busy
from _ground import Ground

#: Seconds that one command may take before it is ended and its round is void.
DEADLINE = 300.0
#: How often a run that others have disturbed is played again.
AGAIN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """One run of one command: seconds, jobs per second, bytes.

    `cpu` is that of the command's own process and of the children that it waited for, `host_cpu` that of everything
    below the sandbox host: sshd, runner, jobs. `rate` is by the jobs alone where the command tells when the first one
    started and the last one ended, else the whole command's. `others` is the part of the machine that programs took
    which have nothing to do with it.
    """

    wall: float
    cpu: float
    host_cpu: float
    rate: float
    whole: float
    others: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One way to do `jobs` jobs. `floor` names the side that it is compared with; `rounds` is how often at most."""

    name: str
    argv: Sequence[str]
    jobs: int
    floor: str
    rounds: int
    #: Given the number of jobs, the seconds from the first start to the last recorded result; raises Void.
    seconds: Callable[[int], float] | None = None


@dataclass(slots=True)
class Tally:
    """What a side came to over all rounds."""

    side: Side
    runs: dict[int, Once] = field(default_factory=dict)
    voids: list[str] = field(default_factory=list)

    def middle(self, value: Callable[[Once], float]) -> float:
        """The median of something over the rounds that count; NaN when there are none."""
        return median(map(value, self.runs.values())) if self.runs else float("nan")

    def against(self, other: Tally) -> Ratio:
        """This side's rate divided by the other's in the same round."""
        return Ratio(
            [run.rate / other.runs[number].rate for number, run in self.runs.items() if number in other.runs]
        )


class Ratio:
    """Ratios of single rounds, and the one in their middle."""

    def __init__(self, values: Sequence[float]) -> None:
        self.values = sorted(values)
        self.middle = median(self.values) if self.values else float("nan")

    def __str__(self) -> str:
        if not self.values:
            return "–"
        shape = "{:.2f}" if self.middle < 10 else "{:.0f}"
        if self.middle < 0.1:
            shape = "{:.3f}"
        low, mid, high = (shape.format(v) for v in (self.values[0], self.middle, self.values[-1]))
        return f"{mid} ({low}..{high})" if len(self.values) > 1 else mid


class Void(Exception):
    """A run whose result is wrong, or that did not end: it counts for nothing."""


def play(
    sides: Sequence[Side], ground: Ground, *, calm: Calm, say: Callable[[str], None], budget: float
) -> list[Tally]:
    """Run all sides in turns; no new round is begun after `budget` seconds.

    Each round begins with another side, so that none always comes after the same one.
    """
    tallies = [Tally(side) for side in sides]
    until = time.monotonic() + budget
    for number in range(max(side.rounds for side in sides)):
        turn = [tally for tally in tallies if number < tally.side.rounds]
        if number and time.monotonic() > until:
            say(f"the time for it is up: {number} rounds were played")
            break
        first = number % len(turn)
        for tally in turn[first:] + turn[:first]:
            side = tally.side
            try:
                once = tally.runs[number] = undisturbed(side, ground, calm)
                say(
                    f"round {number + 1}  {side.name:34}  {once.rate:7.0f} jobs/s"
                    f"  whole command {once.whole:6.0f} jobs/s  {once.cpu / side.jobs * 1000:6.3f} ms CPU a job"
                    f"  others {once.others:4.0%}"
                )
            except Void as wrong:
                tally.voids.append(f"round {number + 1}, {side.name}: {wrong}")
                say(f"VOID: round {number + 1}  {side.name}: {wrong}")
    return tallies


def undisturbed(side: Side, ground: Ground, calm: Calm) -> Once:
    """Run a side while the machine is calm, again when others came in between; the best that could be had.

    Raises Void.
    """
    best: Once | None = None
    for _ in range(1 + AGAIN):
        waited = calm.wait()
        once = run(side, ground)
        best = once if best is None or once.others < best.others else best
        if best.others < DISTURBED or not (waited or calm.left > 0):
            break
    assert best is not None
    return best


def run(side: Side, ground: Ground) -> Once:
    """Run one side's command once and check every job's output. Raises Void."""
    ground.settle()
    host, machine = ground.host_cpu(), busy()
    numbers, out = ground.numbers(side.jobs), ground.path / "out"
    measured = command(side.argv, ground, stdin=numbers, stdout=out, deadline=DEADLINE)
    ground.settle()
    machine, host = busy() - machine, ground.host_cpu() - host
    if measured.code:
        raise Void(f"exit code {measured.code}: {measured.last}")
    wanted, got = numbers.read_bytes().split(), out.read_bytes().split()
    if sorted(wanted) != sorted(got):
        raise Void(f"{len(set(wanted) - set(got))} of {side.jobs} lines are missing, {len(got)} came")
    whole = side.jobs / measured.wall
    return Once(
        wall=measured.wall,
        cpu=measured.cpu,
        host_cpu=host,
        rate=side.jobs / side.seconds(side.jobs) if side.seconds else whole,
        whole=whole,
        others=max(0.0, machine - host - measured.cpu) / measured.wall / CORES,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A command that has ended: exit code, seconds by the clock and of CPU, last line of its stderr."""

    code: int
    wall: float
    cpu: float
    last: str


def command(argv: Sequence[str], ground: Ground, *, stdin: Path, stdout: Path, deadline: float) -> Measured:
    """Run one command to its end, in a session of its own, its stderr beside stdout. Raises Void when it hangs."""
    errors = stdout.with_name(stdout.name + ".err")
    with open(stdin, "rb") as source, open(stdout, "wb") as sink, open(errors, "wb") as trace:
        begun = time.perf_counter()
        process = subprocess.Popen(
            argv,
            stdin=source,
            stdout=sink,
            stderr=trace,
            env=ground.env,
            cwd=ground.path,
            start_new_session=True,
        )
        hung = True
        try:
            hung = not ended_within(process.pid, deadline)
        finally:
            if hung:
                os.killpg(process.pid, signal.SIGKILL)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if hung:
        raise Void(f"no end after {deadline:.0f} s")
    lines = errors.read_text(errors="replace").strip().splitlines()
    return Measured(
        code=process.returncode,
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime,
        last=lines[-1] if lines else "",
    )


def ended_within(pid: int, seconds: float) -> bool:
    """Whether a child of ours ends within `seconds`; it is not collected."""
    handle = os.pidfd_open(pid)
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)
