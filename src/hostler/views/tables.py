"""Columns that line up, the same on a terminal and in a file.

Rich would draw them too, but it takes the room that is missing from whichever column it likes, and 60 ms to import at
the end of every run. Nothing here may look at the screen: the width comes from the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from hostler.views.text import columns, fit


class Column(Struct, frozen=True):
    """A column's head; `right` lines its cells up on the right; `widest` columns at most, None for what is left."""

    head: str
    right: bool = False
    widest: int | None = 40


def table(heads: Sequence[Column], rows: Iterable[Sequence[str]], *, width: int, colour: bool) -> str:
    """Rows beneath their heads, indented by two, each line at most `width` columns wide and ended by a newline.

    Cells hold harmless one-line text. Columns with `widest` None give way where there is too little room.

    >>> print(table([Column("host"), Column("jobs", right=True)], [("n1", "12")], width=80, colour=False), end="")
      host  jobs
      n1      12
    """
    cells = [[fit(cell, head.widest or width) for head, cell in zip(heads, row, strict=True)] for row in rows]
    if not cells:
        return ""
    wide = [max(columns(head.head), *(columns(row[i]) for row in cells)) for i, head in enumerate(heads)]
    _squeeze(wide, [i for i, head in enumerate(heads) if head.widest is None], room=width - 2 * len(heads))
    cells = [[fit(cell, wide[i]) for i, cell in enumerate(row)] for row in cells]
    lines = []
    for row in [[head.head for head in heads], *cells]:
        text = "  ".join(_padded(cell, wide[i], right=heads[i].right) for i, cell in enumerate(row))
        lines.append(fit("  " + text.rstrip(), width))
    if colour:
        lines[0] = f"\x1b[2m{lines[0]}\x1b[0m"
    return "\n".join(lines) + "\n"


def _squeeze(wide: list[int], flexible: Sequence[int], *, room: int) -> None:
    """Take what is too much for `room` from the columns that have no width of their own; 8 is left to each."""
    for i in flexible:
        wide[i] = max(min(8, wide[i]), wide[i] - max(0, sum(wide) - room))


def _padded(cell: str, width: int, *, right: bool) -> str:
    gap = " " * (width - columns(cell))
    return gap + cell if right else cell + gap


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
