"""How sandbox hosts end: their keepers are told to, and where a keeper is dead or deaf we do its work.

It must never take a host for ended while a process begun through it is known to live.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence

from hostler.errors import ProviderError
from hostler.providers.sandbox_files import MARK, Entry, Registry, remove
from hostler.providers.sandbox_procs import Process, below, end_all, living, marked, send


def end(registry: Registry, wanted: Callable[[Entry], bool], *, seconds: float) -> list[Entry]:
    """End the hosts that `wanted` picks, with every process begun through them; those that were there.

    Blocks for up to `seconds`. Raises ProviderError naming the processes that survive.
    """
    if not registry.there():
        return []
    until = time.monotonic() + seconds
    with registry.lock(seconds=seconds):
        chosen = [entry for entry in registry.entries() if wanted(entry)]
        end_entries(chosen, seconds=max(1.0, until - time.monotonic()))
    return chosen


def gone(registry: Registry, asked: Sequence[str], *, seconds: float) -> frozenset[str]:
    """Which of these (Record.instance) have ended with every process of theirs; a broken one's rest is ended first.

    Of hosts that were written down elsewhere, on another machine or in a folder that is no more, nothing is known.
    """
    if not asked or not registry.there():
        return frozenset()
    until = time.monotonic() + seconds
    with registry.lock(seconds=seconds):
        mark = registry.mark()
        ours = {id: each for each in asked for id, _, of in [each.partition(" ")] if mark and of == mark}
        there = {entry.id: entry for entry in registry.entries() if entry.id in ours}
        broken = [entry for entry in there.values() if not entry.up]
        end_entries(broken, seconds=max(1.0, until - time.monotonic()))
        return frozenset(each for id, each in ours.items() if id not in there or not there[id].up)


def end_entries(entries: Sequence[Entry], *, seconds: float) -> None:
    """The same for entries in hand; the caller holds the lock."""
    until = time.monotonic() + seconds
    for entry in entries:
        _tell(entry)
    # A keeper needs a fraction of a second; one that is stopped or stuck is not waited for to the last.
    patience = time.monotonic() + seconds * 0.6
    while any(entry.up for entry in entries) and time.monotonic() < patience:
        time.sleep(0.01)
    rest = [entry for entry in entries if entry.up or entry.folder.exists()]
    if not rest:
        return
    left = _sweep(rest, seconds=max(1.0, until - time.monotonic()))
    if left:
        names = ", ".join(entry.name for entry in rest)
        pids = ", ".join(map(str, left))
        raise ProviderError(
            f"sandbox: {names}: can't end processes {pids}; `kill -9` them, then `hostler reap`"
        )
    for entry in rest:
        remove(entry.folder)


def _tell(entry: Entry) -> None:
    keeper = living(entry.record.keeper) if entry.record else None
    if keeper:
        send(keeper, signal.SIGTERM)
        send(keeper, signal.SIGCONT)


def _sweep(entries: Sequence[Entry], *, seconds: float) -> tuple[int, ...]:
    """Kill the hosts' processes as far as they can be known without living keepers; the pids that survive."""
    marks = [f"{MARK}={entry.id}" for entry in entries]
    pins = [pin for entry in entries if entry.record for pin in (entry.record.keeper, entry.record.server)]

    def find(processes: dict[int, Process]) -> set[int]:
        roots = {process.pid for process in map(living, pins) if process} | marked(*marks)
        return (roots | below(roots, processes)) - {os.getpid()}

    return end_all(find, seconds=seconds)


def in_use(entry: Entry) -> bool:
    """Whether the host belongs to a run whose controller is alive."""
    record = entry.record
    return (
        entry.up and record is not None and record.run is not None and living(record.controller) is not None
    )


def forgotten(entry: Entry, *, now: float, runs: frozenset[str] = frozenset()) -> str | None:
    """Why the host counts as forgotten, None if it doesn't.

    "run": it is of one of `runs`. "expired": its time is up. "orphan": the process that answered for its run has died,
    and no other has taken the run up. "dead": its keeper has died. `now` is seconds since the epoch.
    """
    record = entry.record
    if record is None:
        return "dead"
    if record.run in runs:
        return "run"
    if record.expires is not None and record.expires <= now:
        return "expired"
    if not record.up:
        return "dead"
    return "orphan" if record.run is not None and living(record.controller) is None else None
