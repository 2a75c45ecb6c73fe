"""What does a round trip cost? The same batch on a host that is 0, 20 and 100 ms away, and lines as jobs print them.

Goals G2 and G10. The floor is hostler's own rate without delay in the same round; a proxy of ours holds bytes back.

    python benchmarks/latency.py [--quick] [--rounds N] [--jobs N]
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from statistics import median

from _calm import Calm
from _delay import far_away
from _ground import HOSTLER, Ground, ground
from _sheet import Goal, Sheet, arguments, say
from _side import Side, Tally, Void, play
from batch import recorded

AT_ONCE = "8"
TRIPS = {0: "no delay", 20: "20 ms", 100: "100 ms"}
WANTED = {20: 0.9, 100: 0.8}
BUDGET = 900.0
#: Lines that a job prints for G10, and the pause between them in seconds.
LINES, PAUSE = 30, 0.13
SHOWN = 0.250


def main() -> int:
    """Play the rounds, write the sheet."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="interleaved rounds (5)")
    parser.add_argument("--jobs", type=int, default=10_000, metavar="N", help="jobs (10000)")
    options = parser.parse_args()
    rounds, jobs = (2, min(options.jobs, 2000)) if options.quick else (options.rounds, options.jobs)
    calm = Calm(options.patience)
    with ground() as place, ExitStack() as stack:
        endpoint = f"{place.host['address']}:{place.host['port']}"
        for trip in TRIPS:
            write_inventory(place, trip, stack.enter_context(far_away(endpoint, trip)) if trip else None)
        sides = [side(place, trip, jobs, rounds) for trip in TRIPS]
        tallies = play(sides, place, calm=calm, say=say, budget=BUDGET)
        calm.wait()
        late = {trip: lateness(place, trip) for trip in TRIPS}
        sheet = written(tallies, late, jobs=jobs)
    code = sheet.finish(into=options.into)
    return 1 if any(tally.voids for tally in tallies) else code


def write_inventory(place: Ground, trip: int, port: int | None) -> None:
    """The host, by way of the proxy where there is one."""
    address, own = ("127.0.0.1", port) if port else (place.host["address"], place.host["port"])
    (place.path / f"far{trip}.yaml").write_text(
        f"hosts:\n  far:\n    address: {address}\n    port: {own}\n    user: {place.host['user']}\n"
        f"    identity: {place.host['identity']}\n    host_key: {place.host['host_key']}\n"
        "    vars: {shell: /bin/dash}\n"
    )


def words(place: Ground, trip: int) -> tuple[str, ...]:
    """The batch, up to the command."""
    return (HOSTLER, "batch", "-i", str(place.path / f"far{trip}.yaml"), "--hosts", "far", "-j", AT_ONCE)


def side(place: Ground, trip: int, jobs: int, rounds: int) -> Side:
    """The batch at one distance."""
    return Side(
        name=f"hostler batch, {TRIPS[trip]}",
        argv=(*words(place, trip), "--", "echo"),
        jobs=jobs,
        floor=f"hostler batch, {TRIPS[0]}",
        rounds=rounds,
        seconds=lambda n: recorded(place, n),
    )


def lateness(place: Ground, trip: int) -> list[float]:
    """Seconds from when a job printed a line to when it came out of hostler, for each line. Raises Void."""
    text = f": {{}}; i=0; while [ $i -lt {LINES} ]; do date +%s.%N; sleep {PAUSE}; i=$((i+1)); done"
    found = []
    process = subprocess.Popen(
        [*words(place, trip), "--line-buffer", "--", text, ":::", "one"],
        env=place.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        cwd=place.path,
    )  # fmt: skip
    assert process.stdout
    pieces = b""
    while data := os.read(process.stdout.fileno(), 65536):
        now = time.time()
        *lines, pieces = (pieces + data).split(b"\n")
        found += [now - float(line) for line in lines]
    if process.wait(timeout=30) or len(found) != LINES:
        raise Void(f"{len(found)} of {LINES} lines came, exit code {process.returncode}")
    return found


def written(tallies: list[Tally], late: dict[int, list[float]], *, jobs: int) -> Sheet:
    """The sheet of what was found."""
    sheet = Sheet(
        name="latency",
        title=f"A batch of {jobs:,} jobs on a host that is far away, 8 jobs at once",
        columns=(
            "way",
            "jobs/s",
            "÷ no delay, same round",
            "its CPU, ms/job",
            "a line shows after, ms: median",
            "worst",
        ),
        unit="jobs a second, by the jobs alone (median; lowest and highest round)",
    )
    for trip, tally in zip(TRIPS, tallies, strict=True):
        runs = list(tally.runs.values())
        if not runs:
            continue
        ratio = tally.against(tallies[0])
        rate = tally.middle(lambda once: once.rate)
        sheet.rows.append(
            (
                tally.side.name,
                f"{rate:,.0f}",
                str(ratio) if trip else "1 (floor)",
                f"{tally.middle(lambda once: once.cpu) / tally.side.jobs * 1000:.3f}",
                f"{median(late[trip]) * 1000:.0f}",
                f"{max(late[trip]) * 1000:.0f}",
            )
        )
        sheet.bars.append((tally.side.name, rate, min(r.rate for r in runs), max(r.rate for r in runs)))
        if trip:
            wanted = WANTED[trip]
            sheet.goals.append(
                Goal(
                    name=f"G2 at {TRIPS[trip]}", wanted=f"≥ {wanted} × its own rate at none", found=str(ratio),
                    reached=ratio.middle >= wanted,
                )
            )  # fmt: skip
    worst = max(late[0])
    sheet.goals.append(
        Goal(name="G10 a printed line shows", wanted="within 250 ms",
             found=f"{worst * 1000:.0f} ms at the worst of {LINES}", reached=worst <= SHOWN)
    )  # fmt: skip
    sheet.notes = [f"VOID {wrong}" for tally in tallies for wrong in tally.voids]
    return sheet


if __name__ == "__main__":
    sys.exit(main())
