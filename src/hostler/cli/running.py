"""A batch from the terminal's side: submitted or taken up, worked on, stopped by signals, reported.

The first INT or TERM ends the run in order; a second one leaves at once, and says what that leaves behind.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from msgspec.structs import replace

from hostler.cli.fanned import asked_by_enter, last_lines, still_there
from hostler.cli.leaving import may_still_run, with_secrets
from hostler.cli.machines import Machines
from hostler.cli.saying import say
from hostler.cli.stopping import Signals, name
from hostler.cli.storing import open_store
from hostler.clock import SystemClock
from hostler.errors import RunBusy, StaleEpoch, StoreError
from hostler.model.commands import to_type
from hostler.model.hosts import Host, refuse_twins
from hostler.model.jobs import RETRYABLE
from hostler.model.runs import BatchSpec, RunRow
from hostler.ports import Provider
from hostler.stores.store import Claim, RowStore
from hostler.views.console import Console
from hostler.views.tables import counted
from hostler.wiring.batch import open_batch, submit
from hostler.wiring.machines import provider
from hostler.wiring.names import new_uid, owner_name
from hostler.wiring.openrun import OpenRun
from hostler.wiring.reaching import Reach
from hostler.wiring.wanted import Wanted

#: Seconds that who leaves at once gives the terminal to take what was printed.
OFF_SCREEN = 1.0


class Source(Protocol):
    """Where a run's jobs come from; `skipped` are lines that were none."""

    skipped: int

    def jobs(self, *, check: Callable[[], None]) -> Iterable[tuple[tuple[bytes, ...], bytes]]:
        """Every job, as arguments and content key."""
        ...


async def new_run(
    *,
    spec: BatchSpec,
    command: str,
    hosts: Sequence[Host],
    source: Source,
    wanted: Wanted,
    reach: Reach,
    signals: Signals,
) -> int:
    """Accept a batch and work on it, its hosts being called by `reach` meanwhile; the exit code."""
    uid, store = new_uid(), open_store()
    if wanted.launch:
        spec = replace(spec, providers=(wanted.provider,))
    machines = Machines(_providers(spec), run=uid, keep=wanted.keep, say=say)
    try:
        async with machines.ended_on_failure():
            claim = await _accepted(
                store,
                spec,
                command,
                hosts,
                source,
                wanted=wanted,
                uid=uid,
                machines=machines,
                signals=signals,
            )
        async with _held(store, claim, machines):
            return await _work(store, claim, wanted=wanted, machines=machines, signals=signals, reach=reach)
    finally:
        await store.close()


async def _accepted(
    store: RowStore, spec: BatchSpec, command: str, hosts: Sequence[Host], source: Source, *,
    wanted: Wanted, uid: str, machines: Machines, signals: Signals,
) -> Claim:  # fmt: skip
    """Launch what is to be launched, put the jobs on disk, and take the run; or leave nothing behind."""
    try:
        launched = await _launched(machines, wanted, token=uid)
        number = await submit(
            store,
            spec=spec,
            command=command,
            hosts=[*hosts, *launched],
            jobs=source.jobs(check=signals.check),
            uid=uid,
        )
    except BaseException as error:
        if signals.seen and not isinstance(error, StoreError):  # that one knows better what became of it
            say(f"{name(signals.seen[0])}: no run was begun")
        raise
    signals.hold()
    if spec.seed is not None and not wanted.quiet:
        say(f"shuffled; --shuf --seed {spec.seed} gives this order again")
    if source.skipped and not wanted.quiet:
        say(f"{counted(source.skipped, 'empty line')} skipped: no job in them")
    return await store.claim(number, owner=owner_name(), at=SystemClock().now())


async def resumed_run(called: str, *, hosts: Sequence[Host], wanted: Wanted) -> int:
    """Go on with a run, or watch it while somebody else does; the exit code."""
    from hostler.cli.reaching import refuse_unreachable
    from hostler.stores.reads.batch import workers
    from hostler.stores.reads.runs import resolve, run

    store = open_store()
    try:
        number = resolve(store.reader, called)
        refuse_unreachable((worker.host for worker in workers(store.reader, number)), wanted)
        with Signals() as signals:
            try:
                for _ in range(1000):
                    row = run(store.reader, number)
                    if _over(row, wanted):
                        return _report(store, number, wanted=wanted, signal_number=None)
                    try:
                        claim = await store.claim(number, owner=owner_name(), at=SystemClock().now())
                    except RunBusy:
                        if wanted.retry:
                            raise
                        if (ended := await _followed(store, number, wanted)) is not None:
                            return ended
                        continue  # its owner died: the run is ours to go on with
                    if not _over(run(store.reader, number), wanted):
                        return await _go_on(store, claim, hosts=hosts, wanted=wanted, signals=signals)
                    await store.release(claim)  # it was ended while we came
            except asyncio.CancelledError:
                if not signals.seen:
                    raise
                return 128 + signals.seen[0]
        raise RunBusy(number, "owners that come and go")
    finally:
        await store.close()


def _over(row: RunRow, wanted: Wanted) -> bool:
    """Whether a run has nothing left to be done as wanted."""
    if row.state != "finished":
        return False
    if not wanted.retry:
        return True
    if any(row.counts.get(state.word) for state in RETRYABLE):
        return False
    say(f"{row.verb} {row.number}: nothing to try again")
    return True


async def _followed(store: RowStore, number: int, wanted: Wanted) -> int | None:
    """Watch a run that another process works on; its exit code, or None when that one has died."""
    from hostler.cli.watching import watch

    try:
        ended = await watch(
            store, number, quiet=wanted.quiet, colour=wanted.colour, draws=wanted.progress != "none"
        )
    except asyncio.CancelledError:
        say(f"no longer following batch {number}; it goes on")
        raise
    if ended is not None:
        _report(store, number, wanted=wanted, signal_number=None)
    return ended


def _providers(spec: BatchSpec) -> list[Provider]:
    """Who launches a run's machines. Those that work on without us last for as long as they keep results."""
    fuse = spec.spool_keep if spec.detached else None
    return [provider(each, fuse=fuse) for each in spec.providers]


async def _go_on(
    store: RowStore, claim: Claim, *, hosts: Sequence[Host], wanted: Wanted, signals: Signals
) -> int:
    """Take a claimed run up, with more hosts if any were given."""
    from hostler.stores.reads.batch import spec

    kept = spec(store.reader, claim.run)
    providers = list(kept.providers)
    if wanted.launch and wanted.provider not in providers:
        providers.append(wanted.provider)
        wanted = replace(wanted, options={**wanted.options, "providers": providers})
    changed = {each: wanted.options[each] for each in ("lease", "spool_keep") if each in wanted.options}
    from_now_on = _providers(replace(kept, providers=tuple(providers), **changed))
    machines = Machines(from_now_on, run=claim.uid, keep=wanted.keep, say=say)
    async with _held(store, claim, machines):
        refuse_twins(hosts, enrolled=[each.host for each in await store.workers(claim.run)])
        await machines.adopt()
        launched = await _launched(machines, wanted, token=f"{claim.uid}-{claim.epoch}")
        if hosts or launched:
            await store.add_workers(claim, [*hosts, *launched])
        return await _work(store, claim, wanted=wanted, machines=machines, signals=signals)


@asynccontextmanager
async def _held(store: RowStore, claim: Claim, machines: Machines) -> AsyncIterator[None]:
    """Let go of a run in the end. Where something failed its machines are ended before: they might be adopted after."""
    try:
        async with machines.ended_on_failure():
            yield
    finally:
        with suppress(StoreError):  # the lock goes with this process, and nobody goes by the name in the row
            await store.release(claim)


async def _work(
    store: RowStore, claim: Claim, *, wanted: Wanted, machines: Machines, signals: Signals,
    reach: Reach | None = None,
) -> int:  # fmt: skip
    """Work on a claimed run until it is over, or until a second signal."""
    console = Console.of_process()
    console.log_command = to_type(f"log {claim.run}")
    signals.hold()
    run = await open_batch(
        store, claim, wanted=wanted, console=console, reach=reach, ask_providers=machines.ended
    )
    fanout = run.work.batch.spec.fanout
    if not wanted.quiet and not fanout:
        progress = run.progress()
        console.note(
            f"batch {claim.run}: {counted(progress.total, 'job')}, {counted(progress.hosts_total, 'host')}"
        )
    if run.work.batch.paused:  # also to those who want no news: they would wait for ever
        what = f"{run.work.batch.spec.verb} {claim.run} is paused"
        console.note(f"hostler: {what}; this lets it go on: {to_type(f'unpause {claim.run}')}")
    console.flush()

    def stop(number: int) -> None:
        what = "ending running jobs, the others wait for a resume"
        if fanout:
            what = f"ending what runs ({still_there(run)})"
        run.stop(number, name(number))
        console.note(f"hostler: {name(number)}: {what}; once more leaves at once")
        console.flush()

    def waits(number: int) -> None:
        say(f"{name(number)}: the run has ended and is being cleaned up; once more leaves at once")

    def closed() -> None:
        run.stop(signal.SIGPIPE, "stdout was closed")

    if wanted.stop_on_pipe:
        console.closed = closed
    code = None
    try:
        signals.asks(stop)
        with asked_by_enter(run, console):
            code = await run.go()
        signals.asks(waits)
        _report(store, claim.run, wanted=wanted, signal_number=run.signal, console=console)
        console.flush(now=True)
        await machines.end()
        await _read(console, told=bool(signals.seen))
    except asyncio.CancelledError:
        if not signals.seen:
            raise
        # What is said now goes past the console: the live lines must be off the screen, a stuck one can't hold us.
        with suppress(TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(OFF_SCREEN):
                await console.drained()
        if code is None:
            _left_behind(run, claim.run)
        await machines.left()
        return 128 + signals.seen[0]
    except StaleEpoch:
        raise
    except StoreError as error:
        raise type(error)(
            f"{error}; this goes on with the run: {to_type(f'{run.work.batch.spec.verb} --resume {claim.run}')}"
        ) from error
    console.close()
    return code


def _left_behind(run: OpenRun, number: int) -> None:
    """Say what may still run after a second signal, and what ends it."""
    left, spec = run.unfinished(), run.work.batch.spec
    for host, jobs in left:
        say(may_still_run(host, jobs, detached=spec.detached))
    ends = f"this ends what still runs: {with_secrets(to_type(f'stop {number}'), spec)}; " if left else ""
    again = with_secrets(to_type(f"{spec.verb} --resume {number}"), spec)
    say(f"left {spec.verb} {number} as it stands; {ends}this goes on with it: {again}")


def _report(
    store: RowStore,
    number: int,
    *,
    wanted: Wanted,
    signal_number: int | None,
    console: Console | None = None,
) -> int:
    """Print the final report, or where nobody wants one a line if all is not well; the run's exit code."""
    from hostler.stores.reads.batch import spec
    from hostler.stores.reads.runs import run

    if spec(store.reader, number).fanout:
        text, code = (
            last_lines(store.reader, number, quiet=wanted.quiet),
            run(store.reader, number).exit_code or 0,
        )
    else:
        from hostler.cli.looking import brief, report_text

        text, code = report_text(store.reader, number, signal=signal_number, colour=wanted.colour)
        if wanted.quiet:
            lines = brief(store.reader, number, signal=signal_number)
            text = "".join(f"hostler: {line}\n" for line in lines)
    if console is not None and text:
        console.report(text)
    elif text:
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(text)
    return code


async def _launched(machines: Machines, wanted: Wanted, *, token: str) -> list[Host]:
    if not wanted.launch:
        return []
    if not wanted.quiet:
        say(f"launching {counted(wanted.launch, f'{wanted.provider} host')}")
    return await machines.launch(wanted.launch, by=wanted.provider, token=token)


async def _read(console: Console, *, told: bool) -> None:
    """Wait until readers have taken all; who was told to end and waits for a reader that sleeps says so."""
    if told:
        with suppress(TimeoutError):
            async with asyncio.timeout(OFF_SCREEN):
                await console.drained()
                return
        say("what was printed is not being read: waiting for its reader; once more leaves at once")
    await console.drained()
