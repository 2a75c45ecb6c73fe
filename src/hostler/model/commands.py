"""The commands that we tell people to type next, such that they work where they are typed.

Whoever named a store by a flag has to name it again: the same command without it looks into another store.
"""

from __future__ import annotations

from contextvars import ContextVar

#: What must stand behind every verb that works with the store in use, quoted for a shell.
STORE: ContextVar[str] = ContextVar("store words", default="")


def to_type(words: str) -> str:
    """A command of ours that works with the store in use.

    >>> to_type("batch --resume 7")
    'hostler batch --resume 7'
    >>> before = STORE.set("--store postgresql://db/runs")
    >>> to_type("batch --resume 7")
    'hostler batch --resume 7 --store postgresql://db/runs'
    >>> STORE.reset(before)
    """
    store = STORE.get()
    return f"hostler {words}" + (f" {store}" if store else "")
