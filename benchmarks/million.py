"""Does a million jobs stay small: read quickly, held in little memory, resumed at once?

Goal G4. The controller is killed after some tens of thousands of jobs, and the run is resumed; with --whole it then
goes on to the last job.

    python benchmarks/million.py [--quick] [--whole] [--ended N]
"""

from __future__ import annotations

import subprocess
import sys
import time

from _calm import Calm
from _ground import Ground, ground
from _sheet import Goal, Sheet, arguments, say
from _side import Void
from _watched import Watched

JOBS = 1_000_000
ENDED = 60_000
#: The floor under reading: the same lines and digests into a bare SQLite table, as durably.
FLOOR = """
import hashlib, itertools, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA journal_mode = WAL"), db.execute("PRAGMA synchronous = FULL")
db.execute("CREATE TABLE job (seq INTEGER PRIMARY KEY, key BLOB, args BLOB, state INT)")
db.execute("BEGIN")
rows = ((hashlib.sha256(line).digest(), line[:-1]) for line in sys.stdin.buffer)
while some := list(itertools.islice(rows, 5000)):
    db.executemany("INSERT INTO job (key, args, state) VALUES (?, ?, 0)", some)
db.execute("COMMIT")
"""


def main() -> int:
    """Measure, write the sheet; 1 when a part of the goal is missed."""
    parser = arguments(__doc__)
    parser.add_argument("--whole", action="store_true", help="run all of the million: about ten minutes more")
    parser.add_argument(
        "--ended", type=int, default=ENDED, metavar="N", help=f"jobs before the kill ({ENDED:,})"
    )
    options = parser.parse_args()
    ended = min(options.ended, 5000) if options.quick else options.ended
    quiet = Calm(options.patience).begin()
    sheet = Sheet(
        name="million",
        title=f"A million jobs: `seq {JOBS} | hostler batch -j 8 -- true`, one SSH host",
        columns=("step", "seconds", "controller CPU, s", "resident at its end, MB", "peak, MB"),
        unit="seconds",
    )
    try:
        with ground() as place:
            measure(place, sheet, ended=ended, whole=options.whole)
    except Void as wrong:
        sheet.goals.append(Goal(name="G4", wanted="a result", found=str(wrong), reached=False, fatal=True))
    sheet.notes.append(quiet)
    return sheet.finish(into=options.into)


def measure(place: Ground, sheet: Sheet, *, ended: int, whole: bool) -> None:
    """Read, run, kill, resume. Raises Void."""
    numbers = place.numbers(JOBS)
    floor = bare(place)
    sheet.rows.append(("bare SQLite: the same lines, one transaction", f"{floor:.1f}", "", "", ""))
    batch = ("batch", "-i", str(place.path / "bench.yaml"), "--hosts", "bench", "-j", "8", "--", "true")
    with Watched(place, *batch, stdin=numbers) as first:
        read = first.accepted(seconds=120)
        say(f"run {first.run} accepted after {read:.1f} s")
        sheet.rows.append(row("read: from the command's start to its run's number", read, first))
        begun = time.time()
        first.until(
            lambda: done(place, first.run) >= ended, seconds=1200, what=f"{ended:,} jobs ended", every=1.0
        )
        sheet.rows.append(row(f"the first {ended:,} jobs, then SIGKILL", time.time() - begun, first))
        first.kill()
    at_kill = done(place, first.run)
    say(f"killed when {at_kill:,} jobs were recorded")
    with Watched(place, "batch", "--resume", str(first.run)) as second:
        second.until(
            lambda: first_dispatch(place, first.run, second.begun),
            seconds=60,
            what="its first dispatch",
            every=0.05,
        )
        resumed = first_dispatch(place, first.run, second.begun) - second.begun
        say(f"resumed: first dispatch after {resumed:.2f} s")
        sheet.rows.append(row("resume: from the command's start to its first dispatch", resumed, second))
        begun = time.time()
        if whole:
            second.until(
                lambda: done(place, first.run) >= JOBS, seconds=3600, what="all jobs ended", every=5.0
            )
            code = second.end(seconds=120)
        else:
            goal = at_kill + ended // 10
            second.until(
                lambda: done(place, first.run) >= goal, seconds=300, what="some jobs more", every=0.5
            )
            code = second.stop(seconds=60)
        sheet.rows.append(
            row("the rest of the million" if whole else "some more, then INT", time.time() - begun, second)
        )
    peak = max(first.peak, second.peak) / 1e6
    sheet.bars = [
        ("bare SQLite: the same lines in", floor, floor, floor),
        ("hostler: a million jobs read", read, read, read),
        ("hostler: resume to first dispatch", resumed, resumed, resumed),
    ]
    sheet.goals = [
        Goal(name="G4 read a million jobs", wanted="≤ 10 s", found=f"{read:.1f} s, {read / floor:.1f} × bare SQLite",
             reached=read <= 10, fatal=True),
        Goal(name="G4 controller's memory, first to last", wanted="≤ 150 MB", found=f"{peak:.0f} MB",
             reached=peak <= 150, fatal=True),
        Goal(name="G4 resume decides what is left", wanted="≤ 3 s", found=f"{resumed:.2f} s", reached=resumed <= 3,
             fatal=True),
        whole_and_once(place, first.run, code=code, whole=whole),
    ]  # fmt: skip


def row(step: str, seconds: float, watched: Watched) -> tuple[str, ...]:
    """One line of the table."""
    watched.sample()
    return (
        step, f"{seconds:.2f}", f"{watched.cpu():.2f}", f"{watched.resident / 1e6:.0f}", f"{watched.peak / 1e6:.0f}",
    )  # fmt: skip


def bare(place: Ground) -> float:
    """Seconds that a bare SQLite takes for the lines."""
    with open(place.numbers(JOBS), "rb") as lines:
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", FLOOR, str(place.path / "floor.db")], stdin=lines, check=True, timeout=300
        )
        return time.perf_counter() - begun


def done(place: Ground, run: int) -> int:
    """Jobs of a run that are recorded as ended."""
    with place.store() as db:
        return int(
            db.execute("SELECT count(*) FROM attempt WHERE run = ? AND state = 1", (run,)).fetchone()[0]
        )


def first_dispatch(place: Ground, run: int, since: float) -> float:
    """When a controller that began at `since` first sent a job out, by the wall clock; 0 while it has not."""
    with place.store() as db:
        found = db.execute(
            "SELECT min(dispatched_at) FROM attempt WHERE run = ? AND dispatched_at >= ?", (run, since)
        ).fetchone()[0]
    return float(found or 0.0)


def whole_and_once(place: Ground, run: int, *, code: int, whole: bool) -> Goal:
    """That the million is still a million, and no job was done twice."""
    with place.store() as db:
        total = db.execute("SELECT count(*) FROM job WHERE run = ?", (run,)).fetchone()[0]
        well = db.execute("SELECT count(*) FROM job WHERE run = ? AND state = 2", (run,)).fetchone()[0]
        still = db.execute("SELECT count(*) FROM job WHERE run = ? AND state = 1", (run,)).fetchone()[0]
        twice = db.execute(
            "SELECT count(*) FROM (SELECT 1 FROM attempt WHERE run = ? AND ending = 'ok' GROUP BY job"
            " HAVING count(*) > 1)",
            (run,),
        ).fetchone()[0]
    good = (
        total == JOBS
        and not still
        and not twice
        and code == (0 if whole else 130)
        and (not whole or well == JOBS)
    )
    return Goal(
        name="nothing lost, nothing twice",
        wanted="a million jobs, none open, none twice",
        found=f"{total:,} jobs, {well:,} done, {still} open, {twice} twice, exit code {code}",
        reached=good,
        fatal=True,
    )


if __name__ == "__main__":
    sys.exit(main())
