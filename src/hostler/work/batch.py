"""A batch at work: turns of the pure engine, its effects performed on links, what it prints shown.

Everything that can be decided is decided in `engine.batch`; here facts are fetched and effects carried out, nothing
else. An effect is carried out only after the commit of the turn that it came from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar

from msgspec import Struct

from hostler.bus import Bus, Inbox
from hostler.clock import Clock, Reckoning
from hostler.engine.batch import Batch
from hostler.engine.facts import (
    Ack,
    AskAfter,
    Asked,
    AwaitLease,
    Connect,
    Effect,
    End,
    Fact,
    Finish,
    Follow,
    Heard,
    HostDown,
    HostUp,
    JobsLoaded,
    LeaseOver,
    NeedJobs,
    Release,
    Resize,
    Rest,
    Rested,
    Send,
    StopWanted,
    TakeBack,
    Wake,
    Woke,
    WorkerReleased,
)
from hostler.engine.hands import Try
from hostler.engine.turn import step
from hostler.errors import HostError, HostRefused, RunnerFailed, StoreError, StoreFull
from hostler.model.events import HostEnrolled
from hostler.model.hosts import Host
from hostler.model.jobs import Start
from hostler.model.reports import Down, Held, Output, Report, Result
from hostler.model.runs import Worker
from hostler.model.templates import Template
from hostler.ports import Link, OutputFiles, Store
from hostler.work.asking import LOOK, Asking
from hostler.work.keeping import Keeping, Kept
from hostler.work.launched import AskProviders, Launched, nobody

#: Seconds that a host has to answer when it is connected to, and to let go at the end.
CONNECT = 30.0
RELEASE = 10.0
#: Seconds between TERM and KILL when a run is stopped.
GRACE = 5.0


T = TypeVar("T")


class Show(Protocol):
    """Who is told of output as it arrives; none of it is durable."""

    def piece(self, held: Try, stream: int, data: bytes) -> None:
        """Some output of a running attempt."""
        ...

    def result(self, held: Try, kept: Kept) -> None:
        """An attempt has ended; its output is in `kept` when it was short, else where that says."""
        ...


class News(Protocol):
    """Who is told at once of what goes wrong with a worker's line."""

    def trouble(self, worker: int, why: str) -> None:
        """A worker can't be reached, or its line broke; it is tried again."""
        ...

    def held(self, worker: int, why: str) -> None:
        """A worker begins nothing for now."""
        ...


class Setting(Struct, frozen=True, kw_only=True):
    """One controller's hold on a run; `workers` grows when hosts join."""

    number: int
    workers: dict[int, Worker]
    template: Template
    connect_timeout: float = CONNECT


class BatchWork:
    """One controller's work on one run."""

    def __init__(
        self, batch: Batch, *, setting: Setting, store: Store, bus: Bus, files: OutputFiles,
        make_link: Callable[[Worker], Link], show: Show, news: News, clock: Clock,
        way: Callable[[Host], str] = lambda host: "", took: Callable[[Host], float | None] = lambda host: None,
        stays: bool = False, ask_providers: AskProviders = nobody,
    ) -> None:  # fmt: skip
        self.batch, self._way, self._took = batch, way, took
        self._setting, self._store, self._bus = setting, store, bus
        self._make_link, self._show, self._news, self._clock = make_link, show, news, clock
        self._keeping, self._files = Keeping(files), files
        self._asking = Asking(store, setting.number, visit=batch.visiting, stays=stays)
        self._inbox: Inbox[Fact] = Inbox()
        self._launched = Launched(ask_providers, setting.workers, tell=self._inbox.put)
        self._links: dict[int, Link] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stuck = False
        self._group: asyncio.TaskGroup

    def stop(self, why: str) -> None:
        """Ask for the end: running jobs are ended, what has not run waits for a resume."""
        self._inbox.put(StopWanted(why))

    async def run(self) -> bool:
        """Work until the run is over; True when jobs were left that no worker could take.

        Raises StoreError. Cancelled, it leaves everything as it stands: hosts go on until their lease ends.
        """
        links: list[Link] = []
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                try:
                    asked = await self._asking.look()
                    self._spawn(self._notice())
                    await self._turns(asked)
                finally:
                    links += self._links.values()
                    self._links.clear()  # from here on nobody listens: a line that goes now is no news
                    for task in self._tasks:
                        task.cancel()
        except BaseExceptionGroup as group:
            found = group.subgroup(StoreError)
            raise group if found is None else found.exceptions[0] from None
        finally:
            leaving = [link.close(forget=False, deadline=1.0) for link in links]
            await asyncio.gather(*leaving, return_exceptions=True)
        return self._stuck

    async def _notice(self) -> None:
        """Notice what other processes want."""
        while True:
            await self._clock.sleep(LOOK)
            with suppress(StoreFull):  # the store is held for the moment: the next look tells
                for asked in await self._asking.look():
                    self._inbox.put(asked)

    async def _turns(self, asked: Iterable[Asked]) -> None:
        facts: list[Fact] = list(asked)
        reckoning = Reckoning(self._clock)
        while True:
            now = reckoning.now()
            told, credit = await self._prepare(facts)
            events, effects = step(self.batch, told, at=now)
            await self._room(lambda: self._keeping.settle(now=self._clock.steady()))
            if events:
                await self._bus.commit(events, before=self._files.sync)
                if any(isinstance(event, HostEnrolled) for event in events):
                    for worker in await self._stored(lambda: self._store.workers(self._setting.number)):
                        self._setting.workers[worker.id] = worker
            facts = await self._perform(effects)
            for id, size in credit.items():
                if (link := self._links.get(id)) is not None:
                    link.credit(size)
            if self.batch.finished:
                return
            if not facts:
                facts = await self._inbox.take(patience=1.0 if self._keeping.waiting else None)

    # -- facts ------------------------------------------------------------------------------------------------

    async def _prepare(self, facts: Iterable[Fact]) -> tuple[list[Fact], dict[int, int]]:
        """Put output where it belongs; the facts that the engine is to judge, and the credit owed to each worker."""
        told: list[Fact] = []
        asked: list[Fact] = []  # comes first: how its jobs stand is looked up as of the last commit
        credit: dict[int, int] = {}
        over: set[tuple[int, int]] = set()  # what a host says of these once more is neither kept nor shown
        for fact in facts:
            if isinstance(fact, Asked):
                asked.append(await self._stored(partial(self._asking.standing, fact)))
                continue
            if isinstance(fact, Heard):
                report = fact.report
                if isinstance(report, Output):
                    credit[fact.worker] = credit.get(fact.worker, 0) + len(report.data)
                    held = self._held(fact.worker, report.serial)
                    if held is not None and (fact.worker, report.serial) not in over:
                        await self._output(fact.worker, (held.queued.job, held.n), report)
                    continue
                if (
                    isinstance(report, Result)
                    and (held := self._held(fact.worker, report.serial)) is not None
                    and (fact.worker, report.serial) not in over
                ):
                    over.add((fact.worker, report.serial))
                    key = (held.queued.job, held.n)
                    try:
                        kept = self._keeping.result(key, report)
                    except StoreFull:
                        kept = await self._room(partial(self._keeping.result, key, report))
                    self._show.result(held, kept)
                    fact = Heard(fact.worker, report, kept.ref)
            told.append(fact)
        return asked + told, credit

    async def _output(self, worker: int, key: tuple[int, int], piece: Output) -> None:
        """Keep a piece of output. One that leaves a gap is the host's fault: its line is dropped and taken up anew."""
        whole = await self._room(partial(self._keeping.output, key, piece, now=self._clock.steady()))
        if not whole and (link := self._links.get(worker)) is not None:
            self._hear(worker, link, Down("its output came with a gap"))

    async def _room(self, keep: Callable[[], T]) -> T:
        """Keep something, however long the disk is full: hosts hold back meanwhile, since no credit is given."""
        while True:
            try:
                return keep()
            except StoreFull as error:
                await self._bus.hold(error)

    async def _stored(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the store for something, however long it is away: nothing goes on without the answer."""
        while True:
            try:
                return await ask()
            except StoreFull as error:
                await self._bus.hold(error)

    def _held(self, worker: int, serial: int) -> Try | None:
        return self.batch.hands[worker].open.get(serial)

    def _hear(self, worker: int, link: Link, report: Report) -> None:
        """Take in what a link delivers; an old link of the same worker is no longer listened to."""
        if self._links.get(worker) is not link:
            return
        if isinstance(report, Down):
            del self._links[worker]
            self._spawn(link.close(forget=False, deadline=1.0))
            if not report.fatal:
                self._news.trouble(worker, report.why)
            self._inbox.put(HostDown(worker, report.why, report.fatal, report.nonsense))
            return
        if isinstance(report, Held):
            self._news.held(worker, report.why)
            return
        if isinstance(report, Output) and (held := self._held(worker, report.serial)) is not None:
            self._show.piece(held, report.stream, report.data)
        self._inbox.put(Heard(worker, report))

    # -- effects ----------------------------------------------------------------------------------------------

    async def _perform(self, effects: Iterable[Effect]) -> list[Fact]:
        """Carry effects out; what was asked of the store is answered at once, while it says what the engine knows."""
        facts: list[Fact] = []
        for effect in effects:
            if isinstance(effect, NeedJobs):
                jobs = partial(
                    self._store.queued, self._setting.number, after=effect.after, limit=effect.limit
                )
                facts.append(JobsLoaded(tuple(await self._stored(jobs))))
            elif isinstance(effect, Connect):
                self._spawn(self._connect(effect))
            elif isinstance(effect, Rest):
                self._spawn(self._later(effect.seconds, Rested(effect.worker)))
            elif isinstance(effect, AwaitLease):
                self._spawn(self._later(effect.seconds, LeaseOver(effect.worker, effect.since)))
            elif isinstance(effect, AskAfter):
                self._spawn(self._launched.after(effect.worker))
            elif isinstance(effect, Wake):
                self._spawn(self._later(effect.seconds, Woke(effect.moment)))
            elif isinstance(effect, Release):
                self._spawn(self._release(effect.worker))
            elif isinstance(effect, Finish):
                self._stuck = effect.stuck
            elif (link := self._links.get(effect.worker)) is not None:
                self._speak(link, effect)
        if facts:
            facts += self._inbox.peek()
        return facts

    def _speak(self, link: Link, effect: Send | TakeBack | End | Resize | Ack | Follow) -> None:
        """Say one thing to a worker; when its line is gone there is nobody to say it to, and the engine will know."""
        if isinstance(effect, Send):
            render, timeout = self._setting.template.render, self.batch.spec.timeout
            starts = []
            for serial, job, n, args in effect.attempts:
                made = render(args, job)
                starts.append(Start(serial, job, n, made.words, made.shell, timeout))
            link.start(starts)
        elif isinstance(effect, Ack):
            link.ack(effect.serials)
        elif isinstance(effect, TakeBack):
            link.revoke(effect.serials)
        elif isinstance(effect, End):
            link.kill(effect.serials, grace=GRACE, ending=effect.ending)
        elif isinstance(effect, Resize):
            link.resize(effect.slots)
        else:
            for serial, job, n in effect.attempts:
                out, err = self._keeping.held((job, n))
                link.follow(serial, out=out, err=err)
            link.ready()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _later(self, seconds: float, fact: Fact) -> None:
        await self._clock.sleep(seconds)
        self._inbox.put(fact)

    async def _connect(self, effect: Connect) -> None:
        """Reach a worker; every way in which this can end is a fact."""
        await self._clock.sleep(effect.delay)
        worker = self._setting.workers[effect.worker]
        link = self._make_link(worker)
        try:
            hello = await link.open(
                effect.ask, given=effect.given, deliver=lambda report: self._hear(worker.id, link, report),
                deadline=self._setting.connect_timeout,
            )  # fmt: skip
        except (HostRefused, RunnerFailed) as error:
            nonsense = isinstance(error, RunnerFailed)
            self._inbox.put(HostDown(worker.id, error.why, fatal=True, nonsense=nonsense))
        except HostError as error:
            self._news.trouble(worker.id, error.why)
            self._inbox.put(HostDown(worker.id, error.why))
        else:
            self._links[worker.id] = link
            there, host = hello.vitals.now, worker.host
            skew = None if there is None else there - self._clock.now()
            self._inbox.put(HostUp(worker.id, hello, self._way(host), took=self._took(host), skew=skew))

    async def _release(self, worker: int) -> None:
        link = self._links.pop(worker, None)
        if link is not None:
            with suppress(HostError):
                await link.close(forget=True, deadline=RELEASE)
        self._inbox.put(WorkerReleased(worker))
