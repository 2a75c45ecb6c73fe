"""Lines of a screen out of plain texts: how each kind of thing looks, and nothing about what it is.

Only the sixteen colours that every terminal has, by their names, so that a person's own scheme holds; whatever a colour
says can be seen without it, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from hostler.views.grids import FAINT, GOOD, LOOK, WRONG
from hostler.views.text import columns, fit, one_line

PLAIN = Style()
HEAD = Style(bold=True)
CURSOR = Style(reverse=True)
STYLES = {
    GOOD: Style(color="green"),
    WRONG: Style(color="red"),
    LOOK: Style(color="yellow"),
    FAINT: Style(dim=True),
}

#: The same of a text that was made for a terminal, by the number that each has there.
_CODES = {"1": HEAD, "2": STYLES[FAINT], "31": STYLES[WRONG], "32": STYLES[GOOD], "33": STYLES[LOOK]}
_PAINTED = re.compile(r"\x1b\[(\d+)m(.*?)\x1b\[0m|([^\x1b]+)")


def painted(text: str) -> list[tuple[str, Style]]:
    """A text with colours of our own, in parts.

    >>> [part for part, _ in painted("run 3  \x1b[31mfail 2\x1b[0m")]
    ['run 3  ', 'fail 2']
    """
    return [
        (found[3] or found[2], PLAIN if found[3] else _CODES.get(found[1], PLAIN))
        for found in _PAINTED.finditer(text)
    ]


def harmless(text: str) -> str:
    """A text that drives no terminal, whoever wrote it: what names and complaints of hosts hold, nobody vouches for.

    >>> harmless("n1\x1b[2J")
    'n1^[[2J'
    """
    return text if text.isprintable() else one_line(text.encode("utf-8", "surrogateescape"))


def strip(parts: Iterable[tuple[str, Style]], width: int, *, under: Style | None = None) -> Strip:
    """One line of exactly `width` columns: texts one behind the other, with `under` beneath all of them."""
    segments, left = [], width
    for text, style in parts:
        text = fit(harmless(text), left)
        if text:
            segments.append(Segment(text, style if under is None else under + style))
            left -= columns(text)
    if left > 0:
        segments.append(Segment(" " * left, under or PLAIN))
    return Strip(segments, width)
