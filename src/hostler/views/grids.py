"""A table as plain values, for whoever draws it anew many times a second: rows, and how wide their columns are.

It must never look at a screen: the room comes from the caller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from hostler.engine.summary import percent
from hostler.views.tables import Column
from hostler.views.text import columns, fit

#: What a cell is like: well, failed, something to look at, of less interest. The rest is plain.
GOOD, WRONG, LOOK, FAINT = "good", "wrong", "look", "faint"
#: Blanks between two columns, and the least that a column keeps which gives way to others.
GAP, LEAST = 2, 8


class Row(Struct, frozen=True):
    """One row: what it stands for, its cells as harmless one-line texts, and what some of them are like."""

    key: int | str
    cells: tuple[str, ...]
    looks: Mapping[int, str]


class Table(Struct, frozen=True):
    """Rows beneath their heads; `empty` says why there are none."""

    heads: tuple[Column, ...]
    rows: tuple[Row, ...]
    empty: str = ""


def without(table: Table, heads: Sequence[str]) -> Table:
    """A table without some of its columns."""
    kept = [i for i, head in enumerate(table.heads) if head.head not in heads]
    rows = (
        Row(
            row.key,
            tuple(row.cells[i] for i in kept),
            {to: row.looks[i] for to, i in enumerate(kept) if i in row.looks},
        )
        for row in table.rows
    )
    return Table(tuple(table.heads[i] for i in kept), tuple(rows), table.empty)


def widths(table: Table, room: int) -> list[int]:
    """How wide each column is drawn, so that a row fills `room` columns: the last one takes what is left, or gives way.

    >>> widths(Table((Column("job"), Column("command", widest=None)), (Row(1, ("17", "echo"), {}),)), 20)
    [3, 15]
    """
    wide = []
    for i, head in enumerate(table.heads):
        most = max((columns(row.cells[i]) for row in table.rows), default=0)
        wide.append(max(columns(head.head), min(most, head.widest or room)))
    spare = room - sum(wide) - GAP * (len(wide) - 1)
    for i in reversed([i for i, head in enumerate(table.heads) if head.widest is None]):
        if spare < 0:
            less = min(-spare, max(0, wide[i] - LEAST))
            wide[i], spare = wide[i] - less, spare + less
    if wide:
        wide[-1] = max(1, wide[-1] + spare)
    return wide


def padded(text: str, width: int, *, right: bool = False) -> str:
    """A cell's text in exactly `width` columns.

    >>> padded("n1", 4), padded("12", 4, right=True), padded("a long one", 4)
    ('n1  ', '  12', 'a l…')
    """
    text = fit(text, width)
    gap = " " * (width - columns(text))
    return gap + text if right else text + gap


def bar(done: int, bad: int, total: int, *, width: int) -> str:
    """How far a run is, drawn; what ended badly is told from what ended well also without colours.

    >>> bar(812, 200, 1000, width=10), bar(0, 0, 0, width=4), bar(1, 1, 100_000, width=4)
    ('██████▒▒░░  81%', '░░░░   0%', '▒░░░   0%')
    """
    full = width * done // total if total else 0
    wrong = min(width, max(1, round(width * bad / total))) if bad and total else 0
    full = max(full, wrong)
    return f"{'█' * (full - wrong)}{'▒' * wrong}{'░' * (width - full)} {percent(done, total):>3}%"
