"""How much memory does a connected host cost the controller?

Goal G6. One batch of sleeping jobs over N hosts, each with its runner: N loopback addresses served by sshds of the
benchmark's own, which can listen on 16 each. The far ends live on this machine too, and cost it far more than the
controller: the steps stop where memory would.

    python benchmarks/memory.py [--quick] [--whole] [--hosts N]
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from _calm import Calm
from _ground import Ground, descendants, ground
from _loopback import servers
from _sheet import Goal, Sheet, arguments, say
from _side import Void
from _watched import Watched

FEW = 10
#: What most accounts have, and so what must do.
FILES = 1024
#: Bytes that are left alone.
SPARE = 2 << 30
GOAL_EACH, GOAL_ALL, GOAL_HOSTS = 60, 150e6, 1000
PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Go up in steps, write the sheet; 1 when a step did not come to its end."""
    parser = arguments(__doc__)
    parser.add_argument(
        "--whole", action="store_true", help="go up to 1,000 hosts: about 20 GB at the far ends"
    )
    parser.add_argument("--hosts", type=int, metavar="N", help="go up to N hosts")
    options = parser.parse_args()
    most = options.hosts or (GOAL_HOSTS if options.whole else 40 if options.quick else 300)
    steps = [FEW, *(step for step in (40, 100, 300, 600) if FEW < step < most), most]
    sshd = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if not sshd:
        say("skipped: sshd is not installed (Debian: openssh-server)")
        return 0
    quiet = Calm(options.patience).begin()
    sheet = Sheet(
        name="memory",
        title="Memory of the controller with N connected hosts, each with its runner and a sleeping job",
        columns=("hosts", "resident, MB", "peak, MB", "KiB per host beyond the first 10", "all connected after, s",
                 "CPU, ms per host", "far end, MB per host"),
        unit="resident memory of the controller, MB",
        programs=(("sshd", "-V"),),
    )  # fmt: skip
    adopt_orphans()
    with ground(with_host=False) as place, servers(place, sshd, most):
        climb(place, sheet, steps)
    sheet.notes.append(f"At most {FILES} open files for the controller. {quiet}")
    return sheet.finish(into=options.into)


def climb(place: Ground, sheet: Sheet, steps: list[int]) -> None:
    """Measure step by step, as far as there is memory; then say what that means for the goal."""
    base, each, peak, reached = 0.0, 0.0, 0, 0
    far = 0.0
    for step in steps:
        if reached and available() - far * step < SPARE:
            sheet.notes.append(
                f"{step} hosts were not tried: their far ends would take {far * step / 1e9:.0f} GB."
            )
            break
        try:
            resident, highest, seconds, cpu, far = connected(place, step)
        except Void as wrong:
            sheet.goals.append(
                Goal(
                    name=f"G6 {step} hosts", wanted="all at work", found=str(wrong), reached=False, fatal=True
                )
            )
            break
        base = base or float(resident)
        each = (resident - base) / (step - FEW) / 1024 if step > FEW else 0.0
        peak, reached = max(peak, highest), step
        sheet.rows.append(
            (f"{step:,}", f"{resident / 1e6:.1f}", f"{highest / 1e6:.1f}", f"{each:.1f}" if each else "–",
             f"{seconds:.1f}", f"{cpu / step * 1000:.1f}", f"{far / 1e6:.1f}")
        )  # fmt: skip
        sheet.bars.append((f"hostler, {step:,} hosts", resident / 1e6, resident / 1e6, highest / 1e6))
        say(
            f"{step} hosts: {resident / 1e6:.1f} MB, {each:.1f} KiB each; {far / 1e6:.1f} MB each at the far end"
        )
    whole = peak if reached >= GOAL_HOSTS else base + each * 1024 * (GOAL_HOSTS - FEW)
    beyond = "" if reached >= GOAL_HOSTS else f" with {reached} hosts; {whole / 1e6:.0f} MB by extrapolation"
    sheet.goals += [
        Goal(name="G6 per connected host", wanted=f"≤ {GOAL_EACH} KiB", found=f"{each:.1f} KiB ({reached} hosts)",
             reached=0 < each <= GOAL_EACH),
        Goal(name="G6 the whole at 1,000 hosts", wanted="< 150 MB",
             found=f"{peak / 1e6:.0f} MB at its peak" + beyond, reached=whole < GOAL_ALL),
    ]  # fmt: skip


def connected(place: Ground, count: int) -> tuple[int, int, float, float, float]:
    """One batch over `count` hosts, all at work: resident and peak bytes, seconds until then, CPU seconds, bytes of
    the far end per host. Raises Void.
    """
    jobs = place.path / f"jobs.{count}"
    jobs.write_text("3600\n" * count)
    free = available()
    words = (
        "batch",
        "-i",
        str(place.path / "many.yaml"),
        "--hosts",
        f"h[1-{count}]",
        "-j",
        "1",
        "--",
        "sleep",
    )
    with Watched(place, *words, stdin=jobs, files=FILES) as watched:
        watched.accepted(seconds=60)
        seconds = watched.until(
            lambda: at_work(place, watched.run) >= count,
            seconds=120 + count,
            what=f"{count} jobs at work",
            every=0.5,
        )
        time.sleep(2.0)
        watched.sample()
        far = max(0.0, (free - available() - watched.resident) / count)
        resident, peak, cpu = watched.resident, watched.peak, watched.cpu()
        if count <= FEW:
            code = watched.stop(seconds=60)
            if code != 130:
                raise Void(f"exit code {code} after INT: {watched.last()}")
    # The rest are ended from here: a thousand hosts on one machine, each looking for its jobs in the same /proc,
    # would keep it busy for minutes, which tells nothing of a thousand machines.
    left_alone(patience=15 if count <= FEW else 0)
    return resident, peak, seconds, cpu, far


def at_work(place: Ground, run: int) -> int:
    """Attempts that were reported as running."""
    with place.store() as db:
        found = db.execute(
            "SELECT count(*) FROM attempt WHERE run = ? AND state = 0 AND started_at IS NOT NULL", (run,)
        )
        return int(found.fetchone()[0])


def available() -> int:
    """Bytes that this machine could still give."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def adopt_orphans() -> None:
    """Runners leave their sessions; as their reaper we can find and end what a failed step would leave."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def left_alone(*, patience: float = 0.0) -> None:
    """Wait for orphans of ours to end, then end those that don't; servers are no orphans."""
    until = time.monotonic() + patience
    while True:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        ours = descendants(os.getpid())
        orphans = [pid for pid, name in ours.items() if name != "sshd"]
        if not orphans:
            return
        if time.monotonic() > until:
            for pid in orphans:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
        if time.monotonic() > until + 30:
            say(f"these can't be ended: {orphans}")
            return


if __name__ == "__main__":
    sys.exit(main())
