"""A job's output on the screen: the last of it, going on as it comes, until somebody looks further up.

It must never show a byte that was not made harmless: all that it draws comes out of a Ring.
"""

from __future__ import annotations

from itertools import islice
from textwrap import wrap
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.events import MouseScrollDown, MouseScrollUp
from textual.strip import Strip
from textual.widget import Widget

from hostler.views.grids import FAINT, LOOK
from hostler.views.ring import Ring
from hostler.views.text import columns
from hostler.views.top.eyes import Said
from hostler.views.top.painting import HEAD, PLAIN, STYLES, strip

#: Columns by which it is moved sideways.
ASIDE = 20


class Pane(Widget, can_focus=True):
    """The output of one attempt, beneath a line that says whose it is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "leaf(-1)", show=False),
        Binding("pagedown,space", "leaf(1)", show=False),
        Binding("home,g", "move(-100000000)", show=False),
        Binding("end,G", "move(100000000)", show=False),
        Binding("left,h", "aside(-1)", show=False),
        Binding("right,l", "aside(1)", show=False),
    ]
    DEFAULT_CSS = "Pane { height: 1fr; display: none; }"

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.ring, self.title, self.note = Ring(), "", ""
        #: The line at the top, counted from the first that ever came; None follows the end.
        self.top: int | None = None
        self.left = 0

    def begin(self) -> None:
        """Show another job's output, of which nothing has come yet."""
        self.ring, self.title, self.note, self.top, self.left = Ring(), "", "", None, 0
        self.refresh()

    def take(self, said: Said) -> None:
        """Show what has come."""
        if said.anew:
            self.begin()
        changed = (self.title, self.note) != (said.title, said.note) or bool(said.pieces) or said.over
        self.title, self.note = said.title, said.note
        self.ring.feed(said.pieces)
        if said.over:
            self.ring.end()
        if changed:
            self.refresh()

    def tell(self, note: str) -> None:
        """Say why there is no output."""
        self.note = note
        self.refresh()

    @property
    def room(self) -> int:
        """Lines that there is room for."""
        return max(1, self.size.height - 1)

    @property
    def _count(self) -> int:
        return self.ring.gone + len(self.ring.lines) + len(self.ring.unfinished)

    @property
    def _first(self) -> int:
        """The line at the top."""
        last = max(self.ring.gone, self._count - self.room)
        return last if self.top is None else max(self.ring.gone, min(self.top, last))

    def action_move(self, lines: int) -> None:
        """Look so many lines further down; at the end it follows again."""
        to = self._first + lines
        self.top = None if to >= self._count - self.room else max(self.ring.gone, to)
        self.refresh()

    def action_leaf(self, pages: int) -> None:
        """Look so many screens further down."""
        self.action_move(pages * self.room)

    def action_aside(self, steps: int) -> None:
        """Look further to the right."""
        self.left = max(0, self.left + steps * ASIDE)
        self.refresh()

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """The wheel moves it."""
        event.stop()
        self.action_move(3)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """The wheel moves it."""
        event.stop()
        self.action_move(-3)

    def on_focus(self) -> None:
        """It is what the keys move now."""
        self.refresh()

    def on_blur(self) -> None:
        """It isn't any more."""
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of it."""
        width = self.size.width
        if y == 0:
            return strip([(self._heading(width), HEAD if self.has_focus else PLAIN)], width)
        index = self._first - self.ring.gone + y - 1
        if not self._count:
            told = wrap(self.note, max(8, width - 4))
            return strip([(f"  {told[y - 1]}" if y <= len(told) else "", STYLES[FAINT])], width)
        lines = self.ring.lines
        if index < len(lines):
            stream, text = lines[index]
        else:
            rest = next(islice(self.ring.unfinished, index - len(lines), None), None)
            if rest is None:
                return Strip.blank(width, PLAIN)
            stream, text = rest[0], rest[1].expandtabs(8)
        return strip([(shifted(text, self.left), STYLES[LOOK] if stream == 2 else PLAIN)], width)

    def _heading(self, width: int) -> str:
        where = ""
        if self.top is not None:
            first = self._first + 1
            where = f" lines {first}-{min(first + self.room - 1, self._count)} of {self._count}, end follows "
        elif self.ring.gone:
            where = f" the last {len(self.ring.lines)} lines "
        text = f"── {self.title} "
        rule = width - columns(text) - columns(where) - 2
        return f"{text}{'─' * max(0, rule)}{where}──"


def shifted(text: str, left: int) -> str:
    """A line without its first `left` columns.

    >>> shifted("abcdef", 2), shifted("不要回", 3)
    ('cdef', '回')
    """
    if not left or text.isascii():
        return text[left:]
    at = 0
    for i, character in enumerate(text):
        if at >= left:
            return text[i:]
        at += columns(character)
    return ""
