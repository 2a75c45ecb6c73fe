"""What stands before a host's lines: its name, so that a column of output begins behind it.

It must never colour what goes to a file or a pipe, nor say by colour alone what a stream is.
"""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

#: The widest name that all others are filled up to.
WIDEST = 32
#: Colours of names, of those that are read on dark and on light screens.
COLOURS = (b"32", b"33", b"34", b"35", b"36", b"92", b"94", b"95", b"96")
BAR, ERR = b" | ", b" ! "


class Prefix:
    """The tag of a fan-out's lines, by the names of all hosts.

    >>> Prefix(["n1", "node10"])(1, (), "n1")
    b'n1     | '
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._width = min(WIDEST, max(map(len, names), default=0))

    def __call__(self, job: int, args: tuple[bytes, ...], host: str) -> bytes:
        """What stands before a line of this host's."""
        return host.ljust(self._width).encode("utf-8", "replace") + BAR


def paint(tag: bytes, stream: int) -> bytes:
    """A tag on a terminal: a name has its own colour, a line of stderr a red sign.

    >>> paint(b"n1 | ", 2)[-14:]
    b' \\x1b[31m!\\x1b[0m '
    """
    name, bar, rest = tag.rpartition(BAR)
    if not bar:
        return tag
    word = name.rstrip()
    colour = COLOURS[crc32(word) % len(COLOURS)]
    sign = b" \x1b[31m!\x1b[0m " if stream == 2 else BAR
    return b"\x1b[%bm%b\x1b[0m%b%b%b" % (colour, word, name[len(word) :], sign, rest)
