"""`hostler log -f`: a job's output as it comes, or every attempt's as it ends, until there is nothing more to come.

It reads what another process writes. It must never print a byte twice, nor miss one that was recorded.
"""

from __future__ import annotations

from collections.abc import Callable

from hostler.cli.following import glances, say_if_left
from hostler.cli.looking import Look, output_of, pieces
from hostler.cli.printing import Printer
from hostler.cli.saying import say
from hostler.clock import SystemClock
from hostler.model.commands import to_type
from hostler.model.events import AttemptEnded
from hostler.model.jobs import Ending
from hostler.model.runs import AttemptRow
from hostler.stores.growing import Growing
from hostler.stores.reads.attempts import attempts, job
from hostler.stores.reads.events import events
from hostler.views.words import ending_words, took


async def follow_run(seen: Look, *, failed: bool, raw: bool, heading: Callable[[AttemptRow], None]) -> None:
    """Print what every attempt wrote, in the order of their ends, each behind its `heading`, until the run ends."""
    told = 0
    async for glance in glances(seen.reader, seen.row.number):
        if not glance.news:
            continue
        for seq, event in events(seen.reader, seen.row.number, since=told):
            told = seq
            if not isinstance(event, AttemptEnded) or event.ending is Ending.REVOKED:
                continue
            if failed and event.ending is Ending.OK:
                continue
            made = attempts(seen.reader, seen.row.number, job=event.job)
            attempt = next(attempt for attempt in made if attempt.n == event.n)
            heading(attempt)
            printer = Printer(raw=raw)
            _print_kept(seen, attempt, printer)
            printer.end()
    say_if_left(seen.reader, seen.row.number)


async def follow_job(seen: Look, number: int, *, n: int | None, only: str | None, raw: bool) -> None:
    """Print what a job's last attempt writes as it comes, and the next one's, until the job ends; or attempt `n`'s."""
    follower = JobFollower(seen, number, n=n, only=only, raw=raw)
    try:
        async for glance in glances(seen.reader, seen.row.number):
            if glance.news:
                follower.look()
            follower.print()
            if follower.over:
                return
    finally:
        follower.close()
    say_if_left(seen.reader, seen.row.number)


class JobFollower:
    """Follows one job from attempt to attempt, or one attempt of it."""

    def __init__(self, seen: Look, number: int, *, n: int | None, only: str | None, raw: bool) -> None:
        self._seen, self._number, self._only, self._raw = seen, number, only, raw
        made = self._attempts()
        self._single = n is not None
        self._n = n if n is not None else max((attempt.n for attempt in made), default=1)
        self._known = {attempt.n for attempt in made if not attempt.open}
        self._first = self._n
        self._growing: Growing | None = None
        self._printer: Printer | None = None
        self.over, self._waits = False, not made

    def look(self) -> None:
        """See what has become of the job: an attempt that has ended is printed to its end."""
        final = job(self._seen.reader, self._seen.row.number, self._number).state.final
        for attempt in self._attempts():
            if attempt.n < self._n:
                continue
            self._n = attempt.n
            if attempt.open:
                if attempt.n != self._first and self._growing is None and attempt.started_at is not None:
                    self._say(f"runs again, attempt {attempt.n}, on {attempt.worker}")
                if attempt.started_at is not None:
                    self._begin()
                return
            self._end(attempt, last=final)
            self._n += 1
            if self._single:
                self.over = True
                return
        self.over = final
        if not final and self._waits:
            self._waits = False
            self._say(
                f"waits to be started (why: {to_type(f'explain {self._seen.row.number} {self._number}')})"
            )

    def print(self) -> None:
        """Print what has come of the attempt that runs."""
        if self._growing is not None and self._printer is not None:
            self._printer.put(self._growing.news())

    def close(self) -> None:
        """Let go of what is open."""
        if self._growing is not None:
            self._growing.close()
        if self._printer is not None:
            self._printer.end()
        self._growing = self._printer = None

    def _begin(self) -> None:
        if self._growing is None and self._seen.folder is not None:
            self._growing = Growing(self._seen.folder, self._number, self._n)
            self._printer = Printer(only=self._only, raw=self._raw)

    def _end(self, attempt: AttemptRow, *, last: bool) -> None:
        if attempt.ending == Ending.REVOKED:
            self.close()
            return
        self._begin()
        assert self._growing is not None and self._printer is not None
        self._printer.put(self._growing.news())
        if not self._growing.begun:
            _print_kept(self._seen, attempt, self._printer)
        self.close()
        if attempt.n in self._known:
            return  # its end was told before we began
        then = "" if last or self._single else "; the job waits to be tried again"
        lasted = took(attempt, now=SystemClock().now())
        self._say(f"attempt {attempt.n}, on {attempt.worker}: {ending_words(attempt)} after {lasted}{then}")

    def _say(self, text: str) -> None:
        if self._only is None:
            say(f"job {self._number} {text}")

    def _attempts(self) -> list[AttemptRow]:
        return list(attempts(self._seen.reader, self._seen.row.number, job=self._number))


def _print_kept(seen: Look, attempt: AttemptRow, printer: Printer) -> None:
    """Print the recorded output of an attempt that has ended. Raises StoreError."""
    ref = output_of(seen, attempt)
    if ref is not None:
        printer.put(pieces(seen, ref))
