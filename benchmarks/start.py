"""How long until something happens? `hostler --help`, and the first job's output after Enter.

Goal G9. Beside them: Python's own start, and `ssh host true` (its own handshake, nothing durable, no scheduler).

    python benchmarks/start.py [--quick] [--rounds N]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import median

from _calm import Calm
from _ground import HOSTLER, Ground, ground
from _sheet import Goal, Sheet, arguments, say
from _side import Void

PYTHON, HELP = "python -c pass", "hostler --help"
FIRST, SSH = "hostler batch -- echo ::: x", "ssh host echo x"
#: Seconds: --help beyond Python's own start, and Enter to the first output.
BEYOND, ENTER = 0.15, 0.6
DEADLINE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A command, and what the first bytes of its stdout must be."""

    name: str
    argv: tuple[str, ...]
    shows: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """Seconds to the first output (None without any), to the end, and of CPU."""

    first: float | None
    whole: float
    cpu: float


def main() -> int:
    """Play the rounds, write the sheet."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=21, metavar="N", help="interleaved rounds (21)")
    options = parser.parse_args()
    rounds = 5 if options.quick else options.rounds
    calm = Calm(options.patience)
    with ground() as place:
        ways = all_ways(place)
        took: dict[str, list[Took]] = {way.name: [] for way in ways}
        for number in range(rounds + 1):  # the first one warms caches, and counts for nothing
            calm.wait()
            for way in ways:
                once = timed(way, place)
                if number:
                    took[way.name].append(once)
            say(f"round {number} of {rounds}")
        sheet = written(took, rounds)
    return sheet.finish(into=options.into)


def all_ways(place: Ground) -> list[Way]:
    """The commands that are timed."""
    batch = (HOSTLER, "batch", "-i", str(place.path / "bench.yaml"), "--hosts", "bench", "-q")
    ways = [
        Way(name=PYTHON, argv=(sys.executable, "-c", "pass"), shows=b""),
        Way(name=HELP, argv=(HOSTLER, "--help"), shows=b"Usage"),
        Way(name=FIRST, argv=(*batch, "--", "echo", ":::", "x"), shows=b"x\n"),
    ]
    if ssh := shutil.which("ssh", path="/usr/bin:/bin"):
        config = str(place.path / "ssh_config")
        ways.append(Way(name=SSH, argv=(ssh, "-F", config, "plain", "echo", "x"), shows=b"x\n"))
    else:
        say("skipped: ssh is not installed (Debian: openssh-client)")
    return ways


def timed(way: Way, place: Ground) -> Took:
    """Run one command, its first output waited for. Raises Void."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        way.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=place.env,
        cwd=place.path,
    )  # fmt: skip
    assert process.stdout and process.stderr
    data = os.read(process.stdout.fileno(), 65536)
    first = time.perf_counter() - begun if data else None
    while os.read(process.stdout.fileno(), 65536):
        if time.perf_counter() - begun > DEADLINE:
            process.kill()
    _, status, usage = os.wait4(process.pid, 0)
    whole = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or not data.startswith(way.shows):
        raise Void(f"{way.name}: exit code {process.returncode}: {process.stderr.read()[-300:]!r}")
    return Took(first=first, whole=whole, cpu=usage.ru_utime + usage.ru_stime)


def written(took: dict[str, list[Took]], rounds: int) -> Sheet:
    """The sheet of what was found."""
    sheet = Sheet(
        name="start",
        title=f"From Enter to the first output, one host on this machine, {rounds} rounds",
        columns=("command", "first output, s", "whole, s", "CPU, s"),
        unit="seconds to the first output, or to the end where there is none (median, lowest, highest)",
        programs=(("ssh", "-V"),),
    )
    waits = {name: [once.first or once.whole for once in all_of] for name, all_of in took.items()}
    for name, all_of in took.items():
        firsts = [once.first for once in all_of if once.first is not None]
        sheet.rows.append(
            (
                name,
                f"{median(firsts):.3f}" if firsts else "–",
                f"{median(once.whole for once in all_of):.3f}",
                f"{median(once.cpu for once in all_of):.3f}",
            )
        )
        sheet.bars.append((name, median(waits[name]), min(waits[name]), max(waits[name])))
    beyond = median(h.whole - p.whole for h, p in zip(took[HELP], took[PYTHON], strict=True))
    first = median(waits[FIRST])
    beside = f", {first / median(waits[SSH]):.1f} × ssh" if SSH in waits else ""
    sheet.goals = [
        Goal(name=f"G9 {HELP} beyond Python's own start", wanted=f"≤ {BEYOND} s", found=f"{beyond:.3f} s",
             reached=beyond <= BEYOND),
        Goal(name="G9 first job's output after Enter", wanted=f"≤ {ENTER} s", found=f"{first:.3f} s{beside}",
             reached=first <= ENTER),
    ]  # fmt: skip
    return sheet


if __name__ == "__main__":
    sys.exit(main())
