"""What does it cost to put files on a host? Many small ones, a big one, and nothing changed: beside rsync, scp, sftp.

Goals G7 and G8, with one host. Whole commands, their start and login included; every copy is compared with its source.

    python benchmarks/files.py [--quick] [--rounds N]
"""

from __future__ import annotations

import filecmp
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from _calm import Calm
from _ground import HOSTLER, Ground, ground
from _sheet import Goal, Sheet, arguments, say
from _side import DEADLINE, Measured, Ratio, command

OURS, LOOSE = "hostler", "hostler, --no-fsync"
RSYNC, SCP, SFTP = "rsync -a", "scp -r", "sftp put -r"
SMALL, BIG, AGAIN, CONTENT = "small files", "one big file", "nothing changed", "nothing changed, by content"


def main() -> int:
    """Play the rounds, write the sheet."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="interleaved rounds (5)")
    options = parser.parse_args()
    rounds, count, size = (2, 1000, 64 << 20) if options.quick else (options.rounds, 5000, 256 << 20)
    calm = Calm(options.patience)
    sheet = Sheet(
        name="files",
        title=f"{count} files of 4 KiB, and one of {size >> 20} MiB, to one host: seconds, whole commands",
        columns=("what", "way", "s", "÷ rsync, same round", "its CPU, s"),
        unit="seconds (median; lowest and highest round)",
        programs=(("ssh", "-V"), ("rsync", "--version")),
    )
    with ground() as place:
        small, big = place.path / "small", place.path / "big"
        for at in range(count):
            path = small / f"d{at % 50}" / f"f{at}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(4096))
        big.mkdir()
        with open(big / "file", "wb") as file:
            file.writelines(os.urandom(1 << 20) for _ in range(size >> 20))
        compared(place, sheet, SMALL, small, rounds, calm, ways(place))
        compared(place, sheet, BIG, big, rounds, calm, ways(place))
        compared(place, sheet, AGAIN, small, rounds, calm, ways(place, only=(OURS, RSYNC)), fresh=False)
        compared(
            place,
            sheet,
            CONTENT,
            big,
            rounds,
            calm,
            ways(place, only=(OURS, RSYNC), content=True),
            fresh=False,
        )
    return sheet.finish(into=options.into)


def ways(
    place: Ground, *, only: Sequence[str] = (), content: bool = False
) -> dict[str, Callable[[Path, Path], tuple[str, ...]]]:
    """The commands that make `there` what `source` is, by their names."""
    config = str(place.path / "ssh_config")
    inventory, same = str(place.path / "bench.yaml"), ("--checksum",) if content else ()

    def ours(*more: str) -> Callable[[Path, Path], tuple[str, ...]]:
        return lambda source, there: (
            HOSTLER, "sync", "bench", str(source), str(there), "-i", inventory, *same, *more,
        )  # fmt: skip

    every = {OURS: ours(), LOOSE: ours("--no-fsync")}
    peers: dict[str, tuple[str, Callable[[Path, Path], tuple[str, ...]]]] = {
        RSYNC: (
            "rsync",
            lambda source, there: (
                "rsync", "-a", *same, "-e", f"ssh -F {config}", f"{source}/", f"plain:{there}/",
            ),
        ),
        SCP: ("scp", lambda source, there: ("scp", "-qrpF", config, str(source), f"plain:{there}")),
        SFTP: ("sftp", lambda source, there: (
            "/bin/sh", "-c",
            f"mkdir {there} && cd {source} && echo put -r . {there} | sftp -q -F {config} -b - plain",
        )),
    }  # fmt: skip
    for name, (program, make) in peers.items():
        if shutil.which(program):
            every[name] = make
        else:
            say(f"skipped: {program} is not installed")
    return {name: make for name, make in every.items() if not only or name in only}


def compared(
    place: Ground,
    sheet: Sheet,
    what: str,
    source: Path,
    rounds: int,
    calm: Calm,
    sides: dict[str, Callable[[Path, Path], tuple[str, ...]]],
    *,
    fresh: bool = True,
) -> None:
    """Play all ways, and write down what came of it. Unless `fresh` all is there before the clock runs."""
    took: dict[str, list[Measured]] = {}
    for number in range(rounds):
        calm.wait()
        for name, make in sides.items():
            there = place.path / "there"
            shutil.rmtree(there, ignore_errors=True)
            if not fresh:
                command(
                    make(source, there),
                    place,
                    stdin=Path(os.devnull),
                    stdout=place.path / "out",
                    deadline=DEADLINE,
                )
            os.sync()
            once = command(
                make(source, there),
                place,
                stdin=Path(os.devnull),
                stdout=place.path / "out",
                deadline=DEADLINE,
            )
            if once.code or not same(source, there):
                sheet.notes.append(f"VOID {name}, {what}: exit code {once.code}: {once.last}")
                once = replace(once, wall=float("nan"))
            took.setdefault(name, []).append(once)
            say(f"round {number + 1}  {what:28}  {name:20}  {once.wall:6.2f} s")
    floor = took.get(RSYNC)
    for name, runs in took.items():
        ratio = (
            Ratio([own.wall / peer.wall for own, peer in zip(runs, floor, strict=True)]) if floor else None
        )
        walls = sorted(once.wall for once in runs)
        middle, cpu = walls[len(walls) // 2], sorted(once.cpu for once in runs)[len(runs) // 2]
        sheet.rows.append((what, name, f"{middle:.2f}", str(ratio or "-"), f"{cpu:.2f}"))
        sheet.bars.append((f"{name}, {what}", middle, walls[0], walls[-1]))
        if name in (OURS, LOOSE) and ratio is not None and what in (SMALL, AGAIN, CONTENT):
            wanted = {SMALL: 1.0, AGAIN: 1.2, CONTENT: 2.0}[what]
            sheet.goals.append(
                Goal(name=f"{what}, {name}", wanted=f"≤ {wanted} × rsync", found=str(ratio),
                     reached=ratio.middle <= wanted)
            )  # fmt: skip
        if name in (OURS, LOOSE) and what == BIG and len(took) > 2:
            fastest = Ratio(
                [
                    own.wall / min(took[peer][at].wall for peer in took if peer not in (OURS, LOOSE))
                    for at, own in enumerate(runs)
                ]
            )
            sheet.goals.append(
                Goal(name=f"{what}, {name}", wanted="≤ 1.2 × the fastest of rsync, scp, sftp", found=str(fastest),
                     reached=fastest.middle <= 1.2)
            )  # fmt: skip


def same(source: Path, there: Path) -> bool:
    """Whether a copy is what it should be."""
    names = sorted(path.relative_to(source) for path in source.rglob("*"))
    if names != sorted(path.relative_to(there) for path in there.rglob("*")):
        return False
    return all(
        filecmp.cmp(source / name, there / name, shallow=False) for name in names if (source / name).is_file()
    )


if __name__ == "__main__":
    sys.exit(main())
