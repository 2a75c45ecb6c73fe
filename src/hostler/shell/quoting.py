"""The only place that quotes: words as data into words that a POSIX shell reads back as the same data.

Nothing else may put a value into shell text. It must never try to be clever about what needs no quotes in the
middle of other text: `quote` always quotes, and only `join`, which knows what stands around a word, leaves
harmless words as they are for the reader's sake.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from hostler.errors import UsageError
from hostler.model.shelltext import quote

__all__ = ["join", "quote"]

_PLAIN = re.compile(rb"[A-Za-z0-9_@%+:,./-]+|-[A-Za-z0-9_@%+:,./=-]+")
# Plain as they look, these mean something where a command's name stands.
_RESERVED = frozenset(
    b"case coproc do done elif else end esac fi for foreach function if in nocorrect repeat select then time until "
    b"while".split()
)


def join(argv: Iterable[bytes]) -> bytes:
    """Shell text that runs exactly this argv in any POSIX shell.

    Raises UsageError on NUL and on no words at all.

    >>> join([b"touch", b"a b", b"-n", b""])
    b"touch 'a b' -n ''"
    """
    words = [word if _PLAIN.fullmatch(word) else quote(word) for word in argv]
    if not words:
        raise UsageError("the command is empty")
    if words[0] in _RESERVED:
        words[0] = quote(words[0])
    return b" ".join(words)
