"""The table of faults: as text, as Markdown, and between its marks in a page.

It must never write to any file but the one that it is given.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from tests.faults.frame import Tally

COLUMNS = ("fault", "tries", "lost", "doubled", "wrong", "")
NOT_TRIED = "–"


def text(rows: Sequence[Tally]) -> str:
    """The rows as plain text, with the evidence below."""
    table = [COLUMNS, *map(_cells, rows)]
    widths = [max(len(row[n]) for row in table) for n in range(len(COLUMNS))]
    lines = []
    for name, *counts, note in table:
        cells = [name.ljust(widths[0]), *(c.rjust(w) for c, w in zip(counts, widths[1:], strict=False)), note]
        lines.append("  ".join(cells).rstrip())
    for row in rows:
        lines += [f"{row.fault}: {line}" for line in row.evidence[:50]]
    return "\n".join(lines) + "\n"


def put_into(page: Path, rows: Sequence[Tally], *, mark: str, command: str, whole_table: bool) -> None:
    """Put rows as Markdown between their marks in a page, with the machine, the versions and the command.

    Unless they are the `whole_table`, rows of other names that stand there stay. Raises SystemExit without marks.
    """
    whole, begin, end = page.read_text(), f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    head, found, rest = whole.partition(begin)
    there, closed, tail = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{page}: no line {begin.strip()} with {end} behind it")
    new = {row.fault: _row(_cells(row)) for row in rows}
    old = (
        {}
        if whole_table
        else {line.split("|")[1].strip(): line for line in there.splitlines() if "|" in line}
    )
    old = {name: line for name, line in old.items() if name not in ("fault", "---")}
    lines = [_row(COLUMNS), _row(("---", "--:", "--:", "--:", "--:", "---")), *(old | new).values()]
    again = "" if not old.keys() - new.keys() else ", the last of several that made these rows"
    lines += ["", f"{_machine()}. `{command}`, {time.strftime('%Y-%m-%d')}{again}."]
    page.write_text("\n".join([head + begin + lines[0], *lines[1:], end + tail]))


def _cells(row: Tally) -> tuple[str, ...]:
    counts = map(str, (row.tries, row.lost, row.doubled, row.wrong)) if row.tries else [NOT_TRIED] * 4
    return (row.fault, *counts, row.note)


def _row(words: Sequence[str]) -> str:
    return f"| {' | '.join(word.replace('|', chr(92) + '|') for word in words)} |"


def _machine() -> str:
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return (
        f"{len(os.sched_getaffinity(0))} CPUs, {system}, Linux {platform.release()}; hostler {version('hostler')}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, asyncssh {version('asyncssh')}"
    )
