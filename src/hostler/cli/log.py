"""`hostler log RUN [JOB]`: what a run's jobs did, attempt by attempt; of one job all there is, its output too."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from hostler.cli.options import Marked, whole
from hostler.cli.parsing import Verb
from hostler.cli.storing import store_option
from hostler.errors import UsageError

if TYPE_CHECKING:
    from hostler.cli.looking import Look
    from hostler.model.runs import AttemptRow
    from hostler.stores.reads.attempts import JobRow

#: Bytes of each stream that go into a JSON value.
JSON_LIMIT = 64 << 20

#: Columns of a line where there is no terminal: a command may have 100 kB.
LINE = 1000

EXAMPLES = (
    "\b\nExamples:\n  hostler log last\n  hostler log 42 17 --stdout > result.txt\n  hostler log last 17 -f"
)


@click.command(cls=Verb, epilog=EXAMPLES)
@click.argument("name", metavar="RUN")
@click.argument("job", metavar="[JOB]", required=False)
@click.option("-f", "--follow", is_flag=True, help="Print output as it comes, until JOB or the run ends.")
@click.option("--failed", is_flag=True, help="Only attempts that did not end well.")
@click.option(
    "-a",
    "--attempt",
    cls=Marked,
    never="it is about one job",
    metavar="N",
    help="The output of this attempt of JOB (the last).",
)
@click.option(
    "--stdout", "only", flag_value="stdout", help="Print what JOB wrote to stdout, and nothing else."
)
@click.option(
    "--stderr",
    "only",
    flag_value="stderr",
    help="Print what JOB wrote to stderr, to stdout, and nothing else.",
)
@click.option(
    "--raw",
    cls=Marked,
    names="what drives the terminal",
    is_flag=True,
    help="Let output drive the terminal: control sequences are not made visible.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON value; times are seconds since the epoch.")
@store_option
def command(
    name: str, job: str | None, follow: bool, failed: bool, attempt: str | None, only: str | None, raw: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Show a run's attempts, a line each in order of jobs; with JOB its attempts and what it printed.

    A line holds when the attempt started, job/attempt, host, how long it took, how it ended, and the command.

    RUN is a run's number, the first letters of its uid, or 'last'; JOB is a job's number, from 1. A job's stdout goes
    to stdout and its stderr to stderr, bytes as they were unless a terminal shows them.

    With -f and JOB, what the job prints is shown as it comes, from the beginning of its last attempt, and that of the
    attempts after it; with -f alone, what every attempt printed, in the order in which they ended, each behind its
    line on stderr. It ends when the job or the run does, or when nobody works on the run any more; the exit code is 0.
    """
    from hostler.cli import looking

    number = None if job is None else whole(job, "JOB", most=1 << 40)
    n = None if attempt is None else whole(attempt, "--attempt", most=1 << 40)
    if number is None and (n is not None or only):
        raise UsageError(
            "--attempt, --stdout and --stderr are about one job: name it, as in hostler log last 17"
        )
    if follow and as_json:
        raise UsageError(
            "--follow and --json: one or the other; hostler events -f --jsonl tells programs what happens"
        )
    with looking.opened() as reader:
        seen = looking.look(reader, name)
        if follow:
            _follow(seen, number, n=n, failed=failed, only=only, raw=raw)
        elif number is None:
            _all(seen, failed=failed, as_json=as_json)
        else:
            _one(seen, number, n=n, failed=failed, only=only, raw=raw, as_json=as_json)


def facts(attempt: AttemptRow) -> dict[str, Any]:
    """What scripts are told of one attempt."""
    return {
        "job": attempt.job,
        "attempt": attempt.n,
        "host": attempt.worker,
        "ending": attempt.ending,
        "code": attempt.code,
        "signal": attempt.signal,
        "dispatched": attempt.dispatched_at,
        "started": attempt.began,
        "ended": attempt.ended_at,
        "seconds": attempt.elapsed,
        "detail": attempt.detail,
        "maybe_duplicated": attempt.maybe_duplicated,
        "stdout_bytes": attempt.out or 0,
        "stderr_bytes": attempt.err or 0,
    }


#: Columns of an ending, the longest of one word being "interrupted".
ENDING = 11

# -- all jobs -----------------------------------------------------------------------------------------------------


def _all(seen: Look, *, failed: bool, as_json: bool) -> None:
    from hostler.stores.reads.attempts import attempts

    found = _chosen(attempts(seen.reader, seen.row.number), failed=failed)
    if as_json:
        _print_list(facts(attempt) for attempt in found)
        return
    line = _line(seen, fd=1)
    for attempt in found:
        sys.stdout.write(line(attempt))


def _line(seen: Look, *, fd: int) -> Callable[[AttemptRow], str]:
    """What tells an attempt in a line, for who reads `fd`."""
    from hostler.cli.looking import columns_of, is_terminal
    from hostler.clock import SystemClock
    from hostler.stores.reads.batch import workers
    from hostler.views.text import columns, fit
    from hostler.views.words import ending_words, took, when

    now = SystemClock().now()
    width = columns_of(fd) if is_terminal(fd) else LINE
    digits = len(str(sum(seen.row.counts.values())))
    wide = min(
        32, max((columns(worker.host.name) for worker in workers(seen.reader, seen.row.number)), default=0)
    )

    def told(attempt: AttemptRow) -> str:
        text = (
            f"{when(attempt.began or attempt.dispatched_at)}  {attempt.job:>{digits}}/{attempt.n}  "
            f"{attempt.worker:<{wide}}  {took(attempt, now=now):>6}  {ending_words(attempt):<{ENDING}}  "
            f"{seen.command_of(attempt.job, width=width)}"
        )
        return fit(text, width) + "\n"

    return told


def _follow(
    seen: Look, number: int | None, *, n: int | None, failed: bool, only: str | None, raw: bool
) -> None:
    import asyncio

    from hostler.cli.log_following import follow_job, follow_run

    if number is None:
        line = _line(seen, fd=2)

        def heading(attempt: AttemptRow) -> None:
            sys.stderr.write(line(attempt))
            sys.stderr.flush()

        asyncio.run(follow_run(seen, failed=failed, raw=raw, heading=heading))
        return
    about, made, _ = _attempts(seen, number, n=n)
    if only is None:
        sys.stderr.write(_heading(seen, about, list(_chosen(made, failed=failed)), None))
        sys.stderr.flush()
    asyncio.run(follow_job(seen, number, n=n, only=only, raw=raw))


def _chosen(found: Iterable[AttemptRow], *, failed: bool) -> Iterator[AttemptRow]:
    return (attempt for attempt in found if not failed or attempt.ending not in (None, "ok", "revoked"))


def _print_list(values: Iterable[dict[str, Any]]) -> None:
    """A JSON list, however long, without holding it."""
    sys.stdout.write("[")
    for number, value in enumerate(values):
        sys.stdout.write((",\n" if number else "\n") + json.dumps(value))
    sys.stdout.write("\n]\n")


# -- one job ------------------------------------------------------------------------------------------------------


def _one(
    seen: Look,
    number: int,
    *,
    n: int | None,
    failed: bool,
    only: str | None,
    raw: bool,
    as_json: bool,
) -> None:
    about, made, shown = _attempts(seen, number, n=n)
    if as_json:
        _print_job(seen, about, made, shown)
        return
    if only is None:
        sys.stderr.write(_heading(seen, about, list(_chosen(made, failed=failed)), shown))
        sys.stderr.flush()
    if shown is not None:
        _print_output(seen, shown, only=only, raw=raw)


def _attempts(
    seen: Look, number: int, *, n: int | None
) -> tuple[JobRow, list[AttemptRow], AttemptRow | None]:
    """A job, its attempts, and the one that is asked for: `n`, or the last. Raises UsageError."""
    from hostler.stores.reads.attempts import attempts, job

    about = job(seen.reader, seen.row.number, number)
    made = list(attempts(seen.reader, seen.row.number, job=number))
    if n is not None and n not in [attempt.n for attempt in made]:
        last = f"its attempts are 1 to {made[-1].n}" if made else "it has none yet"
        raise UsageError(f"job {number} of run {seen.row.number} has no attempt {n}; {last}")
    return about, made, made[-1] if n is None and made else next((a for a in made if a.n == n), None)


def _heading(seen: Look, about: JobRow, made: list[AttemptRow], shown: AttemptRow | None) -> str:
    """A job's command and attempts, for people."""
    from hostler.clock import SystemClock
    from hostler.views.text import columns
    from hostler.views.words import ending_words, took, when

    now = SystemClock().now()
    lines = [
        f"job {about.job} of {seen.row.verb} {seen.row.number}: {about.state.word}",
        f"  {seen.command(about.args, about.job)}",
    ]
    wide = max((columns(attempt.worker) for attempt in made), default=0)
    for attempt in made:
        at = when(attempt.began or attempt.dispatched_at)
        lasted = f"{took(attempt, now=now):>6}"
        lines.append(
            f"  attempt {attempt.n}  {attempt.worker:<{wide}}  {at}  {lasted}  {ending_words(attempt)}"
        )
    if not made:
        lines.append("  not tried yet")
    elif shown is not None and len(made) > 1:
        lines.append(f"output of attempt {shown.n}:")
    return "\n".join(lines) + "\n"


def _output(seen: Look, attempt: AttemptRow | None) -> Iterator[tuple[int, bytes]]:
    """An attempt's output in pieces, each with its stream, as they arrived where that is known. Raises StoreError."""
    from hostler.cli.looking import output_of, pieces

    ref = output_of(seen, attempt) if attempt is not None else None
    return iter(()) if ref is None else pieces(seen, ref)


def _print_output(seen: Look, attempt: AttemptRow, *, only: str | None, raw: bool) -> None:
    """Print the output, what is shown by a terminal made harmless."""
    from hostler.cli.printing import Printer

    printer = Printer(only=only, raw=raw)
    printer.put(_output(seen, attempt))
    printer.end()


def _print_job(seen: Look, about: JobRow, made: list[AttemptRow], shown: AttemptRow | None) -> None:
    value: dict[str, Any] = {
        "run": seen.row.number,
        "job": about.job,
        "state": about.state.word,
        "tries": about.tries,
        "command": seen.command(about.args, about.job),
        "arguments": [text(word) for word in about.args],
        "attempts": [facts(attempt) for attempt in made],
        "attempt": shown.n if shown else None,
    }
    for stream, word in ((1, "stdout"), (2, "stderr")):
        value |= as_fields(word, (data for of, data in _output(seen, shown) if of == stream))
    click.echo(json.dumps(value, indent=2))


def text(data: bytes) -> str:
    """Bytes as text for JSON; what is no UTF-8 is replaced."""
    return data.decode("utf-8", "replace")


def as_fields(word: str, pieces: Iterator[bytes]) -> dict[str, Any]:
    """A stream as JSON fields: text, and base64 beside it when it is not UTF-8; at most JSON_LIMIT bytes of it.

    >>> as_fields("stdout", iter([b"hi", b"\\xff"]))
    {'stdout': 'hi\\ufffd', 'stdout_base64': 'aGn/'}
    """
    data = bytearray()
    for piece in pieces:
        data += piece[: JSON_LIMIT - len(data)]
        if len(data) == JSON_LIMIT:
            break
    rest = any(chain(pieces))
    fields: dict[str, Any] = {word: text(bytes(data))}
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        fields[f"{word}_base64"] = base64.b64encode(data).decode("ascii")
    if rest:
        fields[f"{word}_cut"] = True
    return fields
