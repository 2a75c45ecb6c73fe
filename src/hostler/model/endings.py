"""Attempts with all that is written down of them elsewhere: joblogs, folders of results, tags, hosts' files."""

from __future__ import annotations

from msgspec import Struct

from hostler.model.jobs import Ending, OutputRef


class Begun(Struct, frozen=True, kw_only=True):
    """One attempt that has begun and not ended. `started_at` is in seconds since the epoch."""

    job: int
    n: int
    host: str
    args: tuple[bytes, ...]
    started_at: float


class Ended(Struct, frozen=True, kw_only=True):
    """One ended attempt. Times are seconds since the epoch, `elapsed` seconds; `last` says that its job is over."""

    job: int
    n: int
    host: str
    args: tuple[bytes, ...]
    started_at: float | None
    ended_at: float
    elapsed: float | None
    ending: Ending
    code: int | None
    signal: int | None
    output: OutputRef | None
    last: bool
    detail: str = ""
