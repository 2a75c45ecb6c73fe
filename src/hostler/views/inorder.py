"""Jobs' output in the order of their numbers, however they end: --keep-order.

What has ended before its turn is not held, it is read from the run's files when its turn has come; so a slow first job
costs no memory. Only whole turns that are on disk are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from hostler.model.endings import Ended
from hostler.model.events import AttemptEnded, Event, JobsCancelled, RunFinished
from hostler.views.showing import Held, Kept, Printer


class Order(Protocol):
    """Where jobs stand, as of the last commit."""

    def unfinished(self, after: int) -> int | None:
        """The first job behind this number that is not over; None without one."""
        ...

    def between(self, after: int, before: int | None) -> Iterator[Ended]:
        """Attempts, by number of their jobs, that ended in this controller's time: of the jobs between these two."""
        ...


class InOrder:
    """Prints the output of jobs by their numbers; `order` is asked, never told."""

    def __init__(self, printer: Printer, order: Callable[[], Order]) -> None:
        self._printer, self._order = printer, order
        self._done = 0
        #: The job whose end is waited for: 0 before the first look, None when there is none behind what is printed.
        self._awaited: int | None = 0

    def piece(self, held: Held, stream: int, data: bytes) -> None:
        """Show the end of it where running jobs are shown; nothing else before its turn."""
        self._printer.running(held, stream, data)

    def result(self, held: Held, kept: Kept) -> None:
        """Wait until it is on disk."""

    def saw(self, events: Sequence[Event]) -> None:
        """Print what the events let through."""
        over = False
        for event in events:
            if isinstance(event, AttemptEnded):
                over = over or (event.then.final and event.job == (self._awaited or event.job))
            elif isinstance(event, JobsCancelled | RunFinished):
                over = True
        if over:
            last = any(isinstance(event, RunFinished) for event in events)
            self._advance(last=last)
        self._printer.flush()

    def _advance(self, *, last: bool) -> None:
        order = self._order()
        before = order.unfinished(self._done)
        for ended in order.between(self._done, None if last else before):
            self._printer.ended(ended)
            self._done = ended.job
        if before is not None:
            self._done = max(self._done, before - 1)
        self._awaited = before
