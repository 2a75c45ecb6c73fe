"""The one module that knows every implementation: it puts stores, transports, links and views together.

Nothing is decided here, and nothing below it is ever handed the settings.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from hostler.bus import Bus
from hostler.clock import Clock, SystemClock
from hostler.engine.batch import Batch
from hostler.engine.hands import Line
from hostler.engine.summary import Pace, Progress, exit_code
from hostler.links.attempt import AttemptLink
from hostler.links.choosing import Choices, ChoosingLink
from hostler.links.runner import RunnerLink
from hostler.links.sudo import Sudo
from hostler.model.durations import format_duration
from hostler.model.endings import Ended
from hostler.model.events import JobsRequeued, RunFinished, RunStarted
from hostler.model.hosts import Host
from hostler.model.jobs import RETRYABLE, JobState, OutputRef
from hostler.model.runs import BatchSpec, Worker
from hostler.model.secrets import Secret
from hostler.model.templates import Template
from hostler.ports import Provider, Transport, View
from hostler.stores.outputs import RunOutputs, read_both, read_output, tail
from hostler.stores.ownership import BEAT
from hostler.stores.reading import Reader
from hostler.stores.reads import endings
from hostler.stores.reads.runs import run as find_run
from hostler.stores.sqlite import Claim, SqliteStore
from hostler.transports.choosing import Choosing
from hostler.views.console import Console
from hostler.views.hostnews import HostNews
from hostler.views.inorder import InOrder, Order
from hostler.views.live import Live, draws
from hostler.views.requestnews import RequestNews
from hostler.views.running import RunningJobs
from hostler.views.showing import JobOutput, LineOutput, Printer
from hostler.views.tables import counted, listed
from hostler.views.tags import tag_of
from hostler.views.words import command_words
from hostler.views.workerlogs import WorkerLogs
from hostler.work.batch import BatchWork, Setting


def owner_name() -> str:
    """This process, as people are told of it."""
    return f"{getpass.getuser()}@{socket.gethostname()} (pid {os.getpid()})"


def new_uid() -> str:
    """128 random bits: a run's name everywhere outside its store."""
    return secrets.token_hex(16)


def new_token() -> str:
    """64 random bits: what a run's spool on one host is called."""
    return secrets.token_hex(8)


#: Who can launch machines.
PROVIDERS = ("sandbox",)


def provider(name: str) -> Provider:
    """The provider called `name`, one of PROVIDERS."""
    from hostler.providers.sandbox import Sandbox

    assert name in PROVIDERS
    return Sandbox()


def sandbox_hosts() -> tuple[Host, ...]:
    """The sandbox hosts of this machine, which are in every inventory."""
    from hostler.providers.sandbox import hosts

    return hosts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How a controller is to work on a run. `options` override the run's own from now on.

    `launch` is how many machines `provider` is to launch for it; with `keep` they are left running at its end.
    """

    options: dict[str, Any] = field(default_factory=dict)
    launch: int = 0
    provider: str = "sandbox"
    keep: bool = False
    retry: bool = False
    line_buffer: bool = False
    keep_order: bool = False
    tag: str | None = None
    quiet: bool = False
    colour: bool = False
    progress: str = "auto"
    worker_logs: bool = False
    strict: bool | None = None
    connect_timeout: float = 30.0
    stop_on_pipe: bool = False
    forks: int = 64
    as_password: Secret | None = None
    transport: str = "auto"
    password: Secret | None = None
    passphrase: Secret | None = None


class OpenRun:
    """A run that this process owns, ready to be worked on."""

    def __init__(
        self, work: BatchWork, bus: Bus, live: Live, *, number: int, workers: dict[int, Worker],
        transport: Transport,
    ) -> None:  # fmt: skip
        self.work, self.number, self.live = work, number, live
        self._bus, self._workers, self._transport = bus, workers, transport
        self._pace: Pace | None = None
        self._counts, self.was_over = work.batch.counts.copy(), False
        self.signal: int | None = None
        self.beat: Callable[[], None] = lambda: None
        self.logs: WorkerLogs | None = None

    async def go(self) -> int:
        """Work until the run is over, and record how; its exit code. Raises StoreError."""
        clock = SystemClock()
        beside = [asyncio.create_task(self.live.run()), asyncio.create_task(self._beating(clock))]
        try:
            stuck = await self.work.run()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            self.live.end()
            await self._transport.close()
            if self.logs is not None:
                self.logs.flush()
        counts = self.work.batch.counts
        left = bool(counts[JobState.QUEUED] + counts[JobState.OPEN])
        batch = self.work.batch
        # Who is stopped by a request is stopped as by TERM, only that the word took another way.
        asked = signal.SIGTERM if batch.stopped_for and left else None
        code = exit_code(counts, signal=self.signal or asked, halted=batch.halted and left)
        state = "stopped" if stuck or left else "finished"
        if not batch.visiting or (self.was_over and batch.counts != self._counts):
            await self._bus.commit([RunFinished(at=clock.now(), state=state, exit_code=code)])
        return code

    async def _beating(self, clock: Clock) -> None:
        """Leave signs of life, by which the next owner knows how long hosts have been without us."""
        while True:
            self.beat()
            await clock.sleep(BEAT)

    def stop(self, number: int, why: str) -> None:
        """Ask for the end, because of the signal `number`."""
        self.signal = number
        self.work.stop(why)

    def unfinished(self) -> list[tuple[str, list[int]]]:
        """Hosts that may still be working for this run, with the jobs they hold."""
        hands = [hand for hand in self.work.batch.hands.values() if hand.open]
        return [
            (self._workers[hand.id].host.name, [held.queued.job for held in hand.open.values()])
            for hand in hands
        ]

    def progress(self) -> Progress:
        """The run at this moment."""
        batch, counts = self.work.batch, self.work.batch.counts
        hands = [hand for hand in batch.hands.values() if hand.id in self._workers]
        up = [hand for hand in hands if hand.line in (Line.UP, Line.LEAVING, Line.RELEASED)]
        out = [hand for hand in hands if hand.line in (Line.RESTING, Line.LOST) or hand.failures]
        unseen = [hand for hand in hands if hand.open and hand.went]
        done = sum(count for state, count in counts.items() if state.final)
        now = SystemClock().steady()
        left = counts[JobState.QUEUED] + counts[JobState.OPEN]
        if self._pace is None and (up or done):
            self._pace = Pace.begin(now, done)
        elif self._pace is not None:
            self._pace = self._pace.seen(now, done)
        phase = ""
        if batch.draining and not batch.halted:
            phase = f"draining: waiting for {counted(counts[JobState.OPEN], 'job')} to end"
        elif batch.halted or batch.draining:
            phase = f"halting: waiting for {counted(counts[JobState.OPEN], 'job')} to end"
        elif batch.stopping:
            phase = f"stopping: waiting for {counted(counts[JobState.OPEN], 'job')} to end"
        elif batch.paused:
            phase = "paused"
        elif not up and left:
            phase = "connecting"
        elif unseen and not any(hand.open for hand in hands if not hand.went):
            jobs = counted(sum(len(hand.open) for hand in unseen), "job")
            names = listed([self._workers[hand.id].host.name for hand in unseen], shown=2)
            rest = round(max(0.0, min(hand.until for hand in unseen) - SystemClock().now()))
            phase = f"{jobs} left on {names}, given up in {format_duration(rest)}"
        known = (JobState.OK, JobState.FAILED, JobState.TIMEOUT, JobState.LOST)
        return Progress(
            number=self.number,
            total=done + left,
            queued=counts[JobState.QUEUED],
            running=batch.running,
            ok=counts[JobState.OK],
            failed=counts[JobState.FAILED],
            timed_out=counts[JobState.TIMEOUT],
            lost=counts[JobState.LOST],
            other=done - sum(counts[state] for state in known),
            hosts_up=len(up),
            hosts_total=len(hands),
            hosts_out=tuple(self._workers[hand.id].host.name for hand in out if hand not in up),
            rate=self._pace.rate if self._pace else None,
            eta=self._pace.eta(left) if self._pace else None,
            phase=phase,
        )


async def open_batch(
    store: SqliteStore, claim: Claim, *, wanted: Wanted, console: Console, views: Sequence[View] = (),
    visit: bool = False,
) -> OpenRun:  # fmt: skip
    """Take up a run that was claimed, new or not: the same path for both. Raises StoreError.

    A `visit` answers what is asked of a run that nobody works on, and does nothing else.
    """
    clock, number = SystemClock(), claim.run
    folder = store.run_folder(number)
    assert folder is not None, "a run is worked on from a store on disk"
    files = RunOutputs(folder, epoch=claim.epoch)
    table = _table(console, wanted)
    read = partial(read_output, folder)
    printer = Printer(console, read=read, tag=tag_of(wanted.tag) if wanted.tag else None, table=table)
    output = _output(printer, console, wanted=wanted, order=lambda: _Order(store.reader, number, claim.seq))
    news = HostNews(console.note)
    bus = Bus(
        store,
        run=number,
        epoch=claim.epoch,
        seq=claim.seq,
        views=[
            output,
            news,
            *(() if visit else (RequestNews(console.note),)),
            *views,
            *((table,) if table else ()),
        ],
        clock=clock,
        say=console.urge,
    )
    started = RunStarted(at=clock.now(), epoch=claim.epoch, owner=owner_name(), options=wanted.options)
    if not visit:
        await bus.commit([started])
    rows = await store.batch_rows(number)
    if wanted.retry:
        states = tuple(state for state in RETRYABLE if rows.counts.get(state))
        count = sum(rows.counts[state] for state in states)
        if count:
            put_back = JobsRequeued(at=clock.now(), states=tuple(map(int, states)), count=count)
            await bus.commit([put_back])
            rows = await store.batch_rows(number)
    spec, workers = rows.spec, {worker.id: worker for worker in rows.workers}
    for filed in _files(store.reader, number, spec, read=read):
        bus.watch(filed)
    logs = None
    if wanted.worker_logs:
        logs = _worker_logs(store.reader, number, spec, folder=folder, say=console.note)
        bus.watch(logs)
    printer.names = _Names(workers)
    news.names = {worker.id: worker.host.name for worker in rows.workers}
    assert store.folder is not None
    choosing = ways(store.folder, wanted=wanted, say=console.note)
    transport = _limited(choosing, wanted=wanted)
    batch = Batch.load(replace(rows, last_seen=claim.last_seen))
    if visit:
        batch.visiting, batch.stopping, batch.draining = True, False, False
    work = BatchWork(
        batch,
        setting=Setting(
            number=number,
            workers=workers,
            template=Template.from_json(spec.template),
            connect_timeout=wanted.connect_timeout,
        ),
        store=store,
        bus=bus,
        files=files,
        make_link=partial(
            _link,
            transport=transport,
            claim=claim,
            batch=batch,
            password=wanted.as_password,
            choices=Choices(console.note),
        ),
        way=choosing.taken,
        show=output,
        news=news,
        clock=clock,
    )
    if table is not None:
        table.names = news.names
        table.command = partial(_command, work.batch, Template.from_json(spec.template))
        table.load(rows.open)
    progress: list[Callable[[], Progress]] = []
    live = Live(
        console,
        lambda: progress[0](),
        clock=clock,
        colour=wanted.colour,
        quiet=wanted.quiet or wanted.progress == "none",
        table=table,
    )
    run = OpenRun(work, bus, live, number=number, workers=workers, transport=transport)
    run.was_over = visit and find_run(store.reader, number).state in ("finished", "stopped")
    run.beat = partial(store.beat, claim)
    run.logs = logs
    progress.append(run.progress)
    return run


def _output(
    printer: Printer, console: Console, *, wanted: Wanted, order: Callable[[], Order]
) -> JobOutput | LineOutput | InOrder:
    """Who prints what jobs write."""
    if wanted.keep_order:
        return InOrder(printer, order)
    return LineOutput(printer, console) if wanted.line_buffer else JobOutput(printer)


@dataclass(frozen=True, slots=True)
class _Order:
    """A run's jobs as its store has them, and the attempts that ended behind event number `since`."""

    reader: Reader
    run: int
    since: int

    def unfinished(self, after: int) -> int | None:
        return endings.next_unfinished(self.reader, self.run, after=after)

    def between(self, after: int, before: int | None) -> Iterator[Ended]:
        return endings.ended_between(self.reader, self.run, after=after, before=before, since=self.since)


class _Names(Mapping[int, str]):
    """The names of workers, also of those that join later."""

    def __init__(self, workers: Mapping[int, Worker]) -> None:
        self._workers = workers

    def __getitem__(self, worker: int) -> str:
        return self._workers[worker].host.name

    def __iter__(self) -> Iterator[int]:
        return iter(self._workers)

    def __len__(self) -> int:
        return len(self._workers)


def _files(
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


def _worker_logs(
    reader: Reader, run: int, spec: BatchSpec, *, folder: Path, say: Callable[[str], None]
) -> WorkerLogs:
    """A file per host, brought up to date."""
    template = Template.from_json(spec.template)
    logs = WorkerLogs(
        folder / "workers",
        run=run,
        fetch=partial(endings.ended, reader, run),
        command=lambda ended: command_words(template, ended.args, ended.job),
        read=partial(read_both, folder),
        tail=partial(tail, folder),
        later=asyncio.get_running_loop().call_later,
        say=say,
    )
    logs.begin(endings.all_ended(reader, run))
    return logs


def _table(console: Console, wanted: Wanted) -> RunningJobs | None:
    """The table of running jobs, where somebody can see it."""
    seen = console.stderr_terminal is not None and draws(os.environ)
    return RunningJobs() if seen and wanted.progress == "auto" and not wanted.quiet else None


def _command(batch: Batch, template: Template, worker: int, job: int) -> str:
    """The command of a job that a worker holds."""
    held = (held.queued for held in batch.hands[worker].open.values() if held.queued.job == job)
    queued = next(held, None)
    return command_words(template, queued.args, job, width=200) if queued else ""


def _limited(choosing: Choosing, *, wanted: Wanted) -> Transport:
    """How hosts are reached: each its own way, and not too many at once."""
    from hostler.transports.limited import LimitedTransport

    return LimitedTransport(choosing, limit=wanted.forks)


def ways(state: Path, *, wanted: Wanted, say: Callable[[str], None]) -> Choosing:
    """Every way to hosts, and the choice among them; `why` tells it without contacting a host."""
    # A quarter of a second, which a refusal needn't wait for.
    from hostler.transports.asyncssh import AsyncsshTransport
    from hostler.transports.local import LocalTransport
    from hostler.transports.logins import Secrets
    from hostler.transports.needs import Needs
    from hostler.transports.openssh import OpensshTransport
    from hostler.transports.sshconfig import files
    from hostler.transports.survey import survey

    secrets = Secrets(password=wanted.password, passphrase=wanted.passphrase)
    asyncssh = AsyncsshTransport(state=state, strict=wanted.strict, secrets=secrets, say=say)
    openssh = OpensshTransport(state=state, strict=wanted.strict, secrets=secrets, say=say)
    needs = Needs(survey(files(None)), said=openssh.said, way=asyncssh.way, env=os.environ)
    every: dict[str, Transport] = {"asyncssh": asyncssh, "openssh": openssh, "local": LocalTransport()}
    return Choosing(every, usual=wanted.transport, needs=needs.of)


def _link(
    worker: Worker,
    *,
    transport: Transport,
    claim: Claim,
    batch: Batch,
    password: Secret | None,
    choices: Choices,
) -> ChoosingLink:
    spec = batch.spec
    runner = RunnerLink(
        worker.host,
        transport=transport,
        clock=SystemClock(),
        uid=claim.uid,
        run=claim.run,
        token=worker.token,
        epoch=claim.epoch,
        slots=spec.slots or worker.host.slots,
        lease=spec.lease,
        sudo=Sudo(spec.as_user, password) if spec.as_user else None,
        pty=spec.pty,
        output_limit=spec.output_limit,
        spool_max=spec.spool_max,
        spool_keep=spec.spool_keep,
        env=spec.env,
        workdir=spec.workdir,
    )
    by_sh = partial(
        AttemptLink, worker.host, transport=transport, clock=SystemClock(), uid=claim.uid, run=claim.run,
        token=worker.token, epoch=claim.epoch, slots=spec.slots or worker.host.slots, lease=spec.lease,
        output_limit=spec.output_limit, spool_keep=spec.spool_keep, env=spec.env, workdir=spec.workdir,
    )  # fmt: skip
    unable = "--as" if spec.as_user else "--pty" if spec.pty else ""
    return ChoosingLink(runner, attempts=by_sh, choices=choices, spool=worker.spool, unable=unable)


async def submit(
    store: SqliteStore,
    *,
    spec: BatchSpec,
    command: str,
    hosts: Sequence[Host],
    jobs: Iterable[tuple[tuple[bytes, ...], bytes]],
    uid: str,
) -> int:
    """Accept a batch: when this returns its number, all of it is on disk. Raises UsageError, StoreError."""
    return await store.create_batch(
        uid=uid,
        spec=spec,
        command=command,
        hosts=hosts,
        tokens=[new_token() for _ in hosts],
        jobs=jobs,
        at=SystemClock().now(),
    )


def with_state(path: Path | None = None) -> SqliteStore:
    """The store of this account's state folder, or of `path`. Raises StoreError."""
    from hostler.stores.folder import state_dir
    from hostler.stores.sqlite import open_store

    return open_store(path or state_dir())


__all__ = ["OpenRun", "Wanted", "open_batch", "provider", "sandbox_hosts", "submit", "with_state"]
