"""What is told of a stream that was longer than is kept: its head, words in place of its middle, its tail.

To all others it is a stream like any other: bytes with their places, the same whenever it is told again.
"""

from hostler.remote.runner.files import Files, Pair

UNITS = (b"bytes", b"KiB", b"MiB", b"GiB", b"TiB")


class Cut:
    """A stream without its middle: `head` bytes, `words` that say how many are missing, then what comes `gap` later."""

    __slots__ = ("gap", "head", "words")

    def __init__(self, head: int, gap: int) -> None:
        self.head, self.gap = head, gap
        self.words = b"\n[%s cut out here]\n" % amount(gap)

    def read(self, files: Files, pair: Pair, stream: int, place: int, size: int) -> bytes:
        """A piece of what is left, by its place there."""
        if place < self.head:
            return files.read(pair, stream, place, min(size, self.head - place))
        inside = place - self.head
        if inside < len(self.words):
            return self.words[inside : inside + size]
        return files.read(pair, stream, place - len(self.words) + self.gap, size)


def amount(size: int) -> bytes:
    """A number of bytes for people.

    >>> amount(1288490189)
    b'1.2 GiB'
    """
    unit, value = 0, float(size)
    while value >= 1024 and unit < len(UNITS) - 1:
        unit, value = unit + 1, value / 1024
    return b"%d bytes" % size if unit == 0 else b"%.1f %s" % (value, UNITS[unit])
