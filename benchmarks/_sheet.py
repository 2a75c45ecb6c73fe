"""What a benchmark found, written down: a table as text and as Markdown, the goals, the versions, a plot.

It must never write outside `benchmarks/results/`, but for the one file that --into names.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from _ground import HERE, disk_kind, real_disk

RESULTS = HERE / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One goal of the design: what was wanted, what was found, whether that is reached; `fatal` when it must be."""

    name: str
    wanted: str
    found: str
    reached: bool
    fatal: bool = False

    @property
    def verdict(self) -> str:
        """One word for it."""
        return "reached" if self.reached else "FAILED" if self.fatal else "missed"


@dataclass(slots=True)
class Sheet:
    """All that is said of one benchmark. `bars` are (label, middle, lowest, highest) for the plot."""

    name: str
    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    bars: list[tuple[str, float, float, float]] = field(default_factory=list)
    unit: str = ""
    packages: Sequence[str] = ("asyncssh", "cryptography", "sqlalchemy")
    programs: Sequence[Sequence[str]] = ()

    def text(self) -> str:
        """The whole as plain text."""
        widths = [max(len(row[n]) for row in (self.columns, *self.rows)) for n in range(len(self.columns))]
        lines = [self.title, ""]
        for row in (self.columns, *self.rows):
            cells = [
                row[0].ljust(widths[0]),
                *(word.rjust(width) for word, width in zip(row[1:], widths[1:], strict=True)),
            ]
            lines.append("  ".join(cells).rstrip())
        lines += ["", *(f"{g.verdict:8} {g.name}: {g.found} (goal: {g.wanted})" for g in self.goals)]
        return "\n".join([*lines, "", *self.notes, *self.facts()]) + "\n"

    def markdown(self) -> str:
        """The whole as Markdown."""
        lines = [_cells(self.columns), _cells(["---", *("--:" for _ in self.columns[1:])])]
        lines += [_cells(row) for row in self.rows]
        if self.goals:
            lines += ["", _cells(("goal", "wanted", "found", "")), _cells(("---", "---", "---", "---"))]
            lines += [_cells((g.name, g.wanted, g.found, g.verdict)) for g in self.goals]
        return (
            "\n".join([*lines, "", *(f"{note}\n" for note in (*self.notes, *self.facts()))]).rstrip() + "\n"
        )

    def facts(self) -> list[str]:
        """The machine, the versions and the command: without them no figure means anything."""
        command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
        return [
            f"Machine: {machine()}.",
            f"Versions: {', '.join([*_own_versions(self.packages), *_program_versions(self.programs)])}.",
            f"Command: `{command}`, {time.strftime('%Y-%m-%d')}.",
        ]

    def finish(self, *, into: Path | None) -> int:
        """Print and keep it all; the benchmark's exit code: 1 when what must be reached was not."""
        text = self.text()
        print(f"\n{text}", flush=True)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{self.name}.txt").write_text(text)
        (RESULTS / f"{self.name}.md").write_text(self.markdown())
        if picture := self.plot():
            print(f"plot: {picture.relative_to(HERE.parent)}")
        if into:
            _replace(into, self.name, self.markdown())
            print(f"table written into {into}")
        return 1 if any(goal.fatal and not goal.reached for goal in self.goals) else 0

    def plot(self) -> Path | None:
        """Draw the bars, on a logarithmic axis; None, and a line on stderr, where matplotlib is missing."""
        try:
            import matplotlib

            matplotlib.use("Agg")
            from matplotlib import pyplot
        except ImportError:
            print("no plot: matplotlib is not installed (pip install 'hostler[bench]')", file=sys.stderr)
            return None
        bars = self.bars[::-1]
        if not bars:
            return None
        figure, axes = pyplot.subplots(figsize=(9, 0.45 * len(bars) + 1.4), layout="constrained")
        labels, middles = [bar[0] for bar in bars], [bar[1] for bar in bars]
        spread = [[mid - low for _, mid, low, _ in bars], [high - mid for _, mid, _, high in bars]]
        colours = ["#2a6f97" if "hostler" in label else "#b8b8b8" for label in labels]
        axes.barh(labels, middles, color=colours, xerr=spread, error_kw={"elinewidth": 1, "capsize": 2})
        if max(middles) > 20 * min(middles):
            axes.set_xscale("log")
        axes.set_xlabel(self.unit)
        axes.set_title(self.title, fontsize=10)
        path = RESULTS / f"{self.name}.png"
        figure.savefig(path, dpi=120)
        pyplot.close(figure)
        return path


def arguments(text: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has; `text` is its docstring."""
    parser = argparse.ArgumentParser(description=(text or "").strip().splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="less of everything: a look, not a measurement")
    parser.add_argument(
        "--patience",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="wait this long for a calm machine (60)",
    )
    parser.add_argument(
        "--into", type=Path, metavar="FILE", help="put the table between its marks in this Markdown file too"
    )
    return parser


def machine() -> str:
    """The machine in one line."""
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return (
        f"{len(os.sched_getaffinity(0))} × {model}, {memory:.0f} GiB, {system}, Linux {platform.release()}, "
        f"{disk_kind(real_disk())}; client, sshd and jobs share it"
    )


def _own_versions(packages: Sequence[str]) -> list[str]:
    found = [f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}"]
    for package in ("hostler", *packages):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found


def _program_versions(programs: Sequence[Sequence[str]]) -> list[str]:
    found = []
    for argv in programs:
        if program := shutil.which(argv[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
            done = subprocess.run(
                [program, *argv[1:]], capture_output=True, timeout=20, check=False, stdin=subprocess.DEVNULL
            )
            lines = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()
            found.append(lines[0].strip().rstrip(".") if lines else argv[0])
    return found


def _cells(words: Sequence[str]) -> str:
    return f"| {' | '.join(word.replace('|', chr(92) + '|') for word in words)} |"


def _replace(path: Path, name: str, text: str) -> None:
    """Put `text` between this benchmark's marks."""
    whole, begin, end = path.read_text(), f"<!-- {name} -->\n", f"<!-- /{name} -->"
    head, found, rest = whole.partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{path}: no line {begin.strip()} with {end} behind it")
    path.write_text(f"{head}{begin}{text}{end}{tail}")


def say(line: str) -> None:
    """Progress, on stderr."""
    print(line, file=sys.stderr, flush=True)
