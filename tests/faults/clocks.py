"""Clocks that are set in the middle of a run, by a day either way, at the controller and on a host.

Only wall time is set, as an administrator or a time server would; steady time goes on as it does on a real machine. A
line is cut right after each jump, since that is when leases are reckoned. Nothing may be given up, ended or repeated.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.faults.crash import PATIENCE, playground, wait
from tests.faults.frame import Tally, Trial, fault
from tests.faults.judge import judge
from tests.faults.plan import Plan, count_begun

DAY = 86_400
JUMPS = (DAY, -DAY, 3 * 3600, -7)
#: time.time of a Python, moved by as many seconds as a file says.
MOVED = """
import time
def moved(real=time.time, file=%r):
    try:
        with open(file) as text:
            return real() + int(text.read() or 0)
    except FileNotFoundError:
        return real()
time.time = moved
import sys
"""
#: The command, with such a clock.
COMMAND = """
sys.argv = sys.argv[1:]
from hostler.cli.main import main
sys.exit(main())
"""
#: A Python for the runner, with such a clock: it is called with options and a program.
PYTHON = '#!/bin/sh\nexec {python} -ISc {moved} "$2"\n'


@fault("clocks set in the middle of a run", sample=4.0, full=60.0)
def clocks(trial: Trial) -> Iterator[Tally]:
    """Set the controller's clock, or a host's, and cut a line."""
    files = {side: trial.folder / f"{side}-clock" for side in ("controller", "host")}
    with playground(trial.folder, hosts=2, without_python=0) as ground:
        hostler = ground.hostler
        _give_clock(hostler.folder / "hosts.yaml", trial.folder / "python", files["host"])
        hostler.within = (sys.executable, "-c", MOVED % str(files["controller"]) + COMMAND)
        for side, file in files.items():
            jumps = trial.pick(JUMPS, sample=1)
            plan = Plan.make(15 * (len(jumps) + 1), chance=trial.chance, longest=0.4)
            effects = hostler.folder / f"effects-{side}"
            words = ["-i", "hosts.yaml", "-j", "3", *plan.options, *plan.words(effects)]
            running = hostler.start("batch", *words, stdin=plan.lines)
            for number, jump in enumerate(jumps):
                begun = 6 + 14 * number
                wait(lambda e=effects, n=begun: count_begun(e) >= n, seconds=60.0)  # type: ignore[misc]
                file.write_text(str(jump))
                for door in ground.doors:
                    door.slam()
            running.wait(PATIENCE)
            verdict = judge(hostler, plan=plan, effects=effects)
            yield verdict.tally(tries=len(jumps), fault=f"clock set: {side}")


def _give_clock(sheet: Path, python: Path, file: Path) -> None:
    """Have the runners of these hosts go by a clock that can be set."""
    told = MOVED % str(file) + "exec(sys.argv[1])"
    python.write_text(PYTHON.format(python=shlex.quote(sys.executable), moved=shlex.quote(told)))
    python.chmod(0o755)
    lines = sheet.read_text().splitlines()
    given = [line.replace("vars: {", f"vars: {{python: '{python}', ") for line in lines]
    sheet.write_text("\n".join(given) + "\n")
