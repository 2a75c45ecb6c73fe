"""The jobs that run at this moment, a row each: job, host, how long, and the last line that it printed.

It is told of every event and every piece of output, so both must cost next to nothing: of each running job the last
bytes are kept and nothing else, and rows are made only when they are drawn. A row keeps its place while its job runs,
so that one can read it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import nsmallest

from msgspec import Struct

from hostler.model.durations import format_duration
from hostler.model.events import (
    AttemptDispatched,
    AttemptEnded,
    AttemptStarted,
    Event,
    HostConnected,
    HostOut,
    RunFinished,
)
from hostler.model.runs import OpenAttempt
from hostler.views.text import columns, fit, last_line

#: Bytes of each running job's output that are kept.
KEPT = 512

#: Rows of a terminal that the table leaves to what is printed above it, and the part of the others that it takes.
LEFT, SHARE = 4, 2

#: Seconds that a job has run before it gets a row: shorter ones would only flicker.
LEAST = 1.0

#: A window narrower than this has no place for what a job's command is beside what it says.
NARROW = 100

#: Colours and other commands to a terminal, which a row leaves out.
COMMANDS = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_=>])")

DIM, PLAIN = "\x1b[2m", "\x1b[0m"

Key = tuple[int, int]


class Row(Struct):
    """One running attempt: its worker, when it began, the end of what it printed."""

    worker: int
    since: float
    tail: bytes = b""
    command: str | None = None


class RunningJobs:
    """All running jobs of a run. `names` are the hosts' by worker, `command` gives that of a worker's job, in one line.

    >>> jobs = RunningJobs()
    >>> jobs.names = {1: "web1"}
    >>> jobs.began(7, 1, worker=1, at=100.0); jobs.piece(7, 1, 1, b"linking\\n")
    >>> jobs.rows(now=161.0, width=60, height=24, colour=False)
    ['  7  web1  1m01s  linking']
    """

    def __init__(self) -> None:
        self.names: Mapping[int, str] = {}
        self.command: Callable[[int, int], str] = lambda worker, job: ""
        self._sent: dict[Key, int] = {}
        self._running: dict[Key, Row] = {}
        self._places: list[Key] = []
        self._out: set[int] = set()  # workers that don't answer: what their jobs do now nobody knows

    def load(self, attempts: Iterable[OpenAttempt]) -> None:
        """Take over what an earlier controller has left open."""
        for attempt in attempts:
            if attempt.started:
                at = attempt.dispatched_at if attempt.started_at is None else attempt.started_at
                self.began(attempt.job, attempt.n, worker=attempt.worker, at=at)
            else:
                self._sent[attempt.job, attempt.n] = attempt.worker

    def began(self, job: int, n: int, *, worker: int, at: float) -> None:
        """An attempt runs since `at`, seconds since the epoch."""
        self._running[job, n] = Row(worker, at)

    def piece(self, job: int, n: int, stream: int, data: bytes) -> None:
        """A running attempt has printed something."""
        row = self._running.get((job, n))
        if row is not None:
            row.tail = data[-KEPT:] if len(data) >= KEPT else (row.tail + data)[-KEPT:]

    def saw(self, events: Sequence[Event]) -> None:
        """Take in events that have been committed."""
        sent, running = self._sent, self._running
        for event in events:
            match event:
                case AttemptDispatched():
                    sent[event.job, event.n] = event.worker
                case AttemptEnded():
                    sent.pop((event.job, event.n), None)
                    running.pop((event.job, event.n), None)
                case AttemptStarted():
                    if (worker := sent.pop((event.job, event.n), None)) is not None:
                        running[event.job, event.n] = Row(worker, event.at)
                case HostOut():
                    self._out.add(event.worker)
                case HostConnected():
                    self._out.discard(event.worker)
                case RunFinished():
                    running.clear()

    def rows(self, *, now: float, width: int, height: int, colour: bool) -> list[str]:
        """The table for a terminal of this size, each row narrower than it; empty where there is no room or no job.

        Those that run longest have the rows, and the others are counted in the last one.
        """
        old = [key for key, row in self._running.items() if now - row.since >= LEAST]
        room = max(0, min(height - LEFT, height // SHARE))
        if not old or not room:
            self._places = []
            return []
        fitting = len(old) if len(old) <= room else room - 1
        places = self._placed(old, fitting)
        shown = [self._running[key] for key in places]
        for (job, _), row in zip(places, shown, strict=True):
            if row.command is None:
                row.command = self.command(row.worker, job)
        wide = [
            max((columns(cell) for cell in cells), default=0)
            for cells in (
                [str(job) for job, _ in places],
                [self._host(row) for row in shown],
                [format_duration(max(0.0, now - row.since)) for row in shown],
                [row.command or "" for row in shown],
            )
        ]
        lines = [
            self._line(key, row, wide, now=now, width=width - 1, colour=colour)
            for key, row in zip(places, shown, strict=True)
        ]
        if more := len(old) - len(places):
            text = fit(f"  and {more} more that run", width - 1)
            lines.append(f"{DIM}{text}{PLAIN}" if colour else text)
        return lines

    def _placed(self, old: Sequence[Key], count: int) -> list[Key]:
        """Who has the rows: whoever had one keeps its place while it can, the longest-running others fill the gaps."""
        there = set(old)
        kept = [key if key in there else None for key in self._places]
        had = set(kept)
        missing = max(0, count - sum(key is not None for key in kept))
        # Those that began first come first.
        others = (key for key in old if key not in had)
        waiting = iter(nsmallest(missing, others, key=lambda key: self._running[key].since))
        filled = [next(waiting, None) if key is None else key for key in kept]
        places = [*(key for key in filled if key is not None), *waiting][:count]
        self._places = places
        return places

    def _line(self, key: Key, row: Row, wide: Sequence[int], *, now: float, width: int, colour: bool) -> str:
        took = format_duration(max(0.0, now - row.since))
        host = self._host(row)
        head = f"  {key[0]:>{wide[0]}}  {host}{' ' * (wide[1] - columns(host))}  {took:>{wide[2]}}  "
        left = width - columns(head)
        if left < 8:
            return fit(head.rstrip(), width)
        said = last_line(COMMANDS.sub(b"", row.tail), width=left)
        if said and width >= NARROW:
            share = min(left // 3, wide[3])
            command = fit(row.command or "", share)
            gap = " " * (share - columns(command)) + "  "
            said = fit(said, left - share - 2)
            return head + (f"{DIM}{command}{PLAIN}" if colour else command) + gap + said
        if said:
            return head + said
        command = fit(row.command or "", left)
        return head + (f"{DIM}{command}{PLAIN}" if colour else command)

    def _host(self, row: Row) -> str:
        name = fit(self.names.get(row.worker, f"host {row.worker}"), 24)
        return f"{name} (out)" if row.worker in self._out else name
