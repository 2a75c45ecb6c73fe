"""`hostler cancel RUN JOB...`: jobs that are not to run, or no longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hostler.cli.options import whole
from hostler.cli.parsing import Verb
from hostler.cli.storing import store_option
from hostler.cli.visiting import visiting, visiting_options
from hostler.errors import UsageError

if TYPE_CHECKING:
    from hostler.model.requests import Wish
    from hostler.model.runs import RunRow
    from hostler.stores.store import RowStore

#: Jobs that one request may name.
MOST = 100_000

EXAMPLES = "\b\nExamples:\n  hostler cancel last 3\n  hostler cancel 42 7 9-12"


@click.command(cls=Verb, epilog=EXAMPLES)
@visiting_options
@click.argument("name", metavar="RUN")
@click.argument("jobs", metavar="JOB...", nargs=-1, required=True)
@store_option
def command(name: str, jobs: tuple[str, ...], **options: Any) -> int:
    """Cancel jobs: one that waits never runs, one that runs is ended. They are not tried again.

    RUN is a run's number, the first letters of its uid, or 'last'; JOB is a job's number, or a range of them.
    """
    from hostler.cli.asking import ask
    from hostler.model.requests import Cancel

    numbers = tuple(dict.fromkeys(number for text in jobs for number in job_numbers(text)))
    if len(numbers) > MOST:
        raise UsageError(f"JOB: {len(numbers)} jobs; at most {MOST} at a time")

    def make(store: RowStore, row: RunRow) -> Wish | str:
        from hostler.stores.reads.attempts import job as job_row

        found = [job_row(store.reader, row.number, number) for number in numbers]
        ended = [job for job in found if job.state.final]
        if len(ended) == len(found):
            some = f"job {ended[0].job} has ended already: {ended[0].state.word}"
            raise UsageError(
                f"batch {row.number}: {some if len(ended) == 1 else 'all of these jobs have ended'}"
            )
        return Cancel(jobs=numbers)

    return ask(name, make, reach=visiting(options))


def job_numbers(text: str) -> range:
    """The jobs that a word names. Raises UsageError.

    >>> list(job_numbers("7")), list(job_numbers("9-12"))
    ([7], [9, 10, 11, 12])
    """
    first, dash, last = text.partition("-")
    low = whole(first, "JOB", most=1 << 40)
    high = whole(last, f"JOB {text}:", least=low, most=low + MOST - 1) if dash else low
    return range(low, high + 1)
