"""The tables of a dashboard as plain values: which rows and columns stand there, by what is known and what is asked.

It must never look at a screen, a clock or a store: who draws tells the moment and the room, who reads the facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct, field

from hostler.model.jobs import Counted, JobState
from hostler.model.runs import AttemptRow
from hostler.views.filters import Filter
from hostler.views.grids import FAINT, GOOD, LOOK, WRONG, Row, Table, bar, without
from hostler.views.machines import ago
from hostler.views.tables import Column
from hostler.views.words import ending_words, took

#: Columns from which on there is room for more.
ROOMY = 110
#: Characters of a command, and how many of them are its last.
LONG, TAIL = 44, 20

#: How states of runs and hosts look.
STATES = {
    "running": GOOD, "up": GOOD, "finished": FAINT, "stopped": LOOK, "left": WRONG, "stalled": WRONG, "paused": LOOK,
    "draining": LOOK, "out": WRONG, "lost": WRONG, "retired": WRONG, "rests": LOOK, "waiting": FAINT, "unused": FAINT,
    "released": FAINT,
}  # fmt: skip


class Asked(Struct, frozen=True, kw_only=True):
    """How a table is wanted: what is typed in the filter box, only what fails, what took longest first."""

    filter: Filter = field(default_factory=Filter)
    failing: bool = False
    slowest: bool = False


class RunLine(Counted, frozen=True, kw_only=True):
    """One run as the table of runs has it; `state` is its word, times are seconds since the epoch."""

    number: int
    kind: str
    state: str
    up: int
    hosts: int
    begun: float
    ended: float | None
    command: str
    paused: bool = False

    def length(self, now: float) -> float:
        """Seconds from its beginning to its end, or to now."""
        return max(0.0, (now if self.ended is None else self.ended) - self.begun)


class JobLine(Struct, frozen=True, kw_only=True):
    """One job of a run with its last attempt, its command, and the last line that it printed ("" where not read)."""

    job: int
    state: JobState
    last: AttemptRow | None
    command: str
    said: str = ""


def runs_table(runs: Iterable[RunLine], asked: Asked, *, now: float, width: int) -> Table:
    """The runs, as they are given or those that took longest first."""
    shown = [run for run in runs if _wanted_run(run, asked)]
    if asked.slowest:
        shown.sort(key=lambda run: -run.length(now))
    roomy = width >= ROOMY
    heads = [Column("run", right=True), Column("kind"), Column("state"), Column("jobs done")]
    heads += [Column(head, right=True) for head in ("ok", "failed", "lost", "hosts", "age")]
    heads.append(Column("command", widest=None))
    rows = []
    for run in shown:
        lost = run.counts.get(JobState.LOST, 0)
        cells = (
            str(run.number), run.kind, run.state, bar(run.done, run.bad, run.total, width=20 if roomy else 8),
            some(run.counts.get(JobState.OK, 0)), some(run.bad - lost), some(lost),
            f"{run.up}/{run.hosts}" if run.ended is None else str(run.hosts), ago(now - run.begun), run.command,
        )  # fmt: skip
        word = run.state.partition(",")[0]
        rows.append(Row(run.number, cells, {2: STATES.get(word, ""), 5: WRONG, 6: LOOK, 9: FAINT}))
    table = Table(tuple(heads), tuple(rows), "" if rows else nothing("run", asked))
    return table if roomy else without(table, ("kind",))


def _wanted_run(run: RunLine, asked: Asked) -> bool:
    if asked.failing and not run.bad:
        return False
    words = asked.filter
    if words.numbers and run.number not in words.numbers:
        return False
    held = any(run.counts.get(state) for state in words.states)
    if words.states and not held and not any(run.state.startswith(word) for word in words.state_words):
        return False
    return not words.names or words.says(run.command) or words.says(run.state) or words.says(run.kind)


def jobs_table(jobs: Sequence[JobLine], asked: Asked, *, now: float, width: int, alive: bool) -> Table:
    """Jobs of a run in the order in which they are given: whoever reads them has filtered and sorted.

    Where nobody works on the run, not `alive`, nobody knows what became of those that were sent.
    """
    heads = (
        Column("job", right=True), Column("state", widest=16), Column("host", widest=24), Column("took", right=True),
        Column("command", widest=LONG), Column("last line", widest=None),
    )  # fmt: skip
    rows = []
    for line in jobs:
        last = line.last
        word, look = _job_state(line, alive=alive)
        name = str(line.job) if last is None or last.n == 1 else f"{line.job}/{last.n}"
        host, lasted = ("", "-") if last is None else (last.worker, took(last, now=now))
        if last is not None and last.open and not alive:
            lasted = "?"
        cells = (name, word, host, "" if lasted == "-" else lasted, _shortened(line.command), line.said)
        rows.append(Row(line.job, cells, {1: look, 4: FAINT}))
    table = Table(heads, tuple(rows), "" if rows else nothing("job", asked))
    if width < ROOMY:
        # There is room for one of the two: what it says, and where it said nothing what it is.
        told = [
            Row(
                row.key,
                (*row.cells[:4], row.cells[5] or row.cells[4]),
                {**row.looks, 4: "" if row.cells[5] else FAINT},
            )
            for row in rows
        ]
        table = Table((*heads[:4], Column("last line, or command", widest=None)), tuple(told), table.empty)
    return table


def _shortened(command: str) -> str:
    """A long command without its middle: jobs of a run mostly begin alike and differ in the end."""
    return command if len(command) <= LONG else f"{command[: LONG - TAIL - 1]}…{command[-TAIL:]}"


def _job_state(line: JobLine, *, alive: bool) -> tuple[str, str]:
    last = line.last
    if line.state is JobState.QUEUED:
        again = last is not None and last.ending not in (None, "revoked")
        return ("waits again" if again else "waits"), FAINT
    if line.state is JobState.OPEN or (last is not None and last.open):
        if not alive:
            return "open", LOOK
        return ("runs", GOOD) if last is not None and last.started_at is not None else ("sent", FAINT)
    if line.state is JobState.OK:
        return "ok", ""
    words = (
        ending_words(last) if last is not None and line.state is not JobState.CANCELLED else line.state.word
    )
    return words, LOOK if line.state in (JobState.LOST, JobState.CANCELLED, JobState.INTERRUPTED) else WRONG


def nothing(what: str, asked: Asked) -> str:
    """Why a table is empty."""
    if asked.filter:
        also = " that fails" if asked.failing else ""
        return f"no {what}{also} is meant by {asked.filter.text!r} (escape clears the filter)"
    return f"no {what} fails (f shows all)" if asked.failing else f"no {what}s"


def some(count: int) -> str:
    return str(count) if count else ""
