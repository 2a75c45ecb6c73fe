"""Lengths of time as people write and read them; inside the program they are float seconds.

It must never guess: a number whose unit is in doubt is refused, and nothing here knows what time it is.
"""

from __future__ import annotations

import math
import re

from hostler.errors import UsageError

LONGEST = 3650 * 86400.0
_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_PLAIN = re.compile(_NUMBER)
_UNITS = (("d", 86400.0), ("h", 3600.0), ("m", 60.0), ("s", 1.0), ("ms", 0.001))
# Each unit at most once, from the longest to the shortest: "5m5m" is a slip of the hand, not ten minutes.
_COMBINED = re.compile("".join(rf"(?:({_NUMBER}){unit}(?![a-z]))?" for unit, _ in _UNITS))


def parse_duration(text: str) -> float:
    """Read a length of time, in seconds.

    Accepts `250ms`, `30s`, `5m`, `2h`, `1d`, `1.5h`, combinations from long to short (`1h30m`) and plain
    seconds (`90`). Zero is a length of time; whether it makes sense is the caller's to say.

    Raises UsageError on anything else, also on negative ones and on more than 3650 days.

    >>> parse_duration("1h30m")
    5400.0
    """
    word = text.strip()
    seconds = _seconds(word) if len(word) <= 64 else None
    if seconds is None:
        shown = word if len(word) <= 64 else word[:61] + "..."
        raise UsageError(
            f"{shown!r} is not a length of time: write 30s, 5m, 2h, 1d, 250ms, 1h30m or plain seconds"
        )
    if seconds > LONGEST:
        raise UsageError(f"{word!r} is too long a time: at most 3650d")
    return seconds


def _seconds(word: str) -> float | None:
    if _PLAIN.fullmatch(word):
        return float(word)
    found = _COMBINED.fullmatch(word)
    if not word or not found:
        return None
    return math.fsum(float(n) * worth for n, (_, worth) in zip(found.groups(), _UNITS, strict=True) if n)


def format_duration(seconds: float) -> str:
    """Write `seconds` for people in at most two units; parse_duration reads it back.

    A negative length (a clock was set back) keeps its sign, and one that isn't finite is "?".

    >>> [format_duration(s) for s in (0.04, 0.4, 12, 185, 7800, 100_800)]
    ['40ms', '0.4s', '12s', '3m05s', '2h10m', '1d04h']
    """
    if not math.isfinite(seconds):
        return "?"
    if seconds < 0:
        shown = format_duration(-seconds)
        return shown if shown == "0s" else "-" + shown
    if seconds < 0.0995:
        millis = round(seconds * 1000)
        return f"{millis}ms" if millis else "0s"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    # Rounded once to the smallest unit shown, so that 59.7 is 1m00s and never 60s.
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    minutes = int(seconds / 60 + 0.5)
    if minutes < 1440:
        return f"{minutes // 60}h{minutes % 60:02}m"
    hours = int(seconds / 3600 + 0.5)
    return f"{hours // 24}d{hours % 24:02}h"
