"""A fan-out on a terminal: what is said of its hosts while it runs, and at its end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hostler.stores.reading import Reader
    from hostler.views.console import Console
    from hostler.wiring.openrun import OpenRun

#: Seconds after whose pressing a key that asks is answered again: a cat on it fills no screen.
PAUSE = 0.2


def last_lines(reader: Reader, number: int, *, quiet: bool) -> str:
    """What a fan-out came to; with `quiet` nothing where all is well."""
    from hostler.model.nodesets import fold
    from hostler.stores.reads.batch import spec
    from hostler.stores.reads.outcomes import outcomes
    from hostler.stores.reads.runs import run
    from hostler.views.fanned import summary

    row = run(reader, number)
    if quiet and {word for word, count in row.counts.items() if count} == {"ok"}:
        return ""
    elapsed = row.finished - row.started if row.finished and row.started else None
    lines = summary(
        outcomes(reader, number),
        number=number,
        elapsed=elapsed,
        timeout=spec(reader, number).timeout,
        fold=fold,
    )
    return "".join(f"{'hostler: ' if line is lines[-1] else ''}{line}\n" for line in lines)


def still_there(run: OpenRun) -> str:
    """Which hosts a fan-out waits for, and how many have not begun."""
    from hostler.model.jobs import JobState
    from hostler.model.nodesets import fold

    busy = [host for host, _ in run.unfinished()]
    waiting = run.work.batch.counts[JobState.QUEUED]
    more = f"; {waiting} have not begun" if waiting else ""
    return f"{len(busy)} still running: {fold(busy)}{more}" if busy else f"none is running{more}"


@contextmanager
def asked_by_enter(run: OpenRun, console: Console) -> Iterator[None]:
    """Tell who still runs whenever somebody presses Enter on the terminal that we read from."""
    loop, last, listens = asyncio.get_running_loop(), [0.0], _foreground()

    def pressed() -> None:
        data = b""
        with suppress(OSError):
            data = os.read(0, 4096)
        if not data:  # its end: nobody can press anything any more
            loop.remove_reader(0)
        elif loop.time() - last[0] > PAUSE:
            last[0] = loop.time()
            console.urge(f"hostler: {still_there(run)}")

    if listens:
        loop.add_reader(0, pressed)
    try:
        yield
    finally:
        if listens:
            loop.remove_reader(0)


def _foreground() -> bool:
    """Whether stdin and stderr are a terminal's, and it is ours to read."""
    try:
        return os.isatty(0) and os.isatty(2) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False
