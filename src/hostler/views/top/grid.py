"""A table on the screen: its heads, the rows that there is room for, and a cursor that stays with its row.

Only rows in view are drawn, so that a thousand cost what twenty do. It must never show a cell wider than its column.
"""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.events import Click, MouseScrollDown, MouseScrollUp
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from hostler.views.grids import GAP, Row, Table, padded, widths
from hostler.views.top.painting import CURSOR, HEAD, PLAIN, STYLES, strip

EMPTY = Table((), ())
#: What stands before the cursor's row and before the others.
HERE, ELSEWHERE = "> ", "  "


class Grid(Widget, can_focus=True):
    """A table with a cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "leaf(-1)", show=False),
        Binding("pagedown", "leaf(1)", show=False),
        Binding("home", "move(-1000000)", show=False),
        Binding("end", "move(1000000)", show=False),
    ]
    DEFAULT_CSS = "Grid { height: 1fr; }"

    class Moved(Message):
        """The cursor is on another row, or other rows are in view."""

    class Chosen(Message):
        """A row was clicked that the cursor was on already."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.table, self._widths, self._width = EMPTY, list[int](), 0
        self.cursor = self.top = 0

    @property
    def here(self) -> Row | None:
        """The row that the cursor is on."""
        return self.table.rows[self.cursor] if self.cursor < len(self.table.rows) else None

    @property
    def room(self) -> int:
        """How many rows are in view at most."""
        return max(1, self.size.height - 1)

    @property
    def in_view(self) -> tuple[Row, ...]:
        """The rows in view."""
        return self.table.rows[self.top : self.top + self.room]

    def fill(self, table: Table, *, anew: bool = False, stay: bool = False) -> None:
        """Show another table: the cursor stays with its row where that is still there; `anew` it goes to the first.

        On the first row it stays on the first one, whichever that is, unless it has to `stay` with its own.
        """
        before = self.here
        self.table = table
        if anew or before is None:
            self.cursor = 0
        elif self.cursor or stay:
            self.cursor = next((i for i, row in enumerate(table.rows) if row.key == before.key), self.cursor)
        self._width = 0
        self._settle()

    def action_move(self, rows: int) -> None:
        """Move the cursor by so many rows."""
        self.cursor += rows
        self._settle()
        self.post_message(self.Moved())

    def action_leaf(self, pages: int) -> None:
        """Move the cursor by so many screens."""
        self.action_move(pages * self.room)

    def on_resize(self) -> None:
        """There is more room, or less."""
        self._width = 0
        self._settle()
        self.post_message(self.Moved())

    def on_click(self, event: Click) -> None:
        """Move the cursor to the row that was clicked."""
        row = self.top + event.y - 1
        if event.y >= 1 and row < len(self.table.rows):
            again, self.cursor = row == self.cursor, row
            self._settle()
            self.post_message(self.Chosen() if again else self.Moved())

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """The wheel moves the cursor."""
        event.stop()
        self.action_move(3)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """The wheel moves the cursor."""
        event.stop()
        self.action_move(-3)

    def _settle(self) -> None:
        """Keep cursor and view within the rows."""
        count = len(self.table.rows)
        self.cursor = max(0, min(self.cursor, count - 1))
        self.top = max(0, min(self.top, self.cursor, count - self.room))
        self.top = max(self.top, self.cursor - self.room + 1)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of it."""
        width = self.size.width
        if self._width != width:
            self._width, self._widths = width, widths(self.table, width - len(HERE))
        if not self.table.rows:
            return strip([(f"  {self.table.empty}" if y == 1 else "", PLAIN)], width)
        if y == 0:
            heads = [(head.head, head.right, HEAD) for head in self.table.heads]
            return self._line(ELSEWHERE, heads, width)
        index = self.top + y - 1
        if index >= len(self.table.rows):
            return Strip.blank(width, PLAIN)
        row, here = self.table.rows[index], index == self.cursor
        cells = [
            (cell, self.table.heads[i].right, PLAIN if here else STYLES.get(row.looks.get(i, ""), PLAIN))
            for i, cell in enumerate(row.cells)
        ]
        return self._line(HERE if here else ELSEWHERE, cells, width, here=here)

    def _line(self, before: str, cells: list, width: int, *, here: bool = False) -> Strip:  # type: ignore[type-arg]
        parts = [(before, PLAIN)]
        for (text, right, style), wide in zip(cells, self._widths, strict=True):
            parts += [(padded(text, wide, right=right), style), (" " * GAP, PLAIN)]
        return strip(parts[:-1], width, under=CURSOR if here else None)
