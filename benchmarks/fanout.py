"""What does one command on many hosts cost? `hostler run … -- true`, its own start and its store included (goal G5).

Beside it a bare AsyncSSH loop that runs `true` on the same hosts in the same round, `xargs ssh`, and clush and pdsh as
they are installed.

    python benchmarks/fanout.py [--quick] [--rounds N] [--hosts N]
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from _calm import Calm
from _ground import Ground, ground
from _loopback import servers
from _sheet import Sheet, arguments, say
from fanout_connect import BARE, SSH, compared
from fanout_connect import ways as ways_there

OURS = "hostler run"


def main() -> int:
    """Play the rounds, write the sheet."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="interleaved rounds (5)")
    parser.add_argument("--hosts", type=int, default=100, metavar="N", help="at most so many hosts (100)")
    options = parser.parse_args()
    rounds, most = (2, 20) if options.quick else (options.rounds, options.hosts)
    sshd = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if not sshd:
        say("skipped: sshd is not installed (Debian: openssh-server)")
        return 0
    calm = Calm(options.patience)
    sheet = Sheet(
        name="fanout",
        title="`true` on many hosts of this machine: seconds, whole commands",
        columns=("way", "hosts", "s", "÷ bare loop, same round", "its CPU, ms/host"),
        unit="seconds (median; lowest and highest round)",
        programs=(("ssh", "-V"),),
    )
    with ground(with_host=False) as place, servers(place, sshd, most):
        for count in [step for step in (10, 100) if step < most] + [most]:
            compared(place, sheet, count, rounds, calm, ways=ways, ours=OURS)
    return sheet.finish(into=options.into)


def ways(place: Ground, count: int) -> dict[str, tuple[str, ...]]:
    """The commands that are timed."""
    there = ways_there(place, count)
    program = str(Path(sys.executable).with_name("hostler"))
    found = {BARE: there[BARE]}
    found[OURS] = (program, "run", f"h[1-{count}]", "-i", str(place.path / "many.yaml"), "-q", "--", "true")
    if SSH in there:
        found[SSH] = there[SSH]
    return found


if __name__ == "__main__":
    sys.exit(main())
