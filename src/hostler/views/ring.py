"""What a job printed, as lines that a screen may show: harmless, and never more than so many bytes of them.

The oldest lines give way to new ones, and how much has gone is known. It must never hold a line of any length: a long
one is broken, so that its beginning can go while its end still comes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from hostler.views.text import Visible

#: Bytes that are kept, and the most characters of a line.
MOST, LONGEST = 10 << 20, 4096
#: Bytes that a line costs beside its own: many are empty.
EACH = 64


class Ring:
    """The last lines of one attempt, each with its stream (1 or 2).

    >>> ring = Ring()
    >>> ring.feed([(1, b"a\\tb\\x1b[2J\\nhalf"), (2, b"err\\n"), (1, b" a line\\n")])
    >>> list(ring.lines)
    [(1, 'a       b^[[2J'), (2, 'err'), (1, 'half a line')]
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self.lines: deque[tuple[int, str]] = deque()
        #: Lines that have given way, and bytes that are held.
        self.gone = self.size = 0
        self._shown = {1: Visible(), 2: Visible()}
        self._begun = {1: "", 2: ""}

    @property
    def unfinished(self) -> list[tuple[int, str]]:
        """Lines that have no end yet."""
        return [(stream, text) for stream, text in self._begun.items() if text]

    def feed(self, pieces: Iterable[tuple[int, bytes]]) -> None:
        """Take in what came, each piece with its stream."""
        for stream, data in pieces:
            self._take(stream, self._shown[stream].feed(data).decode("utf-8", "replace"))

    def end(self) -> None:
        """There is no more to come: what has no end of line is a line all the same."""
        for stream, shown in self._shown.items():
            self._take(stream, shown.end().decode("utf-8", "replace"))
            if self._begun[stream]:
                self._add(stream, self._begun[stream])
                self._begun[stream] = ""

    def _take(self, stream: int, text: str) -> None:
        *whole, rest = (self._begun[stream] + text).split("\n")
        for line in whole:
            self._broken(stream, line, last=True)
        self._begun[stream] = self._broken(stream, rest, last=False)

    def _broken(self, stream: int, line: str, *, last: bool) -> str:
        """Add a line, in parts where it is long; what is not added yet when it goes on."""
        while len(line) > LONGEST:
            self._add(stream, line[:LONGEST])
            line = line[LONGEST:]
        if not last:
            return line
        self._add(stream, line)
        return ""

    def _add(self, stream: int, line: str) -> None:
        line = line.expandtabs(8)
        self.lines.append((stream, line))
        self.size += _weight(line)
        while self.size > self._most and len(self.lines) > 1:
            self.size -= _weight(self.lines.popleft()[1])
            self.gone += 1


def _weight(line: str) -> int:
    return EACH + (len(line) if line.isascii() else 4 * len(line))
