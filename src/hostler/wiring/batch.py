"""A batch accepted, and opened to be worked on: the same path for a new run and for one taken up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from msgspec.structs import replace

from hostler.bus import Bus
from hostler.clock import SystemClock
from hostler.engine.batch import Batch
from hostler.engine.summary import Progress
from hostler.links.choosing import Choices
from hostler.model.events import JobsRequeued, RunStarted
from hostler.model.hosts import Host
from hostler.model.jobs import RETRYABLE
from hostler.model.runs import BatchSpec
from hostler.model.templates import Template
from hostler.ports import View
from hostler.stores.outputs import RunOutputs
from hostler.stores.reads.batch import spec as spec_of
from hostler.stores.reads.kept import place_of, reading
from hostler.stores.reads.runs import run as find_run
from hostler.stores.store import Claim, RowStore
from hostler.views.console import Console
from hostler.views.fanjson import HostLines
from hostler.views.hostnews import HostNews
from hostler.views.live import Live
from hostler.views.requestnews import RequestNews
from hostler.views.showing import Printer
from hostler.views.tags import tag_of
from hostler.wiring.names import new_token, owner_name
from hostler.wiring.openrun import OpenRun
from hostler.wiring.reaching import Reach
from hostler.wiring.shown import (
    Names,
    StoredOrder,
    command_of,
    fan_views,
    files_beside,
    gathered_by,
    output_by,
    prefixes,
    table_of,
    worker_logs,
)
from hostler.wiring.wanted import Wanted
from hostler.wiring.ways import link
from hostler.work.batch import BatchWork, Setting
from hostler.work.launched import AskProviders, nobody

#: How often who only visits tries a host: one that stops a run gives each up at its first failure.
TRIES = 3


async def submit(
    store: RowStore,
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


async def open_batch(
    store: RowStore, claim: Claim, *, wanted: Wanted, console: Console, views: Sequence[View] = (),
    visit: bool = False, reach: Reach | None = None, stays: bool = False, ask_providers: AskProviders = nobody,
) -> OpenRun:  # fmt: skip
    """Take up a run that was claimed, new or not: the same path for both. Raises StoreError.

    A `visit` answers what is asked of a run that nobody works on, and does nothing else. `reach` are the ways to its
    hosts where some of them have been called already; `ask_providers` says which of those launched for it have ended.
    """
    clock, number = SystemClock(), claim.run
    folder = store.run_folder(number)
    assert folder is not None, "a run is worked on from a store on disk"
    files = RunOutputs(folder, epoch=claim.epoch)
    table = table_of(console, wanted)
    read = reading(store.reader, number, folder=folder)
    row_spec = spec_of(store.reader, number)
    fan = wanted.fan if row_spec.fanout else None
    tag = tag_of(wanted.tag) if wanted.tag else None
    if tag is None and fan is not None and fan.prefix:
        tag = prefixes(store.reader, number, console)
    printer = Printer(console, read=read, tag=tag, table=table)
    output = output_by(
        printer,
        console,
        wanted=wanted,
        order=lambda: StoredOrder(store.reader, number, claim.seq),
        fan=fan,
        gather=partial(gathered_by, store.reader, number, read=read),
    )
    # Who visits says at the end what came of it, of each host once; and a fan-out tells of its hosts like with like.
    news = HostNews(console.note if not visit else lambda _: None, hosts=fan is None)
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
    started = RunStarted(
        at=clock.now(),
        epoch=claim.epoch,
        owner=owner_name(),
        options=wanted.options,
        kept=place_of(folder),
    )
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
    wanted = wanted.on(spec)
    for filed in files_beside(store.reader, number, spec, read=read):
        bus.watch(filed)
    beside = fan_views(store.reader, number, fan, console, read=read) if fan is not None and not visit else ()
    for each in beside:
        bus.watch(each)
    logs = None
    if wanted.worker_logs:
        logs = worker_logs(store.reader, number, spec, folder=folder, files=files, say=console.note)
        logs.begin(bus.seq)
        bus.watch(logs)
    printer.names = Names(workers)
    news.names = {worker.id: worker.host.name for worker in rows.workers}
    assert store.folder is not None
    reach = reach or Reach(store.folder, wanted=wanted, tries=TRIES if visit else 1)
    reach.say_to(console.note)
    if reach.keys is not None:
        reach.keys.begin(claim.uid, (worker.host for worker in rows.workers), make=not visit)
    choosing, transport = reach.choosing, reach.transport
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
            link,
            transport=transport,
            claim=claim,
            batch=batch,
            password=wanted.as_password,
            choices=Choices(console.note),
            ahead=reach.ahead,
        ),
        way=choosing.taken,
        stays=stays,
        ask_providers=ask_providers,
        took=choosing.took,
        show=output,
        news=news,
        clock=clock,
    )
    if table is not None:
        table.names = news.names
        table.command = partial(command_of, work.batch, Template.from_json(spec.template))
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
    run.visit = visit
    run.was_over = visit and find_run(store.reader, number).exit_code is not None
    run.beat = partial(store.beat, claim)
    run.logs, run.keys = logs, reach.keys
    run.last_words = [each.end for each in beside if isinstance(each, HostLines)]
    progress.append(run.progress)
    return run
