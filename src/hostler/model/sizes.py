"""Amounts of bytes as people write and read them; inside the program they are whole numbers.

Units are powers of 1024, as everywhere on a host. It must never guess: what has no number is refused.
"""

from __future__ import annotations

import re

from hostler.errors import UsageError

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?(?:([KMGTkmgt])(?:i?[Bb])?|[Bb])?")
_UNITS = "KMGT"
LARGEST = 1 << 50


def parse_size(text: str) -> int:
    """Read an amount of bytes: `64K`, `1.5G`, `10MiB`, plain bytes. Raises UsageError; also on more than 1024T.

    >>> parse_size("1.5G")
    1610612736
    """
    found = _SIZE.fullmatch(text.strip())
    size = (
        float(found[1]) * 1024 ** (_UNITS.index(found[2].upper()) + 1 if found[2] else 0) if found else -1.0
    )
    if not 0 <= size <= LARGEST:
        raise UsageError(
            f"{text.strip()[:64]!r} is not an amount of bytes: write 64K, 10M, 1G, 1T or plain bytes"
        )
    return int(size)


def format_size(size: float) -> str:
    """An amount of bytes as people read it.

    >>> format_size(512), format_size(1536), format_size(256 << 20)
    ('512 B', '1.5 KiB', '256 MiB')
    """
    if size < 1024:
        return f"{size:.0f} B"
    for unit in "KMGT":
        size /= 1024
        if size < 1000 or unit == "T":
            break
    return f"{size:.1f} {unit}iB" if size < 10 and size != int(size) else f"{size:.0f} {unit}iB"
