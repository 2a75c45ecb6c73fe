"""The far end of copying as it is sent: its modules joined into one source, for the runner's boot line."""

from __future__ import annotations

from functools import cache

from hostler.remote.source import command, joined, packed

MODULES = ("framing", "walking", "giving", "placing", "taking", "talking")

__all__ = ["MODULES", "command", "parcel", "source"]


@cache
def source() -> bytes:
    """The whole as one Python source."""
    return joined("files", MODULES)


@cache
def parcel() -> bytes:
    """The source as the boot line (source.command) reads it."""
    return packed(source())
