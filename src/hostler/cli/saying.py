"""One line for people, on stderr.

It must never raise: a closed stderr is nobody's mistake, and the exit code says what matters.
"""

from __future__ import annotations

import sys
from contextlib import suppress


def say(text: str) -> None:
    """Print one harmless line on stderr, after what stdout was given, as "hostler: …"."""
    from hostler.views.text import one_line

    line = one_line(" ".join(text.split("\n")).encode("utf-8", "surrogateescape"))
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"hostler: {line}\n")
        sys.stderr.flush()
