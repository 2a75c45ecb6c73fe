"""Which endings are tried again, and after how long: `--retry-on 75,timeout,lost`, `--retry-delay 5s`.

It must never say what a try costs; that is `engine.attempts`' to know.
"""

from __future__ import annotations

from msgspec import Struct

from hostler.errors import UsageError
from hostler.model.jobs import Ending

#: What each word means; `failed` is every end of the job's own that is not a timeout.
WORDS = {
    "failed": (Ending.EXIT, Ending.SIGNAL, Ending.OUTPUT_LIMIT),
    "timeout": (Ending.TIMEOUT,),
    "lost": (Ending.LOST,),
    "interrupted": (Ending.INTERRUPTED,),
}
#: What is tried again when nobody says anything.
USUAL = "failed,timeout,lost,interrupted"
#: Doublings of a delay beyond which nothing grows any more.
DOUBLINGS = 30


class RetryRule(Struct, frozen=True):
    """Endings that are tried again, and exit codes that are although `failed` isn't among them."""

    words: frozenset[str]
    codes: frozenset[int] = frozenset()

    @classmethod
    def parse(cls, text: str) -> RetryRule:
        """Read `failed,timeout,lost,interrupted`, some of them, exit codes among them, or `none`. Raises UsageError.

        >>> str(RetryRule.parse("lost,75")), str(RetryRule.parse("none"))
        ('lost,75', 'none')
        """
        words, codes = set(), set()
        for word in [] if text == "none" else text.split(","):
            if word in WORDS:
                words.add(word)
            elif word.isascii() and word.isdigit() and len(word) < 4 and 1 <= int(word) <= 255:
                codes.add(int(word))
            else:
                raise UsageError(
                    f"{text!r}: {word!r} is none of {', '.join(WORDS)} and no exit code from 1 to 255 (or: none)"
                )
        return cls(frozenset(words), frozenset(codes))

    def takes(self, ending: Ending, code: int | None) -> bool:
        """Whether an attempt that ended so is tried again.

        >>> RetryRule.parse("75").takes(Ending.EXIT, 75), RetryRule.parse("75").takes(Ending.EXIT, 1)
        (True, False)
        """
        if ending is Ending.EXIT and code in self.codes:
            return True
        return any(ending in WORDS[word] for word in self.words)

    def __str__(self) -> str:
        named = [word for word in WORDS if word in self.words]
        return ",".join([*named, *map(str, sorted(self.codes))]) or "none"


def delay_before(tries: int, *, first: float, most: float) -> float:
    """Seconds to wait before the try that follows `tries` failed ones: twice as long each time, at most `most`.

    >>> [delay_before(n, first=5.0, most=60.0) for n in (0, 1, 2, 3, 4, 5)]
    [0.0, 5.0, 10.0, 20.0, 40.0, 60.0]
    """
    if tries < 1:
        return 0.0
    return min(first * 2.0 ** min(tries - 1, DOUBLINGS), most)
