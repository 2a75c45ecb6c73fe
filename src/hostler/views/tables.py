"""Columns that line up: plain where text goes to a file or a pipe, by rich on a terminal.

It must never import rich unless a terminal is there to see it, nor read its markup out of anybody's words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hostler.views.text import columns, fit


@dataclass(frozen=True, slots=True)
class Column:
    """A column's head; `right` lines its cells up on the right; `widest` columns at most, None for what is left."""

    head: str
    right: bool = False
    widest: int | None = 40


def table(heads: Sequence[Column], rows: Iterable[Sequence[str]], *, width: int, colour: bool) -> str:
    """Rows beneath their heads, indented by two, each line at most `width` columns wide and ended by a newline.

    Cells hold harmless one-line text. With `colour` it is drawn by rich, for a terminal.

    >>> print(table([Column("host"), Column("jobs", right=True)], [("n1", "12")], width=80, colour=False), end="")
      host  jobs
      n1      12
    """
    cells = [[fit(cell, head.widest or width) for head, cell in zip(heads, row, strict=True)] for row in rows]
    if not cells:
        return ""
    if colour:
        return _rich(heads, cells, width=width)
    wide = [max(columns(head.head), *(columns(row[i]) for row in cells)) for i, head in enumerate(heads)]
    lines = []
    for row in [[head.head for head in heads], *cells]:
        text = "  ".join(_padded(cell, wide[i], right=heads[i].right) for i, cell in enumerate(row))
        lines.append(fit("  " + text.rstrip(), width) + "\n")
    return "".join(lines)


def _padded(cell: str, width: int, *, right: bool) -> str:
    gap = " " * (width - columns(cell))
    return gap + cell if right else cell + gap


def _rich(heads: Sequence[Column], cells: Iterable[Sequence[str]], *, width: int) -> str:
    from io import StringIO

    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for head in heads:
        drawn.add_column(
            Text(head.head), justify="right" if head.right else "left", no_wrap=True, overflow="ellipsis"
        )
    for row in cells:
        drawn.add_row(*(Text(cell) for cell in row))
    out = StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=True,
        color_system="standard",
        legacy_windows=False,
        markup=False,
    )
    console.print(Padding(drawn, (0, 0, 0, 2)))
    return "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number with its noun.

    >>> counted(1, "job"), counted(2, "job"), counted(2, "host was", "hosts were")
    ('1 job', '2 jobs', '2 hosts were')
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def listed(items: Sequence[object], *, shown: int, total: int | None = None) -> str:
    """The first few of many, and how many more there are.

    >>> listed([1, 2, 3], shown=2, total=10)
    '1, 2 and 8 more'
    """
    more = (len(items) if total is None else total) - min(len(items), shown)
    text = ", ".join(str(item) for item in items[:shown])
    return f"{text} and {more} more" if more > 0 else text
