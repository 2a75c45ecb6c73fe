"""The lines that stay at the bottom of a terminal while output goes by above them.

What is made here are the bytes that put them there and take them away again, whatever has become of the window's size
meanwhile. They must never take away a line of output: where it isn't known how many rows they fill, too little is
taken away rather than too much.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from hostler.views.text import columns

#: Where nobody says how big the terminal is.
USUAL = (80, 24)

_PAINT = re.compile(r"\x1b\[[0-9;]*m")


class Footer:
    """The lines at the bottom of the terminal at `fd`; `lines` are those wanted, none of them as wide as the window.

    >>> footer = Footer(-1, environ={})
    >>> footer.want(["a", "b"]); footer.draw(), footer.draw(), footer.erase()
    (b'\\r\\x1b[Ka\\r\\n\\x1b[Kb', b'', b'\\r\\x1b[1A\\x1b[J')
    """

    def __init__(self, fd: int, *, environ: Mapping[str, str] = os.environ) -> None:
        self._fd, self._wraps = fd, wraps_anew(environ)
        self.lines: tuple[str, ...] = ()
        self._shown: tuple[str, ...] = ()

    def want(self, lines: Sequence[str]) -> None:
        """Have these lines shown from the next drawing on; none to have nothing there."""
        self.lines = tuple(line for line in lines if line)

    def erase(self) -> bytes:
        """What takes them away, before something is printed; nothing when they aren't there."""
        if not self._shown:
            return b""
        rows = self._rows()
        self._shown = ()
        return b"\r" + _up(rows) + (b"\x1b[J" if rows > 1 else b"\x1b[K")

    def draw(self) -> bytes:
        """What puts the wanted ones in the place of those that are there; nothing when they are the same."""
        if self._shown == self.lines:
            return b""
        rows = self._rows()
        text = b"\r\n".join(b"\x1b[K" + line.encode("utf-8", "replace") for line in self.lines)
        self._shown = self.lines
        return b"\r" + _up(rows) + text + (b"\x1b[J" if rows > len(self.lines) else b"")

    def _rows(self) -> int:
        """How many rows those that are there fill by now: a window made narrower has broken the longer ones."""
        if not self._wraps:
            return len(self._shown)
        width, _ = size(self._fd)
        return sum(-(-max(1, columns(_PAINT.sub("", line))) // width) for line in self._shown)


def size(fd: int) -> tuple[int, int]:
    """Columns and rows of the terminal at `fd`, now."""
    try:
        found = os.get_terminal_size(fd)
    except OSError:
        return USUAL
    return found.columns or USUAL[0], found.lines or USUAL[1]


def wraps_anew(environ: Mapping[str, str]) -> bool:
    """Whether the terminal breaks lines anew when it is made narrower: most do; the console, xterm and screen cut them.

    >>> wraps_anew({"TERM": "xterm-256color"}), wraps_anew({"TERM": "linux"})
    (True, False)
    """
    if environ.get("TMUX"):
        return True
    return not (environ.get("TERM") == "linux" or environ.get("XTERM_VERSION") or environ.get("STY"))


def _up(rows: int) -> bytes:
    return b"\x1b[%dA" % (rows - 1) if rows > 1 else b""
