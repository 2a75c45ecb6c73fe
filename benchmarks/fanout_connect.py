"""What does it cost to reach many hosts? Connect, log in, run `true`, leave: whole commands, their start included.

What is below goal G5, which fanout.py asks: hostler's transports beside a bare AsyncSSH loop and `xargs ssh`.

    python benchmarks/fanout_connect.py [--quick] [--rounds N] [--hosts N]
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from _calm import Calm
from _ground import Ground, ground
from _loopback import servers
from _sheet import Goal, Sheet, arguments, say
from _side import DEADLINE, Measured, Ratio, command

BARE, OURS, PROGRAM = "bare AsyncSSH loop", "hostler, AsyncSSH", "hostler, ssh program"
#: The commands that are timed, by name, for so many hosts.
Ways = Callable[[Ground, int], dict[str, tuple[str, ...]]]
SSH = "xargs -P 64 ssh (curve25519)"
WANTED = 1.3


def main() -> int:
    """Play the rounds, write the sheet."""
    return play("fanout_connect", __doc__, hosts=300, ways=ways, ours=OURS)


def play(name: str, doc: str | None, *, hosts: int, ways: Ways, ours: str) -> int:
    """Time all `ways` on up to `hosts` hosts of this machine, and write the sheet `name`."""
    parser = arguments(doc)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="interleaved rounds (5)")
    parser.add_argument(
        "--hosts", type=int, default=hosts, metavar="N", help=f"at most so many hosts ({hosts})"
    )
    options = parser.parse_args()
    rounds, most = (2, 40) if options.quick else (options.rounds, options.hosts)
    sshd = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if not sshd:
        say("skipped: sshd is not installed (Debian: openssh-server)")
        return 0
    calm = Calm(options.patience)
    sheet = Sheet(
        name=name,
        title="`true` on many hosts of this machine: seconds, whole commands",
        columns=("way", "hosts", "s", "÷ bare loop, same round", "its CPU, ms/host"),
        unit="seconds (median; lowest and highest round)",
        programs=(("ssh", "-V"),),
    )
    with ground(with_host=False) as place, servers(place, sshd, most):
        for count in [step for step in (10, 100) if step < most] + [most]:
            compared(place, sheet, count, rounds, calm, ways=ways, ours=ours)
    return sheet.finish(into=options.into)


def ways(place: Ground, count: int) -> dict[str, tuple[str, ...]]:
    """The commands that are timed."""
    mine = (sys.executable, str(Path(__file__).with_name("_connect.py")))
    inventory = str(place.path / "many.yaml")
    found = {
        BARE: (*mine, "bare", inventory, str(count)),
        OURS: (*mine, "asyncssh", inventory, str(count)),
    }
    ssh, xargs = (shutil.which(name, path="/usr/bin:/bin") for name in ("ssh", "xargs"))
    if not (ssh and xargs):
        say("skipped: ssh is not installed (Debian: openssh-client)")
        return found
    found[PROGRAM] = (*mine, "openssh", inventory, str(count))
    words = f"-o IdentityFile={place.path}/client -o BatchMode=yes -o LogLevel=ERROR -o KexAlgorithms=curve25519-sha256"
    check = f"-o UserKnownHostsFile={place.path}/seen -o StrictHostKeyChecking=accept-new -p {port(place)}"
    found[SSH] = ("/bin/sh", "-c", f"{xargs} -P 64 -I@ {ssh} -F none {words} {check} @ true")
    return found


def port(place: Ground) -> str:
    """The port that all the servers listen on."""
    return (place.path / "many.yaml").read_text().partition("port: ")[2].partition(",")[0]


def compared(
    place: Ground, sheet: Sheet, count: int, rounds: int, calm: Calm, *, ways: Ways, ours: str
) -> None:
    """Play all ways on so many hosts, and write down what came of it."""
    rows = (place.path / "many.yaml").read_text().splitlines()[2 : 2 + count]
    addresses = place.path / f"addresses.{count}"
    addresses.write_text("".join(row.partition("address: ")[2].partition(",")[0] + "\n" for row in rows))
    took: dict[str, list[Measured]] = {}
    for number in range(rounds):
        calm.wait()
        for name, argv in ways(place, count).items():
            once = command(argv, place, stdin=addresses, stdout=place.path / "out", deadline=DEADLINE)
            if once.code:
                once = replace(once, wall=float("nan"))
                sheet.notes.append(f"VOID {name}, {count} hosts: exit code {once.code}: {once.last}")
            took.setdefault(name, []).append(once)
            say(f"round {number + 1}  {count:4} hosts  {name:30}  {once.wall:6.2f} s")
    for name, runs in took.items():
        ratio = Ratio([own.wall / bare.wall for own, bare in zip(runs, took[BARE], strict=True)])
        walls = sorted(once.wall for once in runs)
        middle = walls[len(walls) // 2]
        cpu = sorted(once.cpu for once in runs)[len(runs) // 2] / count * 1000
        sheet.rows.append(
            (name, str(count), f"{middle:.2f}", "1" if name == BARE else str(ratio), f"{cpu:.1f}")
        )
        sheet.bars.append((f"{name}, {count}", middle, walls[0], walls[-1]))
        if name == ours:
            what = "transports" if ours == OURS else ours
            sheet.goals.append(
                Goal(name=f"{what} at {count} hosts", wanted=f"≤ {WANTED} × the bare loop", found=str(ratio),
                     reached=ratio.middle <= WANTED)
            )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
