"""What shows a run: printed output, files beside it, the table of what runs."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from hostler.engine.batch import Batch
from hostler.model.endings import Ended
from hostler.model.jobs import OutputRef
from hostler.model.runs import BatchSpec, Worker
from hostler.model.templates import Template
from hostler.ports import View
from hostler.stores.outputs import RunOutputs, part
from hostler.stores.reading import Reader
from hostler.stores.reads import endings
from hostler.views.colours import wanted as colours
from hostler.views.console import Console
from hostler.views.fanjson import HostLines, Unseen
from hostler.views.inorder import InOrder, Order
from hostler.views.live import draws
from hostler.views.running import RunningJobs
from hostler.views.showing import JobOutput, LineOutput, Printer
from hostler.views.tags import Tag
from hostler.views.words import command_words
from hostler.views.workerlogs import Told, WorkerLogs
from hostler.wiring.wanted import Fan, Wanted

if TYPE_CHECKING:
    from hostler.views.gathering import GatheredOutput


def output_by(
    printer: Printer,
    console: Console,
    *,
    wanted: Wanted,
    order: Callable[[], Order],
    fan: Fan | None = None,
    gather: Callable[..., GatheredOutput],
) -> JobOutput | LineOutput | InOrder | GatheredOutput | Unseen:
    """Who prints what jobs write; `gather` makes who prints it gathered."""
    if fan is not None and fan.form in ("json", "jsonl"):
        return Unseen()
    if fan is not None and fan.form == "gather":
        return gather(printer, console, fan=fan)
    if wanted.keep_order:
        return InOrder(printer, order)
    if wanted.line_buffer or (fan is not None and fan.form == "lines"):
        return LineOutput(printer, console, later=asyncio.get_running_loop().call_later)
    return JobOutput(printer)


def gathered_by(
    reader: Reader, run: int, printer: Printer, console: Console, *, fan: Fan,
    read: Callable[[OutputRef, int], Iterable[bytes]],
) -> GatheredOutput:  # fmt: skip
    """Who prints what a fan-out's hosts say, those that say the same once."""
    from hostler.stores.reads.batch import spec, workers
    from hostler.views.gathering import GatheredOutput, Look
    from hostler.views.text import visible_stream

    terminal = console.stdout_terminal
    look = Look(
        masks=fan.masks, differing=fan.diff, live=terminal,
        width=shutil.get_terminal_size().columns if terminal else 0,
        colour=colours("auto", terminal=terminal, environ=os.environ),
        shown=visible_stream if terminal else iter,
    )  # fmt: skip
    return GatheredOutput(
        printer, console, look=look, hosts={each.host.name: each.host for each in workers(reader, run)},
        fetch=partial(endings.ended, reader, run), read=read, timeout=spec(reader, run).timeout,
        later=asyncio.get_running_loop().call_later,
    )  # fmt: skip


class StoredOrder(Struct, frozen=True):
    """A run's jobs as its store has them, and the attempts that ended behind event number `since`."""

    reader: Reader
    run: int
    since: int

    def unfinished(self, after: int) -> int | None:
        return endings.next_unfinished(self.reader, self.run, after=after)

    def between(self, after: int, before: int | None) -> Iterator[Ended]:
        return endings.ended_between(self.reader, self.run, after=after, before=before, since=self.since)


class Names(Mapping[int, str]):
    """The names of workers, also of those that join later."""

    def __init__(self, workers: Mapping[int, Worker]) -> None:
        self._workers = workers

    def __getitem__(self, worker: int) -> str:
        return self._workers[worker].host.name

    def __iter__(self) -> Iterator[int]:
        return iter(self._workers)

    def __len__(self) -> int:
        return len(self._workers)


def files_beside(
    reader: Reader, run: int, spec: BatchSpec, *, read: Callable[[OutputRef, int], Iterable[bytes]]
) -> Iterator[View]:
    """The files that are written beside a run, brought up to date. Raises UsageError."""
    fetch = partial(endings.ended, reader, run)
    if spec.joblog:
        from hostler.views.joblog import JobLog

        template = Template.from_json(spec.template)
        joblog = JobLog(
            Path(spec.joblog), fetch=fetch, command=lambda e: command_words(template, e.args, e.job)
        )
        joblog.begin(endings.all_ended(reader, run))
        yield joblog
    if spec.results:
        from hostler.views.results import Results

        results = Results(Path(spec.results), fetch=fetch, read=read)
        results.begin(endings.all_ended(reader, run))
        yield results


def prefixes(reader: Reader, run: int, console: Console) -> Tag:
    """What stands before the lines of a fan-out's hosts."""
    from hostler.stores.reads.batch import workers
    from hostler.views.prefixes import Prefix, paint

    console.paint = (
        paint if draws(os.environ) and colours("auto", terminal=True, environ=os.environ) else None
    )
    return Prefix(worker.host.name for worker in workers(reader, run))


def fan_views(
    reader: Reader, run: int, fan: Fan, console: Console, *, read: Callable[[OutputRef, int], Iterable[bytes]]
) -> tuple[View, ...]:
    """What else is made of a fan-out's output. Raises UsageError."""
    fetch = partial(endings.ended, reader, run)
    made: list[View] = []
    if fan.outdir:
        from hostler.views.outdir import OutDir

        outdir = OutDir(Path(fan.outdir), fetch=fetch, read=read)
        outdir.begin()
        made.append(outdir)
    if fan.form in ("json", "jsonl"):

        def write(data: bytes) -> None:
            console.job_output(data)
            console.flush()

        made.append(HostLines(write, fetch=fetch, read=read, whole=fan.form == "json"))
    return tuple(made)


def worker_logs(
    reader: Reader, run: int, spec: BatchSpec, *, folder: Path, files: RunOutputs, say: Callable[[str], None]
) -> WorkerLogs:
    """A file per host; `files` is where the run's output is kept, in its `folder`."""
    template = Template.from_json(spec.template)
    source = Told(
        ended=partial(endings.ended, reader, run),
        ended_since=partial(endings.all_ended, reader, run),
        begun=partial(endings.begun, reader, run),
        running=partial(endings.running, reader, run),
        command=partial(command_words, template),
        size=files.written,
        read=partial(part, folder),
    )
    later = asyncio.get_running_loop().call_later
    return WorkerLogs(folder / "workers", run=run, source=source, later=later, say=say)


def table_of(console: Console, wanted: Wanted) -> RunningJobs | None:
    """The table of running jobs, where somebody can see it."""
    seen = console.stderr_terminal is not None and draws(os.environ)
    return RunningJobs() if seen and wanted.progress == "auto" and not wanted.quiet else None


def command_of(batch: Batch, template: Template, worker: int, job: int) -> str:
    """The command of a job that a worker holds."""
    held = (held.queued for held in batch.hands[worker].open.values() if held.queued.job == job)
    queued = next(held, None)
    return command_words(template, queued.args, job, width=200) if queued else ""
