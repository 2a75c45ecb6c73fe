"""Asking something of a run: the request is put down, and its owner's answer waited for.

Where nobody works on the run, this process does what is asked itself: it takes the run's lock, folds what waits, and
lets go. It must never write to a run that somebody else owns.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from contextlib import suppress

import click

from hostler.cli.following import glances, left_alone
from hostler.cli.leaving import with_secrets
from hostler.cli.looking import by_state, state_word, still_open, still_there
from hostler.cli.machines import Machines
from hostler.cli.saying import say
from hostler.cli.storing import existing_store
from hostler.cli.visiting import Reach, plainly
from hostler.clock import SystemClock
from hostler.engine.requests import jobs_named
from hostler.engine.summary import count_words
from hostler.errors import HostlerError, RunBusy, UsageError
from hostler.model.commands import to_type
from hostler.model.jobs import JobState
from hostler.model.requests import Cancel, Request, Stop, Wish
from hostler.model.runs import RunRow
from hostler.stores.reads.batch import no_run_yet, spec
from hostler.stores.reads.requests import request as read_request
from hostler.stores.reads.runs import has_owner, resolve, run
from hostler.stores.store import RowStore
from hostler.views.console import Console
from hostler.views.tables import listed

#: What to ask of a run, or in words why there is nothing to be done.
Make = Callable[[RowStore, RunRow], Wish | str]
Jobs = Iterable[tuple[tuple[bytes, ...], bytes]]

#: Seconds in which an owner should answer, and a stopped run should have ended.
PATIENCE, ENDING = 30.0, 60.0
#: Seconds in which all that a process does that only visits must be done.
VISIT = 60.0
#: The exit code where hosts that matter could not be reached.
UNREACHED = 4


def ask(called: str, make: Make, *, jobs: Callable[[], Jobs] = tuple, reach: Reach = plainly) -> int:
    """Ask something of the run that people call `called`, and print the answer; the exit code.

    `make` says what, or raises UsageError when that run can't be asked so; `jobs` gives those of an Add,
    `reach` how its hosts are visited where nobody works on it.
    """
    return asyncio.run(_ask(called, make, jobs, reach))


async def _ask(called: str, make: Make, jobs: Callable[[], Jobs], reach: Reach) -> int:
    store = existing_store()
    if store is None:
        raise no_run_yet(called)
    try:
        number = resolve(store.reader, called)
        wish = make(store, run(store.reader, number))
        if isinstance(wish, str):
            return said(number, wish)
        from hostler.wiring.names import owner_name

        if not has_owner(store.reader, number):
            # A secret that can't be had is told before anything is asked for.
            reach(spec(store.reader, number))
        made = await store.make_request(number, wish, who=owner_name(), at=SystemClock().now(), jobs=jobs())
        found = await answered(store, number, made, wish, reach)
        if found.answered is None and isinstance(wish, Cancel) and not has_owner(store.reader, number):
            return _not_cancelled(store, number, wish)
        if found.answered is None:
            who = run(store.reader, number).owner
            raise HostlerError(
                f"batch {number}: {who or 'nobody'} has not done it yet; it stays asked for, and is done when it can be"
            )
        if isinstance(wish, Stop) and not wish.drain and found.done:
            return await _stopped(store, number)
        return said(number, found.words, done=found.done)
    finally:
        await store.close()


async def answered(store: RowStore, number: int, made: int, wish: Wish, reach: Reach = plainly) -> Request:
    """The request once it is answered, by the run's owner or by ourselves; unanswered when patience ends."""
    clock, visited = SystemClock(), False
    until = clock.steady() + PATIENCE
    while True:
        async for glance in glances(store.reader, number, until=until):
            if glance.news and _asked(store, made).answered is not None:
                break
        found = _asked(store, made)
        if found.answered is not None or visited or clock.steady() >= until:
            return found
        visited = await _visit(store, number, wish, reach)


def _asked(store: RowStore, made: int) -> Request:
    found = read_request(store.reader, made)
    assert found is not None, "nobody deletes requests"
    return found


async def _visit(store: RowStore, number: int, wish: Wish, reach: Reach) -> bool:
    """Do what is asked of a run that nobody works on; False when somebody else was faster."""
    from hostler.wiring.batch import open_batch
    from hostler.wiring.machines import provider
    from hostler.wiring.names import owner_name

    kept = spec(store.reader, number)
    wanted = reach(kept)
    try:
        claim = await store.claim(number, owner=owner_name(), at=SystemClock().now())
    except RunBusy:
        return False
    # What jobs printed is kept, and not what this command prints.
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    console = Console(null, 2, terminal=(False, False))
    try:
        stays = not isinstance(wish, (Stop, Cancel))
        opened = await open_batch(store, claim, wanted=wanted, console=console, visit=True, stays=stays)
        with suppress(TimeoutError):
            async with asyncio.timeout(VISIT):
                await opened.go()
        console.flush(now=True)
        if isinstance(wish, Stop) and not wish.drain:
            await Machines(map(provider, kept.providers), run=claim.uid, keep=False, say=say).end()
        await console.drained()
    finally:
        await store.release(claim)
        console.close()
        os.close(null)
    return True


async def _stopped(store: RowStore, number: int) -> int:
    """Wait for a run's end that was asked for, and say what it comes to and what may still run."""
    alone = await left_alone(store.reader, number, until=SystemClock().steady() + ENDING)
    row = run(store.reader, number)
    if not alone:
        raise HostlerError(
            f"batch {number}: {row.owner} is still ending its jobs: {to_type(f'status {number}')}"
        )
    if held := still_open(store.reader, number):
        hosts = _unreached(store, number, held)
        again = with_secrets(to_type(f"stop {number}"), spec(store.reader, number))
        say(
            f"batch {number}: not stopped on {hosts}: {count_words(by_state(row.counts))}; "
            f"once that can be reached, this ends what still runs: {again}"
        )
        return UNREACHED
    return said(number, ended_words(row))


def _not_cancelled(store: RowStore, number: int, wish: Cancel) -> int:
    """Say which jobs could not be cancelled, as their hosts were not reached; the exit code."""
    held = [
        (host, jobs)
        for host, every in still_open(store.reader, number)
        if (jobs := [job for job in every if job in wish.jobs])
    ]
    hosts = _unreached(store, number, held)
    jobs = sorted(job for _, some in held for job in some)
    again = with_secrets(
        to_type(f"cancel {number} {' '.join(map(str, jobs[:5]))}"), spec(store.reader, number)
    )
    say(
        f"batch {number}: {jobs_named(jobs)} not cancelled yet: {hosts or 'its host'} could not be reached; it stays "
        f"asked for, and is done when somebody goes on with the run; or try again: {again}"
    )
    return UNREACHED


def _unreached(store: RowStore, number: int, held: list[tuple[str, list[int]]]) -> str:
    """Say once of each host what may still run there and what its trouble was; their names in short."""
    for line in still_there(store.reader, number, held):
        say(line)
    return listed([host for host, _ in held], shown=3)


def ended_words(row: RunRow) -> str:
    """How a run that nobody works on stands, and what goes on with it."""
    counts = by_state(row.counts)
    left = counts.get(JobState.QUEUED, 0) + counts.get(JobState.OPEN, 0)
    then = f"; this goes on with it: {to_type(f'{row.verb} --resume {row.number}')}" if left else ""
    return f"{state_word(row, alive=False)}: {count_words(counts)}{then}"


def unless_finished(wish: Wish, *, instead: str) -> Make:
    """To ask for this of any run that has not finished, and of one that has to say what is so `instead`."""

    def make(store: RowStore, row: RunRow) -> Wish:
        refuse_finished(row, instead)
        return wish

    return make


def refuse_finished(row: RunRow, instead: str) -> None:
    """Raise UsageError when a run has finished, with what to do instead."""
    if row.state == "finished":
        raise UsageError(f"{row.verb} {row.number} has finished; {instead}")


def said(number: int, words: str, *, done: bool = True) -> int:
    """Print an answer: what was done on stdout, what was not on stderr; the exit code."""
    if done:
        click.echo(f"batch {number}: {words}")
        return 0
    say(f"batch {number}: {words}")
    return 1
