"""One line for people, on stderr; on a terminal, a mark below it where a text that was typed went wrong.

It must never raise: a closed stderr is nobody's mistake, and the exit code says what matters.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress

#: A text as it was typed, and the column at which it is complained of.
_POINTS = re.compile(r"""(['"])([^\\]*?)\1: column ([0-9]{1,5}): """)


def say(text: str, *, pointing: bool = False) -> None:
    """Print one harmless line on stderr, after what stdout was given, as "hostler: …".

    With `pointing`, a terminal gets a second one, with a mark below the column that the first tells of.
    """
    from hostler.views.text import one_line

    line = f"hostler: {one_line(' '.join(text.split(chr(10))).encode('utf-8', 'surrogateescape'))}"
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"{line}\n")
        if pointing and os.isatty(2) and (mark := caret(line, width=os.get_terminal_size(2).columns or 80)):
            sys.stderr.write(f"{mark}\n")
        sys.stderr.flush()


def caret(line: str, *, width: int) -> str:
    """What to print below a complaint that shows a text and a column of it; empty where there is nothing to point at.

    >>> print(caret("hostler: 'web1,,db': column 6: expected a name", width=80))
                   ^
    """
    from hostler.views.text import columns

    found = _POINTS.search(line)
    if found is None or int(found[3]) > len(found[2]) + 1:
        return ""
    before = columns(line[: found.start(2) + int(found[3]) - 1])
    return " " * before + "^" if before < width else ""
