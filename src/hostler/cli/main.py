"""The `hostler` command: words in, an exit code out, and every failure as one line that says what to do.

It must never show a traceback unless asked, and never let click see what stands right of the first `--` or `:::`.
"""

from __future__ import annotations

import errno
import os
import select
import sys
from collections.abc import Iterator, Sequence

import click

from hostler.cli.verbs import VERBS, group
from hostler.errors import HostlerError

#: Why a write can fail that is nobody's mistake.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line, `argv` without the program's name; the process's own when None. Gives the exit code.

    >>> main(["--version"])
    hostler 0.1.0.dev0
    0
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if shell := os.environ.get("_HOSTLER_COMPLETE"):
        from hostler.cli.completing import complete

        return complete(shell, words)
    debug = os.environ.get("HOSTLER_DEBUG", "0") not in ("", "0")
    try:
        from hostler.cli.splitter import split

        parts = split(words)
        options = list(parts.options)
        if "--debug" in options:
            debug = True
            options = [word for word in options if word != "--debug"]
        with group.make_context("hostler", options, obj=parts) as context:
            answer = group.invoke(context)
        sys.stdout.flush()
        return answer if isinstance(answer, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except BaseException as error:  # noqa: BLE001
        return _failed(error, words=words, debug=debug)


def _failed(error: BaseException, *, words: Sequence[str], debug: bool) -> int:
    """Say what went wrong in one line on stderr; gives the exit code."""
    if isinstance(error, SystemExit | GeneratorExit):
        raise error
    cause = next(_leaves(error))
    if isinstance(cause, BrokenPipeError) and _reader_gone():
        _drop_stdout()
        return 0  # who read us has seen enough
    if debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(cause, KeyboardInterrupt | click.Abort):
        return 130
    if isinstance(cause, click.exceptions.NoArgsIsHelpError):
        click.echo(cause.format_message(), err=True)
        return 2
    if isinstance(cause, click.ClickException):
        return _say(_usage_line(cause), code=2)
    if isinstance(cause, HostlerError):
        return _say(str(cause), code=cause.exit_code)
    if isinstance(cause, OSError) and cause.errno in FULL and cause.filename is None:
        _drop_stdout()
        return _say(f"can't write: {cause.strerror}", code=6)
    again = "" if debug else f"; HOSTLER_DEBUG=1 hostler {_first(words)}… shows where"
    return _say(f"this is a bug in hostler: {type(cause).__name__}: {cause}{again}", code=6)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group of errors, what a person did or can mend first; the error itself when it is none."""
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    leaves = [leaf for each in error.exceptions for leaf in _leaves(each)]
    yield from sorted(leaves, key=lambda leaf: not isinstance(leaf, KeyboardInterrupt | HostlerError))


def _say(text: str, *, code: int) -> int:
    """Say what went wrong; gives `code`."""
    from hostler.cli.saying import say

    say(text, pointing=True)
    return code


def _usage_line(error: click.ClickException) -> str:
    """What click refused, in our words: one line, and where to read on."""
    text = error.format_message().strip()
    text = text[:1].lower() + text[1:] if not text[1:2].isupper() else text
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "hostler"
    return f"{text.rstrip('.')} (see: {path} --help)"


def _first(words: Sequence[str]) -> str:
    """The verb that was used, with a blank after it; nothing when there was none."""
    return next((f"{word} " for word in words if word in VERBS), "")


def _reader_gone() -> bool:
    """Whether stdout is a pipe or a socket that nobody reads any more."""
    poll = select.poll()
    poll.register(1, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def _drop_stdout() -> None:
    """Send what is still to come on stdout nowhere, so that Python's exit says nothing about it."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
