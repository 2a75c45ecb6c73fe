"""What the commands that look at runs share: finding a run, its figures, its jobs' commands, its report.

It must never write anything, and never import what only a working run needs: a look has to be quick.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from hostler.cli.leaving import may_still_run, with_secrets
from hostler.cli.storing import open_reader
from hostler.engine.alike import Failure, clusters
from hostler.engine.lines import MARGIN
from hostler.engine.summary import HostFigures, Summary, exit_code
from hostler.errors import StoreError, UsageError
from hostler.model.commands import to_type
from hostler.model.durations import format_duration
from hostler.model.jobs import JobState, OutputRef
from hostler.model.runs import AttemptRow, BatchSpec, RunRow
from hostler.model.templates import Template
from hostler.stores.output_reading import log_ref, read_both, tail
from hostler.stores.reading import Reader
from hostler.stores.reads import report as figures
from hostler.stores.reads.attempts import attempts
from hostler.stores.reads.attempts import job as job_row
from hostler.stores.reads.batch import no_run_yet, spec, workers
from hostler.stores.reads.kept import telling
from hostler.stores.reads.runs import has_owner, resolve, run, stalled
from hostler.views.colours import wanted
from hostler.views.report import KINDS, Findings, Slow
from hostler.views.report import report as drawn
from hostler.views.tables import counted
from hostler.views.text import last_line, one_line
from hostler.views.words import command_words, ending_words

#: How many failures are read to see which are alike, and how many lines of each one's end.
LOOKED_AT = 2_000
TAIL = 10

#: Columns where there is no terminal to ask.
WIDTH = 120

#: Endings that are the host's, not the job's, and the states in which they can leave a job.

BY_WORD = {state.word: state for state in JobState}


@contextmanager
def opened() -> Iterator[Reader | None]:
    """The store of this account, to be read; None when there is none yet. Raises StoreError."""
    reader = open_reader()
    try:
        yield reader
    finally:
        if reader is not None:
            reader.close()


class Look(Struct, frozen=True, kw_only=True):
    """One run as it stands: its row, whether somebody works on it and shows no life, and its jobs by state."""

    reader: Reader
    row: RunRow
    alive: bool
    stalled: float | None
    spec: BatchSpec
    template: Template | None
    folder: Path | None

    @property
    def counts(self) -> dict[JobState, int]:
        """Jobs by state, without those that are zero."""
        return by_state(self.row.counts)

    def command(self, args: tuple[bytes, ...], job: int, *, width: int | None = None) -> str:
        """A job's command as one harmless line, as it would be typed."""
        if self.template is None:
            return one_line(self.row.command.encode("utf-8", "surrogateescape"), width=width)
        return command_words(self.template, args, job, width=width)

    def command_of(self, job: int, *, width: int | None = None) -> str:
        """The command of one of its jobs, as one harmless line."""
        return self.command(job_row(self.reader, self.row.number, job).args, job, width=width)


def by_state(counts: dict[str, int]) -> dict[JobState, int]:
    """Counts that a run's row holds by word, by state; without those that are zero."""
    return {BY_WORD[word]: count for word, count in counts.items() if count}


def state_word(row: RunRow, *, alive: bool, stalled: float | None = None) -> str:
    """A run's state: one that nobody works on any more, and nobody ended, is "left", whatever its row says.

    It is "stalled" when who works on it has given no sign of life for a while.
    One that waits for somebody tells beside that whether it is paused. One at work that starts nothing more is
    "paused", or "draining" when it stops once what runs has ended.
    """
    if row.exit_code is not None:
        return f"{row.state}, paused" if row.paused and row.state != "finished" else row.state
    if not alive:
        return "left, paused" if row.paused else "left"
    if stalled is not None:
        return "stalled"
    return "draining" if row.draining else "paused" if row.paused else row.state


def stalled_words(row: RunRow, stalled: float) -> str:
    """What to know of a run whose owner shows no life: since when, and what to do about it."""
    told = f"{row.owner}: no sign of life for {format_duration(stalled)}"
    pid = re.search(r"\(pid ([0-9]+)\)", row.owner or "")
    if pid is None:
        return told
    return f"{told}; if it is stopped, kill -CONT {pid[1]} wakes it; if it hangs, kill -9 {pid[1]} ends it"


def look(reader: Reader | None, name: str) -> Look:
    """The run that people call `name`. Raises UsageError."""
    if reader is None:
        raise no_run_yet(name)
    number = resolve(reader, name)
    wanted = spec(reader, number)
    return Look(
        reader=reader,
        row=run(reader, number),
        alive=has_owner(reader, number),
        stalled=stalled(reader, number),
        spec=wanted,
        template=template_of(wanted),
        folder=reader.run_folder(number),
    )


def summary(seen: Look, *, now: float, signal: int | None = None) -> Summary:
    """What a run comes to at `now`, seconds since the epoch."""
    span = figures.span(seen.reader, seen.row.number)
    elapsed = None
    # Of a run that was taken up again nobody can say how long it worked: the time between is not work. Nor of one
    # that was left with jobs open: the last result says nothing of when.
    left = not seen.alive and bool(seen.counts.get(JobState.OPEN))
    if seen.row.epoch <= 1 and span is not None and not left:
        elapsed = max(0.0, (now if seen.alive and seen.row.finished is None else span[1]) - span[0])
    return Summary(
        number=seen.row.number,
        state=state_word(seen.row, alive=seen.alive, stalled=seen.stalled),
        counts=seen.counts,
        elapsed=elapsed or None,
        signal=signal,
        verb=seen.row.verb,
    )


def host_figures(seen: Look) -> list[HostFigures]:
    """What each host of the run did."""
    slots = {
        worker.id: worker.host.slots or seen.spec.slots for worker in workers(seen.reader, seen.row.number)
    }
    idle = "waiting" if seen.alive and seen.row.finished is None else "unused"
    return [
        HostFigures(
            host=worker.name,
            state=_standing(worker.state, worker.why, idle),
            why=worker.why,
            ok=worker.ok,
            failed=worker.failed,
            gone=worker.gone,
            interrupted=worker.interrupted,
            open=worker.open,
            busy=worker.busy,
            slots=slots.get(worker.id),
        )
        for worker in figures.worker_figures(seen.reader, seen.row.number)
    ]


def _standing(state: str, why: str, idle: str) -> str:
    """How a host stands, in a word: one that was up and has a trouble on record is out, whatever came last."""
    if state == "lost" or (why and state in ("new", "up")):
        return "out"
    return idle if state == "new" else state


def findings(seen: Look, *, width: int, now: float) -> Findings:
    """What a report tells beside the summary, at `now`, seconds since the epoch."""
    reader, number = seen.reader, seen.row.number
    held = _held(seen)
    bad = list(figures.bad_jobs(reader, number, limit=LOOKED_AT))
    failures = [
        Failure(
            job=each.job,
            host=each.last.worker if each.last else "no host",
            how=ending_words(each.last)
            if each.last and each.state is not JobState.CANCELLED
            else each.state.word,
            last_line=said_last(seen, each.last, width=width) if each.last else "",
            ran=each.last is not None,
        )
        for each in bad
    ]
    slow = [
        Slow(
            job=attempt.job,
            n=attempt.n,
            host=attempt.worker,
            elapsed=attempt.elapsed or 0.0,
            command=seen.command_of(attempt.job, width=width),
        )
        for attempt in figures.slowest(reader, number)
    ]
    doubled = figures.maybe_doubled(reader, number)
    kinds = clusters(failures)
    return Findings(
        failures=kinds,
        commands={each.jobs[0]: seen.command_of(each.jobs[0], width=width) for each in kinds[:KINDS]},
        looked_at=len(bad),
        slowest=slow,
        hosts=host_figures(seen),
        repeated=doubled[:10],
        repeated_count=len(doubled),
        left=still_there(reader, number, held, lease_over=lease_over(seen, now=now)) if held else (),
        ends=with_secrets(to_type(f"stop {number}"), seen.spec) if held else "",
    )


def still_open(reader: Reader, number: int) -> list[tuple[str, list[int]]]:
    """Hosts that may still work for a run, with the jobs they hold."""
    held: dict[str, list[int]] = {}
    for attempt in attempts(reader, number, states=(JobState.OPEN,)):
        held.setdefault(attempt.worker, []).append(attempt.job)
    return list(held.items())


def _held(seen: Look) -> list[tuple[str, list[int]]]:
    """What hosts may still do for a run that nobody works on any more."""
    gone = seen.row.state == "left" or not seen.alive
    return still_open(seen.reader, seen.row.number) if gone and seen.counts.get(JobState.OPEN) else []


def still_there(
    reader: Reader, number: int, held: list[tuple[str, list[int]]], *, lease_over: bool = False
) -> list[str]:
    """What each of these hosts may still do for a run, and what its trouble was; a line each."""
    detached = spec(reader, number).detached
    why = {worker.name: worker.why for worker in figures.worker_figures(reader, number)}
    lines = []
    for host, jobs in held:
        trouble = why.get(host, "").removeprefix(f"{host}: ")
        lines.append(
            may_still_run(host, jobs, detached=detached, lease_over=lease_over)
            + (f" ({trouble})" if trouble else "")
        )
    return lines


def lease_over(seen: Look, *, now: float) -> bool:
    """Whether no host that a run was left on works for it any more: each ends what it has when its lease does."""
    ended = seen.row.finished
    return ended is not None and now > ended + seen.spec.lease + MARGIN


def said_last(seen: Look, attempt: AttemptRow, *, width: int) -> str:
    """The last line that an attempt printed, on stderr rather than stdout; empty when it was silent."""
    ref = output_of(seen, attempt)
    if ref is None or seen.folder is None:
        return ""
    for stream, size in ((2, ref.err), (1, ref.out)):
        if size:
            try:
                line = last_line(tail(seen.folder, ref, stream, TAIL), width=width)
            except StoreError:
                line = "(its output is not here)"
            if line:
                return line
    return ""


def output_of(seen: Look, attempt: AttemptRow) -> OutputRef | None:
    """Where an attempt's output is kept, so far if it has not ended; None when it has none."""
    if attempt.file is None:
        return log_ref(seen.folder, attempt.job, attempt.n) if attempt.open and seen.folder else None
    return OutputRef(attempt.file, attempt.offset or 0, attempt.out or 0, attempt.err or 0, attempt.indexed)


def pieces(seen: Look, ref: OutputRef) -> Iterator[tuple[int, bytes]]:
    """An attempt's output, each piece with its stream, as they arrived where that is known. Raises StoreError."""
    if seen.folder is not None:
        with telling(seen.reader, seen.row.number, ref.file, folder=seen.folder):
            yield from read_both(seen.folder, ref)


def report_text(reader: Reader, number: int, *, signal: int | None, colour: bool) -> tuple[str, int]:
    """The final report of a run, for stderr, and the run's exit code."""
    from hostler.clock import SystemClock

    seen, now = look(reader, str(number)), SystemClock().now()
    width = columns_of(2)
    result = summary(seen, now=now, signal=signal)
    code = seen.row.exit_code if seen.row.exit_code is not None else exit_code(seen.counts, signal=signal)
    return drawn(result, findings(seen, width=width, now=now), width=width, colour=colour), code


def signal_of(row: RunRow) -> int | None:
    """The signal that stopped a run, as its exit code tells it; None when none did."""
    return row.exit_code - 128 if row.exit_code is not None and row.exit_code > 128 else None


def brief(reader: Reader, number: int, *, signal: int | None) -> list[str]:
    """A run that is not well in few lines, with the command that leads on; none when all is well."""
    from hostler.clock import SystemClock

    seen, now = look(reader, str(number)), SystemClock().now()
    result = summary(seen, now=now, signal=signal)
    if result.total == result.counts.get(JobState.OK, 0):
        return []
    then = result.next_command or to_type(f"status {number}")
    line = f"{seen.row.verb} {number}: {counted(result.total, 'job')}: {result.words}; next: {then}"
    if not (held := _held(seen)):
        return [line]
    left = still_there(reader, number, held, lease_over=lease_over(seen, now=now))
    return [*left, f"{line}; this ends what still runs: {with_secrets(to_type(f'stop {number}'), seen.spec)}"]


def colour_of(fd: int, choice: str) -> bool:
    """Whether to use colours on `fd`, `choice` being auto, always or never."""
    return wanted(choice, terminal=is_terminal(fd), environ=os.environ)


def is_terminal(fd: int) -> bool:
    """Whether a terminal is at the end of `fd`; a closed descriptor is none."""
    try:
        return os.isatty(fd)
    except OSError:
        return False


def columns_of(fd: int) -> int:
    """How many columns a line on `fd` may have."""
    try:
        return max(20, os.get_terminal_size(fd).columns)
    except OSError:
        return WIDTH


def template_of(wanted: BatchSpec) -> Template | None:
    """The command of a run's jobs; None when a later version wrote it in a form that this one can't read."""
    try:
        return Template.from_json(wanted.template)
    except UsageError:
        return None
