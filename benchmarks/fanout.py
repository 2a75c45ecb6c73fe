"""What does one command on many hosts cost? `hostler run … -- true`, its own start and its store included (goal G5).

Beside it a bare AsyncSSH loop that runs `true` on the same hosts in the same round, and `xargs ssh`.

    python benchmarks/fanout.py [--quick] [--rounds N] [--hosts N]
"""

from __future__ import annotations

import sys
from pathlib import Path

from _ground import Ground
from fanout_connect import BARE, SSH, play
from fanout_connect import ways as ways_there

OURS = "hostler run"


def main() -> int:
    """Play the rounds, write the sheet."""
    return play("fanout", __doc__, hosts=100, ways=ways, ours=OURS)


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
