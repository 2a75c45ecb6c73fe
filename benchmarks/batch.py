"""How fast is a batch through one SSH host, and what does it cost the controller?

Goals G1 and G3. Floors: the `xargs -P 8` that does the same exec, on this machine and without SSH. Beside us: GNU
parallel and `ssh` multiplexed. Everything of ours is durable: store, logs, and the runner's spool on a real disk.

    python benchmarks/batch.py [--quick] [--rounds N] [--jobs N] [--no-peers]
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from statistics import median

from _calm import DISTURBED, Calm
from _ground import HOSTLER, Ground, ground
from _sheet import Goal, Sheet, arguments, say
from _side import Ratio, Side, Tally, Void, play

AT_ONCE = "8"
ARGV, SHELL = "xargs -P 8 -n 1 echo", "xargs -P 8 -I{} sh -c 'echo {}'"
OURS, OURS_SHELL = "hostler batch -- echo", "hostler batch --shell -- 'echo {}'"
#: We, and the floor that does the same exec.
PAIRS = ((OURS, ARGV), (OURS_SHELL, SHELL))
MUX_PARALLEL = "GNU parallel -S, ControlMaster"
BUDGET = 1800.0
#: Peers are far from the floor: fewer jobs, and rounds, tell as much.
PEER_ROUNDS = 3
#: So many jobs that what the command itself takes to start hardly shows in the CPU of a job.
START_WEIGHS_LITTLE = 10_000
#: Milliseconds of CPU a job: what G3 allows us, and what the floor took on the machine where that was set.
ALLOWED, FLOOR_THEN = 0.15, 0.79


def main() -> int:
    """Play the rounds, write the sheet; 1 when less than 0.85 of a floor was reached, or a result was wrong."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="interleaved rounds (7)")
    parser.add_argument(
        "--jobs", type=int, default=10_000, metavar="N", help="jobs of the floors and of hostler (10000)"
    )
    parser.add_argument("--no-peers", action="store_true", help="the floors and hostler only")
    options = parser.parse_args()
    rounds, jobs = (2, min(options.jobs, 2000)) if options.quick else (options.rounds, options.jobs)
    with ground() as place:
        sides = own_sides(place, jobs, rounds)
        if not options.no_peers:
            sides += peer_sides(place, rounds=min(rounds, PEER_ROUNDS), part=5 if options.quick else 1)
        calm = Calm(options.patience)
        tallies = {tally.side.name: tally for tally in play(sides, place, calm=calm, say=say, budget=BUDGET)}
        sheet = written(tallies, jobs=jobs)
    code = sheet.finish(into=options.into)
    return 1 if any(tally.voids for tally in tallies.values()) else code


def own_sides(place: Ground, jobs: int, rounds: int) -> list[Side]:
    """The two floors, and hostler beside them."""
    batch = (HOSTLER, "batch", "-i", str(place.path / "bench.yaml"), "--hosts", "bench", "-j", AT_ONCE)
    xargs = found("xargs") or "xargs"
    floors = {
        ARGV: (xargs, "-P", AT_ONCE, "-n", "1", "echo"),
        SHELL: (xargs, "-P", AT_ONCE, "-I{}", "/bin/dash", "-c", "echo {}"),
    }
    ours = {OURS: ((*batch, "--", "echo"), ARGV), OURS_SHELL: ((*batch, "--shell", "--", "echo {}"), SHELL)}
    return [
        *(Side(name=name, argv=argv, jobs=jobs, floor=name, rounds=rounds) for name, argv in floors.items()),
        *(
            Side(
                name=name,
                argv=argv,
                jobs=jobs,
                floor=floor,
                rounds=rounds,
                seconds=lambda n: recorded(place, n),
            )
            for name, (argv, floor) in ours.items()
        ),
    ]


def peer_sides(place: Ground, *, rounds: int, part: int) -> list[Side]:
    """Other ways to do it. All of them run their jobs by a shell, so that is the floor that they are held against."""
    config = str(place.path / "ssh_config")
    sides = []
    xargs, ssh, parallel = found("xargs"), found("ssh"), found("parallel")
    if not ssh:
        say("skipped: ssh is not installed (Debian: openssh-client)")
    if parallel and b"GNU" not in Path(parallel).read_bytes()[:4096]:
        say(f"skipped: {parallel} is not GNU parallel")
        parallel = None
    elif not parallel:
        say("skipped: GNU parallel is not installed (Debian: parallel)")
    if parallel:
        plain = (parallel, "--will-cite", "-j", AT_ONCE)
        sides.append(
            Side(name="GNU parallel, local", argv=(*plain, "echo"), jobs=2000, floor=SHELL, rounds=rounds)
        )
        if ssh:
            remote = (*plain, "--ssh", f"{ssh} -F {config}")
            sides += [
                Side(name=MUX_PARALLEL, argv=(*remote, "-S", "shared", "echo"), jobs=500, floor=SHELL, rounds=rounds),
                Side(
                    name="GNU parallel -S, as shipped", argv=(*remote, "-S", "plain", "echo"), jobs=80, floor=SHELL,
                    rounds=rounds,
                ),
            ]  # fmt: skip
    if xargs and ssh:
        mux = (xargs, "-P", AT_ONCE, "-n", "1", ssh, "-F", config, "-n", "shared", "echo")
        sides.append(
            Side(name="xargs -P 8 ssh, ControlMaster", argv=mux, jobs=1000, floor=SHELL, rounds=rounds)
        )
    return [
        Side(name=s.name, argv=s.argv, jobs=max(40, s.jobs // part), floor=s.floor, rounds=s.rounds)
        for s in sides
    ]


def recorded(place: Ground, jobs: int) -> float:
    """Seconds from the first start to the last recorded result of the newest run, by its own rows. Raises Void.

    A start counts from its dispatch where its beginning was not reported by itself, as with short jobs.
    """
    with place.store() as db:
        run, state = db.execute("SELECT number, state FROM run ORDER BY number DESC LIMIT 1").fetchone()
        total, well = db.execute("SELECT count(*), sum(state = 2) FROM job WHERE run = ?", (run,)).fetchone()
        count, first, last = db.execute(
            "SELECT count(*), min(coalesce(started_at, dispatched_at)), max(ended_at) FROM attempt"
            " WHERE run = ? AND ending = 'ok'",
            (run,),
        ).fetchone()
    if state != "finished" or (total, well, count) != (jobs, jobs, jobs):
        raise Void(
            f"run {run} is {state}: {well} of {total} jobs are recorded as ok, by {count} attempts, not {jobs}"
        )
    return float(last - first)


def written(tallies: dict[str, Tally], *, jobs: int) -> Sheet:
    """The sheet of what was found."""
    sheet = Sheet(
        name="batch",
        title=f"Batch through one SSH host, 8 jobs at once, {jobs:,} jobs of `echo N`",
        columns=(
            "way", "jobs/s", "÷ floor of its round", "whole command, jobs/s", "its CPU, ms/job", "host's CPU, ms/job",
            "jobs × rounds",
        ),
        unit="jobs a second, by the jobs alone where that is known (median; lowest and highest round)",
        programs=(
            ("xargs", "--version"), ("parallel", "--version"), ("ssh", "-V"), ("dpkg-query", "-W", "dash"),
        ),
    )  # fmt: skip
    for name, tally in tallies.items():
        runs = list(tally.runs.values())
        if not runs:
            continue
        side, rate = tally.side, tally.middle(lambda once: once.rate)
        sheet.rows.append(
            (
                name,
                f"{rate:,.0f}",
                "1 (floor)" if side.floor == name else str(tally.against(tallies[side.floor])),
                f"{tally.middle(lambda once: once.whole):,.0f}",
                f"{tally.middle(lambda once: once.cpu) / side.jobs * 1000:.3f}",
                f"{tally.middle(lambda once: once.host_cpu) / side.jobs * 1000:.3f}",
                f"{side.jobs:,} × {len(runs)}",
            )
        )
        sheet.bars.append((name, rate, min(once.rate for once in runs), max(once.rate for once in runs)))
    sheet.goals = goals(tallies, jobs)
    sheet.notes = [f"VOID {wrong}" for tally in tallies.values() for wrong in tally.voids]
    if jobs >= START_WEIGHS_LITTLE:
        sheet.notes.append(shares(tallies))
    others = [once.others for tally in tallies.values() for once in tally.runs.values()]
    disturbed = sum(part >= DISTURBED for part in others)
    sheet.notes.append(
        f"Other programs took {median(others or [0]):.0%} of the machine at the median;"
        f" in {disturbed} of {len(others)} runs it was {DISTURBED:.0%} or more."
    )
    return sheet


def goals(tallies: dict[str, Tally], jobs: int) -> list[Goal]:
    """G1 and G3, as far as what they compare was played."""
    found = []
    for ours, floor in PAIRS:
        ratio = tallies[ours].against(tallies[floor])
        found += [
            Goal(name=f"G1 {ours}", wanted="≥ 1.0 × the floor", found=str(ratio), reached=ratio.middle >= 1.0),
            Goal(
                name=f"G1 {ours}, at the least", wanted="≥ 0.85 ×", found=str(ratio), reached=ratio.middle >= 0.85,
                fatal=True,
            ),
        ]  # fmt: skip
    if (mux := tallies.get(MUX_PARALLEL)) and mux.runs:
        times = Ratio(tallies[OURS_SHELL].against(mux).values)
        found.append(
            Goal(
                name=f"G1 ours ÷ {MUX_PARALLEL}", wanted="≥ 25", found=str(times), reached=times.middle >= 25
            )
        )
    for ours, _ in PAIRS if jobs >= START_WEIGHS_LITTLE else ():
        seconds = tallies[ours].middle(lambda once: once.cpu) / jobs * 10_000
        found.append(
            Goal(
                name=f"G3 {ours}, controller CPU per 10,000 jobs", wanted=f"≤ {ALLOWED * 10:.1f} s",
                found=f"{seconds:.2f} s", reached=seconds <= ALLOWED * 10,
            )
        )  # fmt: skip
    return found


def shares(tallies: dict[str, Tally]) -> str:
    """Our CPU as a part of the floor's. No goal: it tells a slow machine from a controller that became dearer."""
    cpu = {name: tally.middle(lambda once: once.cpu) for name, tally in tallies.items()}
    parts = "; ".join(f"{ours}: {cpu[ours] / cpu[floor]:.2f}" for ours, floor in PAIRS)
    return (
        f"CPU of our whole command as a part of its floor's, to compare machines by: {parts}. G3 allows "
        f"{ALLOWED} ms a job, and was set where the floor took {FLOOR_THEN} ms: {ALLOWED / FLOOR_THEN:.2f} of it."
    )


def found(program: str) -> str | None:
    """A program's path."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/bin:/bin")


if __name__ == "__main__":
    sys.exit(main())
