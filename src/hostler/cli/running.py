"""A batch from the terminal's side: submitted or taken up, worked on, stopped by signals, reported.

The first INT or TERM ends the run in order; a second one leaves at once, and says what that leaves behind.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from hostler.errors import ProviderError, RunBusy, UsageError
from hostler.model.hosts import Host
from hostler.model.instances import Instance
from hostler.model.runs import BatchSpec
from hostler.stores.sqlite import Claim, SqliteStore
from hostler.views.console import Console
from hostler.wiring import OpenRun, Wanted, new_uid, open_batch, owner_name, provider, submit, with_state

LAUNCH = 120.0
DESTROY = 60.0


async def new_run(
    *,
    spec: BatchSpec,
    command: str,
    hosts: Sequence[Host],
    jobs: Iterable[tuple[tuple[bytes, ...], bytes]],
    launch: int,
    provider: str | None,
    keep: bool,
    wanted: Wanted,
    note_skipped: Callable[[], int],
) -> int:
    """Accept a batch and work on it; the exit code."""
    store = with_state()
    try:
        uid = new_uid()
        if launch and not provider:
            raise UsageError(f"--launch {launch}: name who launches them, with --provider sandbox")
        launched = await _launched(launch, provider or "", uid)
        try:
            everyone = [*hosts, *(instance.host for instance in launched)]
            number = await submit(store, spec=spec, command=command, hosts=everyone, jobs=jobs, uid=uid)
            if (skipped := note_skipped()) and not wanted.quiet:
                _say(f"{skipped} empty line{'s' if skipped > 1 else ''} skipped: they hold no job")
            claim = await store.claim(number, owner=owner_name(), at=_now())
            return await _work(store, claim, wanted=wanted)
        finally:
            if launched and not keep:
                await _ended(provider or "", launched)
    finally:
        await store.close()


async def resumed_run(name: str, *, hosts: Sequence[Host], keep: bool, wanted: Wanted) -> int:
    """Go on with a run, or watch it while somebody else does; the exit code."""
    from hostler.cli.watching import watch
    from hostler.stores.reads.runs import resolve, run

    store = with_state()
    try:
        number = resolve(store.reader, name)
        for _ in range(1000):
            row = run(store.reader, number)
            if row.state == "finished" and not wanted.retry:
                return _report(store, number, wanted=wanted, signal_number=None)
            try:
                claim = await store.claim(number, owner=owner_name(), at=_now())
            except RunBusy:
                if wanted.retry:
                    raise
                ended = await watch(store, number, quiet=wanted.quiet, colour=wanted.colour)
                if ended is not None:
                    return ended
                continue  # its owner died: the run is ours to go on with
            if hosts:
                await store.add_workers(claim, hosts)
            return await _work(store, claim, wanted=wanted)
        raise RunBusy(number, "owners that come and go")
    finally:
        await store.close()


async def _work(store: SqliteStore, claim: Claim, *, wanted: Wanted) -> int:
    """Work on a claimed run until it is over, or until a second signal."""
    console = Console.of_process()
    run = await open_batch(store, claim, wanted=wanted, console=console)
    if not wanted.quiet:
        console.note(f"batch {claim.run}: {run.progress().total} jobs, {_hosts(run)}")
    loop = asyncio.get_running_loop()
    working = asyncio.create_task(run.go())
    seen: list[int] = []

    def caught(number: int) -> None:
        seen.append(number)
        if len(seen) == 1:
            name = signal.Signals(number).name
            run.stop(number, name)
            console.note(
                f"hostler: {name}: ending running jobs, the others wait for a resume; once more leaves at once"
            )
        else:
            working.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, caught, number)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
    try:
        code = await working
        if not wanted.quiet:
            _report(store, claim.run, wanted=wanted, signal_number=run.signal, console=console)
        await console.drained()
        return code
    except asyncio.CancelledError:
        if not seen:
            raise
        _left_behind(run, claim.run)
        return 128 + seen[0]
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
        with suppress(Exception):
            await store.release(claim)
        if not seen:
            console.close()


def _left_behind(run: OpenRun, number: int) -> None:
    """Say what may still run after a second signal, and what ends it."""
    for host, count in run.unfinished():
        _say(
            f"{host}: up to {count} job{'s' if count != 1 else ''} may still run there, until the lease ends"
        )
    _say(f"left batch {number} as it stands; this goes on with it: hostler batch --resume {number}")


def _hosts(run: OpenRun) -> str:
    count = run.progress().hosts_total
    return f"{count} host{'s' if count != 1 else ''}"


def _report(
    store: SqliteStore,
    number: int,
    *,
    wanted: Wanted,
    signal_number: int | None,
    console: Console | None = None,
) -> int:
    """Print the final report; the run's exit code."""
    from hostler.cli.looking import report_text

    text, code = report_text(store.reader, number, signal=signal_number, colour=wanted.colour)
    if console is not None:
        console.report(text)
    elif not wanted.quiet:
        sys.stderr.write(text)
    return code


async def _launched(count: int, name: str, uid: str) -> tuple[Instance, ...]:
    if not count:
        return ()
    _say(f"launching {count} {name} host{'s' if count > 1 else ''}")
    return await provider(name).launch(count, run=uid, token=uid, deadline=LAUNCH, lifetime=None)


async def _ended(name: str, launched: Sequence[Instance]) -> None:
    try:
        await asyncio.shield(provider(name).destroy(launched, deadline=DESTROY))
    except ProviderError as error:
        _say(f"{error}; this ends them: hostler reap")


def _say(text: str) -> None:
    with suppress(OSError, ValueError):
        os.write(2, f"hostler: {text}\n".encode())


def _now() -> float:
    from hostler.clock import SystemClock

    return SystemClock().now()
