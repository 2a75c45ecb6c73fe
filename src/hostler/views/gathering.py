"""A fan-out's answers on their way to the person, gathered: `hostler run -b`, with `--diff` and `--mask`.

On a terminal groups are shown in lulls, while others still run; elsewhere once, at the end, in one order. Only whole
turns that are on disk are looked at. It must never show a text twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from msgspec import Struct

from hostler.model.endings import Ended
from hostler.model.events import AttemptEnded, Event, RunFinished
from hostler.model.hosts import Host
from hostler.model.jobs import Ending, JobState, OutputRef
from hostler.model.outcomes import Outcome
from hostler.views.console import Console
from hostler.views.fanned import end_words
from hostler.views.gathered import Answer, Gathering, Group, Shown, block, difference, outliers
from hostler.views.joblog import Fetch
from hostler.views.showing import Held, Kept, Printer

#: Seconds without a new answer after which those that are there are shown, on a terminal.
LULL = 1.0


class Look(Struct, frozen=True, kw_only=True):
    """How groups are shown: `live` in lulls, else at the end; `differing` only what differs from what most said.

    Headers are cut to `width` columns, 0 for any. `shown` makes a host's text fit for where it goes.
    """

    masks: tuple[str, ...] = ()
    differing: bool = False
    live: bool = False
    width: int = 0
    colour: bool = False
    shown: Shown = iter


class GatheredOutput:
    """Gathers what hosts say; `hosts` are the run's by name, `later` calls a function after so many seconds."""

    def __init__(
        self, printer: Printer, console: Console, *, look: Look, hosts: Mapping[str, Host], fetch: Fetch,
        read: Callable[[OutputRef, int], Iterable[bytes]], timeout: float | None,
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:  # fmt: skip
        self._printer, self._console, self._look, self._later = printer, console, look, later
        self._hosts, self._fetch, self._read, self._timeout = hosts, fetch, read, timeout
        self._gathering = Gathering(masks=look.masks)
        self._over = False

    def piece(self, held: Held, stream: int, data: bytes) -> None:
        """Show the end of it where running jobs are shown."""
        self._printer.running(held, stream, data)

    def result(self, held: Held, kept: Kept) -> None:
        """Wait until it is on disk."""

    def saw(self, events: Sequence[Event]) -> None:
        """Gather what has ended; at the end of the run show what was not shown."""
        final = {(e.job, e.n): e.then for e in events if isinstance(e, AttemptEnded) and e.then.final}
        for ended in self._fetch(list(final)) if final else ():
            self._add(ended, final[ended.job, ended.n])
        if any(isinstance(event, RunFinished) for event in events):
            self._end()
        elif final and self._look.live and not self._look.differing:
            count = self._gathering.count
            self._later(LULL, lambda: self._lull(count))
        self._printer.flush()

    def _add(self, ended: Ended, then: JobState) -> None:
        if ended.ending is Ending.UNREACHABLE:
            return  # it said nothing, and is told of at the end
        outcome = Outcome(
            job=ended.job, host=ended.host, state=then, ending=ended.ending, code=ended.code, signal=ended.signal,
            detail=ended.detail,
        )  # fmt: skip
        how = "" if then is JobState.OK else end_words(outcome, timeout=self._timeout)
        host = self._hosts.get(ended.host) or Host(name=ended.host, address=ended.host)
        self._gathering.add(Answer(host=host, how=how, read=partial(self._text, ended.output)))

    def _text(self, ref: OutputRef | None) -> Iterator[bytes]:
        """What a host wrote: its stdout, then its stderr."""
        if ref is not None:
            yield from self._read(ref, 1)
            yield from self._read(ref, 2)

    def _lull(self, count: int) -> None:
        if count == self._gathering.count and not self._over:
            self._tell()
            self._printer.flush()

    def _tell(self) -> None:
        for group, names in self._gathering.fresh():
            if any(group.first.read()):
                self._block(group, names)
            group.told += len(names)

    def _block(self, group: Group, names: Sequence[str]) -> None:
        look = self._look
        self._console.made(block(group, names, width=look.width, colour=look.colour, shown=look.shown))

    def _end(self) -> None:
        self._over = True
        groups = self._gathering.groups()
        if self._look.differing and groups:
            self._block(groups[0], groups[0].names)
            self._console.made(difference(groups, colour=self._look.colour, shown=self._look.shown))
        else:
            self._tell()
        if told := outliers(groups, total=self._gathering.count):
            self._console.note(told)
