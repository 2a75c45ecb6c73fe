"""Jobs' output on its way to the person: whole when a job ends, or line by line as it comes.

It must never hold anything up: what it prints need not be on disk yet, only the word "done" waits for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from hostler.model.endings import Ended
from hostler.model.events import AttemptEnded, Event
from hostler.model.jobs import OutputRef, Queued
from hostler.views.console import Console
from hostler.views.running import RunningJobs
from hostler.views.tags import Tag

#: Seconds in which lines that come one after the other are gathered before they leave.
GATHER = 0.02


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


class Held(Protocol):
    """An attempt that a worker holds."""

    @property
    def queued(self) -> Queued:
        """Its job."""
        ...

    @property
    def n(self) -> int:
        """Which attempt of the job it is."""
        ...

    @property
    def worker(self) -> int:
        """Who holds it."""
        ...


class Printer:
    """Prints what jobs wrote; `read` gives a stream (1 or 2) of kept output in pieces, `tag` what stands before lines.

    `table` shows the end of what running jobs write; `names` are the hosts' by worker.
    """

    def __init__(
        self, console: Console, *, read: Callable[[OutputRef, int], Iterable[bytes]], tag: Tag | None = None,
        table: RunningJobs | None = None,
    ) -> None:  # fmt: skip
        self._console, self._read, self._tag, self._table = console, read, tag, table
        self.names: Mapping[int, str] = {}

    def running(self, held: Held, stream: int, data: bytes) -> None:
        """Take note of a piece of a running job's output."""
        if self._table is not None:
            self._table.piece(held.queued.job, held.n, stream, data)

    def whole(self, held: Held, kept: Kept) -> None:
        """Print all that an attempt wrote."""
        tag = self.tag(held) if self._tag is not None else b""
        if kept.ref is None or kept.out is not None:
            self._put(kept.out or b"", kept.err or b"", tag)
        else:
            self._refer(kept.ref, tag)

    def ended(self, ended: Ended) -> None:
        """Print all that an ended attempt wrote, from where it is kept."""
        if ended.output is not None:
            self._refer(ended.output, self._tag(ended.job, ended.args, ended.host) if self._tag else b"")

    def tag(self, held: Held) -> bytes:
        """What stands before each line of an attempt's output."""
        if self._tag is None:
            return b""
        queued = held.queued
        return self._tag(queued.job, queued.args, self.names.get(held.worker, f"host {held.worker}"))

    def flush(self) -> None:
        """Let go of what was printed."""
        self._console.flush()

    def _put(self, out: bytes, err: bytes, tag: bytes) -> None:
        if tag:
            out, err = _finished(out), _finished(err)
        self._console.job_output(out, err, tag=tag)

    def _refer(self, ref: OutputRef, tag: bytes) -> None:
        out, err = self._read(ref, 1), self._read(ref, 2)
        self._console.job_output(out if ref.out else b"", err if ref.err else b"", tag=tag)


class JobOutput:
    """Each attempt's output whole, as soon as it has ended."""

    def __init__(self, printer: Printer) -> None:
        self._printer = printer
        self._kept: list[tuple[Held, Kept]] = []

    def piece(self, held: Held, stream: int, data: bytes) -> None:
        """Wait for the rest."""
        self._printer.running(held, stream, data)

    def result(self, held: Held, kept: Kept) -> None:
        """Print what an attempt wrote; what is too big for memory is read from its file, once all of it is there."""
        if kept.ref is None or kept.out is not None:
            self._printer.whole(held, kept)
        else:
            self._kept.append((held, kept))

    def saw(self, events: Sequence[Event]) -> None:
        """Let go of what was printed, once per turn, and print what the turn put on disk."""
        kept, self._kept = self._kept, []
        for each in kept:
            self._printer.whole(*each)
        self._printer.flush()


class LineOutput:
    """The lines of all jobs as they come. `later` calls a function after so many seconds."""

    def __init__(
        self, printer: Printer, console: Console, *, later: Callable[[float, Callable[[], None]], object]
    ) -> None:
        self._printer, self._console, self._later = printer, console, later
        self._begun: set[tuple[int, int]] = set()
        self._soon = False

    def piece(self, held: Held, stream: int, data: bytes) -> None:
        """Print whole lines, which leave soon: no turn may end as long as jobs only write."""
        self._printer.running(held, stream, data)
        self._chunk(held, stream, data)
        if not self._soon:
            self._soon = True
            self._later(GATHER, self._let_go)

    def _let_go(self) -> None:
        """Have lines leave; live lines may keep them for their next drawing."""
        self._console.flush()
        self._soon = self._console.gathered > 0
        if self._soon:
            self._later(GATHER, self._let_go)

    def result(self, held: Held, kept: Kept) -> None:
        """Print the end of what an attempt wrote."""
        key = (held.queued.job, held.n)
        if key not in self._begun:
            self._chunk(held, 1, kept.out or b"")
            self._chunk(held, 2, kept.err or b"")
        self._begun.discard(key)
        self._console.ended(key)

    def saw(self, events: Sequence[Event]) -> None:
        """Let go of what was printed, once per turn; what a lost attempt began to write ends here."""
        for event in events:
            if isinstance(event, AttemptEnded) and (event.job, event.n) in self._begun:
                self._begun.discard((event.job, event.n))
                self._console.ended((event.job, event.n))
        self._printer.flush()

    def _chunk(self, held: Held, stream: int, data: bytes) -> None:
        key = (held.queued.job, held.n)
        if key not in self._begun:
            self._begun.add(key)
            if tag := self._printer.tag(held):
                self._console.tags[key] = tag
        self._console.chunk(key, stream, data)


def _finished(data: bytes) -> bytes:
    return data if data.endswith(b"\n") or not data else data + b"\n"
