"""Jobs' output on its way to the person: whole when a job ends, or line by line as it comes.

It must never hold anything up: what it prints need not be on disk yet, only the word "done" waits for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from hostler.model.events import Event
from hostler.model.jobs import OutputRef
from hostler.views.console import Console
from hostler.views.running import RunningJobs


class Kept(Protocol):
    """An ended attempt's output: the bytes when it was short, else where it is kept."""

    @property
    def ref(self) -> OutputRef | None:
        """Where it is kept."""
        ...

    @property
    def out(self) -> bytes | None:
        """Its stdout, when it was short."""
        ...

    @property
    def err(self) -> bytes | None:
        """Its stderr, when it was short."""
        ...


class JobOutput:
    """Prints output; `read` gives a stream (1 or 2) of kept output in pieces, `running` shows its end meanwhile."""

    def __init__(
        self, console: Console, *, line_buffer: bool, read: Callable[[OutputRef, int], Iterable[bytes]],
        running: RunningJobs | None = None,
    ) -> None:  # fmt: skip
        self._console, self._line_buffer, self._read, self._running = console, line_buffer, read, running
        self._begun: set[tuple[int, int]] = set()

    def piece(self, job: int, n: int, stream: int, data: bytes) -> None:
        """Print whole lines as they come, if that was asked for."""
        if self._running is not None:
            self._running.piece(job, n, stream, data)
        if self._line_buffer:
            self._begun.add((job, n))
            self._console.chunk((job, n), stream, data)

    def result(self, job: int, n: int, kept: Kept) -> None:
        """Print what a job wrote, or the end of it."""
        if self._line_buffer:
            if (job, n) not in self._begun:
                self._console.chunk((job, n), 1, kept.out or b"")
                self._console.chunk((job, n), 2, kept.err or b"")
            self._begun.discard((job, n))
            self._console.ended((job, n))
        elif kept.ref is None or kept.out is not None:
            self._console.job_output(kept.out or b"", kept.err or b"")
        else:
            self._console.job_output(self._read(kept.ref, 1), self._read(kept.ref, 2))

    def saw(self, events: Sequence[Event]) -> None:
        """Let go of what was printed, once per turn."""
        self._console.flush()
