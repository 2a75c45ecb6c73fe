"""How many hosts of a fan-out begin together: `1,10%,100%`, one wave after the other.

A wave is so many hosts, or that part of all of them, one at least; the last size holds for all further waves.
"""

from __future__ import annotations

import re
from itertools import chain, repeat

from msgspec import Struct

from hostler.errors import UsageError

_SIZE = re.compile(r"([1-9][0-9]{0,8})(%?)")
#: Waves that a text may name.
MOST = 100


class Waves(Struct, frozen=True):
    """The sizes of waves, each a number and whether that is a part in hundred."""

    sizes: tuple[tuple[int, bool], ...]

    @classmethod
    def parse(cls, text: str) -> Waves:
        """Read `1,10%,100%`. Raises UsageError.

        >>> str(Waves.parse("1,10%"))
        '1,10%'
        """
        sizes: list[tuple[int, bool]] = []
        for word in text.split(","):
            found = _SIZE.fullmatch(word)
            if not found or (found[2] and int(found[1]) > 100) or len(sizes) == MOST:
                raise UsageError(f"{text!r}: write how many hosts begin together, wave by wave: 1,10%,100%")
            sizes.append((int(found[1]), bool(found[2])))
        return cls(tuple(sizes))

    def end(self, number: int, *, of: int) -> int:
        """The last host of the wave in which host `number` of so many is.

        >>> [Waves.parse("1,25%,100%").end(n, of=20) for n in (1, 2, 6, 7)]
        [1, 6, 6, 20]
        """
        end = 0
        for size, percent in chain(self.sizes, repeat(self.sizes[-1])):
            end += max(1, -(-size * of // 100)) if percent else size
            if end >= min(number, of):
                break
        return min(end, of)

    def __str__(self) -> str:
        return ",".join(f"{size}{'%' * percent}" for size, percent in self.sizes)
