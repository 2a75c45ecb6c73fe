"""`hostler wait RUN...`: until runs have ended, whoever works on them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from hostler.cli.options import duration
from hostler.cli.parsing import Verb
from hostler.cli.saying import say
from hostler.cli.storing import store_option

if TYPE_CHECKING:
    from hostler.stores.reading import Reader

#: The exit code when not all have ended in time: that of timeout(1), since 3 is that of a run whose jobs timed out.
LATE = 124
#: Exit codes from the worst to the best; 2 can't come of a run.
WORST = (LATE, 143, 130, 6, 5, 4, 3, 1, 0)

EXAMPLES = "\b\nExamples:\n  hostler wait last\n  hostler wait 42 43 --timeout 1h && echo both went well"


@click.command(cls=Verb, epilog=EXAMPLES)
@click.option("--timeout", metavar="DUR", help="Wait no longer than this; the exit code is then 124.")
@click.argument("names", metavar="RUN...", nargs=-1, required=True)
@store_option
def command(names: tuple[str, ...], timeout: str | None) -> int:
    """Wait until runs have ended. The exit code is theirs, of several the worst.

    A run that its controller has left without an end is not waited for: that is told, and the exit code is 6.
    Runs that have not ended by --timeout make it 124, as timeout(1) does; 3 is that of a run whose jobs timed out.

    RUN is a run's number, the first letters of its uid, or 'last'.
    """
    from hostler.cli import looking
    from hostler.stores.reads.batch import no_run_yet
    from hostler.stores.reads.runs import resolve

    seconds = None if timeout is None else duration(timeout, "--timeout")
    with looking.opened() as reader:
        if reader is None:
            raise no_run_yet(names[0])
        numbers = list(dict.fromkeys(resolve(reader, name) for name in names))
        codes = asyncio.run(_wait(reader, numbers, seconds))
    return min(codes, key=lambda code: WORST.index(code) if code in WORST else -1)


async def _wait(reader: Reader, numbers: list[int], seconds: float | None) -> list[int]:
    """Wait for all of them, and say how each ended as it does; their exit codes."""
    from hostler.cli.following import left_alone
    from hostler.clock import SystemClock
    from hostler.model.durations import format_duration

    until = None if seconds is None else SystemClock().steady() + seconds

    async def ended(number: int) -> int | None:
        return _ended(reader, number) if await left_alone(reader, number, until=until) else None

    codes = await asyncio.gather(*map(ended, numbers))
    if late := [str(number) for number, code in zip(numbers, codes, strict=True) if code is None]:
        say(f"batch {', '.join(late)}: not ended after {format_duration(seconds or 0.0)}")
    return [LATE if code is None else code for code in codes]


def _ended(reader: Reader, number: int) -> int:
    """Say how a run that nobody works on stands; its exit code."""
    from hostler.cli.asking import ended_words
    from hostler.stores.reads.runs import run

    row = run(reader, number)
    say(f"batch {number}: {ended_words(row)}")
    return 6 if row.exit_code is None else row.exit_code
