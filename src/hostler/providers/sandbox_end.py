"""How sandbox hosts end: their keepers are told to, and where a keeper is dead or deaf we do its work.

It must never take a host for ended while a process begun through it is known to live.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence

from hostler.errors import ProviderError
from hostler.providers.sandbox_files import MARK, Entry, Registry
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


def end_entries(entries: Sequence[Entry], *, seconds: float) -> None:
    """The same for entries in hand; the caller holds the lock."""
    until = time.monotonic() + seconds
    for entry in entries:
        _tell(entry)
    # A keeper needs a fraction of a second; one that is stopped or stuck is not waited for to the last.
    patience = time.monotonic() + seconds * 0.6
    while any(entry.up for entry in entries) and time.monotonic() < patience:
        time.sleep(0.01)
    survivors: list[str] = []
    for entry in entries:
        if entry.up or entry.folder.exists():
            left = _sweep(entry, seconds=max(1.0, until - time.monotonic()))
            if left:
                survivors.append(f"{entry.name}: processes {', '.join(map(str, left))}")
            else:
                shutil.rmtree(entry.folder, ignore_errors=True)
    if survivors:
        raise ProviderError(f"sandbox: could not be ended: {'; '.join(survivors)}")


def _tell(entry: Entry) -> None:
    keeper = living(entry.record.keeper) if entry.record else None
    if keeper:
        send(keeper, signal.SIGTERM)
        send(keeper, signal.SIGCONT)


def _sweep(entry: Entry, *, seconds: float) -> tuple[int, ...]:
    """Kill the host's processes as far as they can be known without a living keeper; the pids that survive."""

    def find(processes: dict[int, Process]) -> set[int]:
        pins = (entry.record.keeper, entry.record.server) if entry.record else ()
        roots = {process.pid for process in map(living, pins) if process} | marked(f"{MARK}={entry.id}")
        return (roots | below(roots, processes)) - {os.getpid()}

    return end_all(find, seconds=seconds)


def in_use(entry: Entry) -> bool:
    """Whether the host belongs to a run whose controller is alive."""
    record = entry.record
    return (
        entry.up and record is not None and record.run is not None and living(record.controller) is not None
    )


def forgotten(entry: Entry, *, now: float, runs: frozenset[str] = frozenset()) -> str | None:
    """Why nobody will come back for the host, None if somebody may: "run" (one of `runs`), "expired", "dead".

    `now` is seconds since the epoch.
    """
    record = entry.record
    if record is None:
        return "dead"
    if record.run in runs:
        return "run"
    if record.expires is not None and record.expires <= now:
        return "expired"
    return None if record.up else "dead"
