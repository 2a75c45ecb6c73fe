"""The far end of copying as it is sent: its modules joined into one source, for the runner's boot line.

For hosts without Python there is shell text instead, which attempt_source's boot line reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from hostler.remote.attempt_source import bare
from hostler.remote.source import command, joined, packed
from hostler.shell.quoting import quote

MODULES = ("framing", "walking", "giving", "placing", "parts", "taking", "talking")

__all__ = ["MODULES", "command", "parcel", "source", "text"]


@cache
def source() -> bytes:
    """The whole as one Python source."""
    return joined("files", MODULES)


@cache
def parcel() -> bytes:
    """The source as the boot line (source.command) reads it."""
    return packed(source())


def text(name: str, words: Mapping[str, bytes], more: bytes = b"") -> bytes:
    """One of the shell texts ("list", "take", "give"), its variables set, with `more` behind it."""
    head = b"".join(b"%s=%s\n" % (variable.encode(), quote(value)) for variable, value in words.items())
    return head + _shell(name) + more


@cache
def _shell(name: str) -> bytes:
    return bare((files("hostler.remote") / "files" / f"{name}.sh").read_text())
