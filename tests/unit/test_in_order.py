"""--keep-order: jobs' output by their numbers, whatever ends when; read from where it is kept."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from random import Random

import pytest

from hostler.model.endings import Ended
from hostler.model.events import AttemptEnded, Event, JobsCancelled, RunFinished
from hostler.model.jobs import Ending, JobState, OutputRef
from hostler.views.console import Console
from hostler.views.inorder import InOrder
from hostler.views.showing import Printer


class Book:
    """A store of one run: which jobs are over, and the attempts that ended, in a list."""

    def __init__(self, jobs: int) -> None:
        self.open = set(range(1, jobs + 1))
        self.rows: list[Ended] = []
        self.asked = 0

    def unfinished(self, after: int) -> int | None:
        self.asked += 1
        return min((job for job in self.open if job > after), default=None)

    def between(self, after: int, before: int | None) -> Iterator[Ended]:
        rows = [row for row in self.rows if after < row.job and (before is None or row.job < before)]
        return iter(sorted(rows, key=lambda row: (row.job, row.n)))

    def end(self, job: int, n: int, *, last: bool = True) -> Event:
        output = OutputRef("f", job * 100 + n, 1, 0)
        self.rows.append(
            Ended(
                job=job, n=n, host="h", args=(b"%d" % job,), started_at=None, ended_at=1.0, elapsed=None,
                ending=Ending.OK, code=0, signal=None, output=output, last=last,
            )
        )  # fmt: skip
        if last:
            self.open.discard(job)
        then = JobState.OK if last else JobState.QUEUED
        return AttemptEnded(at=1.0, job=job, n=n, ending=Ending.OK, then=then, tries=0)


class Screen(Printer):
    """Keeps what would be printed, as (job, n)."""

    def __init__(self) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        super().__init__(Console(null, null, terminal=(False, False)), read=self._none)
        self.seen: list[tuple[int, int]] = []

    def ended(self, ended: Ended) -> None:
        self.seen.append((ended.job, ended.n))

    def _none(self, ref: OutputRef, stream: int) -> Iterable[bytes]:
        return ()


@pytest.mark.parametrize("seed", range(20))
def test_in_whatever_order_jobs_end_they_are_printed_by_number_and_once(seed: int) -> None:
    random, book, screen = Random(seed), Book(30), Screen()
    view = InOrder(screen, lambda: book)
    left = {job: random.randint(1, 3) for job in range(1, 31)}
    tried = dict.fromkeys(left, 0)
    wanted = [(job, n) for job, tries in left.items() for n in range(1, tries + 1)]
    while left:
        events: list[Event] = []
        for job in random.sample(sorted(left), min(len(left), random.randint(1, 5))):
            left[job] -= 1
            tried[job] += 1
            events.append(book.end(job, tried[job], last=not left[job]))
            if not left[job]:
                del left[job]
        view.saw(events)
        over = min(book.open, default=31)
        assert screen.seen == [(job, n) for job, n in wanted if job < over]
    assert screen.seen == wanted


def test_the_store_is_asked_only_when_the_awaited_job_ends() -> None:
    book, screen = Book(1000), Screen()
    view = InOrder(screen, lambda: book)
    view.saw([book.end(1000, 1)])
    for job in range(2, 900):
        view.saw([book.end(job, 1)])
    assert book.asked == 1 and screen.seen == []
    view.saw([book.end(1, 1)])
    assert book.asked == 2 and screen.seen == [(job, 1) for job in range(1, 900)]


def test_cancelled_jobs_are_not_waited_for_and_the_end_prints_what_there_is() -> None:
    book, screen = Book(5), Screen()
    view = InOrder(screen, lambda: book)
    view.saw([book.end(2, 1)])
    book.open.discard(1)
    view.saw([JobsCancelled(at=1.0, jobs=(1,))])
    assert screen.seen == [(2, 1)]
    view.saw([book.end(4, 1), book.end(3, 1, last=False)])
    view.saw([RunFinished(at=2.0, state="stopped", exit_code=5)])
    assert screen.seen == [(2, 1), (3, 1), (4, 1)]
