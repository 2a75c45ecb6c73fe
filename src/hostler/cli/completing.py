"""What could come next on a command line, for a shell that asks at a press of Tab.

Read off the commands themselves, by what their help calls a value: TARGETS, RUN, JOB, FILE. It must be quick, change
nothing, and say nothing but candidates: whatever goes wrong, there are simply none.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

import click
from msgspec import Struct, field

if TYPE_CHECKING:
    from hostler.model.runs import RunRow
    from hostler.settings.fields import Taken
    from hostler.stores.reading import Reader

#: The variable by which a shell asks; its value is the shell's name.
VARIABLE = "_HOSTLER_COMPLETE"
#: The one candidate that stands for every file.
FILES = "\0files"
MOST = 200

#: A candidate, and a few words about it.
Candidate = tuple[str, str]


def complete(shell: str, words: Sequence[str]) -> int:
    """Print candidates, the first line being `words`, or `files` where a file is meant; the exit code, always 0.

    zsh and fish give the words of the line up to the cursor, bash the line and the piece of it that it will replace.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    cut = 0
    try:
        if shell == "bash":
            line, piece = words
            words = words_of(line)
            cut = len(words[-1]) - len(piece) if words[-1].endswith(piece) else 0
        *before, current = words
        found = list(islice((each for each in candidates(before, current)), MOST))
    except Exception:  # noqa: BLE001  # a shell's prompt is no place for errors
        return 0
    lines = ["files" if (FILES, "") in found else "words"]
    for value, about in found:
        if value != FILES and not any(letter in value for letter in "\n\t"):
            lines.append(value[cut:] if shell == "bash" else f"{value}\t{about}")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
    return 0


def words_of(line: str) -> list[str]:
    """The words of a shell's line behind the command's name, the last one being what the cursor stands in.

    >>> words_of("seq 3 | hostler batch --hosts 'web")
    ['batch', '--hosts', 'web']
    """
    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words = []
    try:
        words = list(iter(lexer.get_token, None))
        if not line or line[-1].isspace():
            words.append("")
    except ValueError:  # a quote that isn't closed yet
        words = [*line[: len(line) - len(lexer.token) - 1].split(), lexer.token]
    begins = (at for at, word in enumerate(words) if os.path.basename(word) == "hostler")
    return [str(word) for word in words[next(begins, 0) + 1 :]] or [""]


class _Line(Struct):
    """How far the words before the cursor have come."""

    command: click.Command
    words: tuple[str, ...] = ()
    given: list[click.Option] = field(default_factory=list)
    values: dict[str, list[str]] = field(default_factory=dict)
    places: list[str] = field(default_factory=list)
    open: click.Option | None = None


def candidates(before: Sequence[str], current: str) -> Iterator[Candidate]:
    """What could stand in the place of `current`."""
    if "--" in before or ":::" in before:
        yield FILES, ""
        return
    line = _read(before)
    flag, equals, value = current.partition("=")
    option = _options(line.command).get(flag) if equals and flag.startswith("--") else None
    if line.open is not None:
        yield from _begun(_values(line.open, line, current), current)
    elif option is not None:
        for found, about in _begun(_values(option, line, value), value):
            yield (found if found == FILES else f"{flag}={found}"), about
    elif current.startswith("-"):
        yield from _begun(_flags(line), current)
    elif isinstance(line.command, click.Group):
        yield from _begun(_verbs(line.command), current)
    elif argument := _argument(line):
        yield from _begun(_values(argument, line, current), current)


def _begun(found: Iterator[Candidate], current: str) -> Iterator[Candidate]:
    return (each for each in found if each[0] == FILES or each[0].startswith(current))


def _read(before: Sequence[str]) -> _Line:
    """Follow the words into the tree of commands."""
    from hostler.cli.verbs import group

    line = _Line(command=group)
    for word in before:
        options = _options(line.command)
        if line.open is not None:
            line.values.setdefault(line.open.name or "", []).append(word)
            line.open = None
        elif word.startswith("-") and len(word) > 1:
            flag, equals, value = word.partition("=")
            if (option := options.get(flag)) is not None:
                line.given.append(option)
                if equals:
                    line.values.setdefault(option.name or "", []).append(value)
                elif not option.is_flag:
                    line.open = option
        elif isinstance(line.command, click.Group):
            below = line.command.get_command(click.Context(line.command), word)
            if below is None:
                raise LookupError(word)
            line.command, line.words = below, (*line.words, word)
        else:
            line.places.append(word)
    return line


def _options(command: click.Command) -> dict[str, click.Option]:
    return {
        word: option
        for option in command.params
        if isinstance(option, click.Option)
        for word in (*option.opts, *option.secondary_opts)
    }


def _flags(line: _Line) -> Iterator[Candidate]:
    for word, option in _options(line.command).items():
        if word.startswith("--") and (option.multiple or option not in line.given):
            yield word, (option.help or "").rstrip(".")
    yield "--help", "Show this message and exit"


def _verbs(group: click.Group) -> Iterator[Candidate]:
    from hostler.cli.verbs import VERBS

    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        below = None if name in VERBS else group.get_command(ctx, name)
        about = below.get_short_help_str(70) if below else VERBS.get(name, "")
        yield name, about.rstrip(".")


def _argument(line: _Line) -> click.Argument | None:
    """The argument that the next word without a flag is."""
    left = len(line.places)
    for argument in line.command.params:
        if isinstance(argument, click.Argument):
            if argument.nargs < 0 or left < argument.nargs:
                return argument
            left -= argument.nargs
    return None


# -- values, by what the help calls them --------------------------------------------------------------------------


def _values(parameter: click.Parameter, line: _Line, current: str) -> Iterator[Candidate]:
    if isinstance(parameter.type, click.Choice):
        return ((str(choice), "") for choice in parameter.type.choices)
    what = (parameter.metavar or "").strip("[].")
    give = _KINDS.get(what)
    if what == "NAME" and line.words[:1] == ("sandbox",):
        give = _sandbox
    return give(line, current) if give else iter(())


def _files(line: _Line, current: str) -> Iterator[Candidate]:
    yield FILES, ""


def _targets(line: _Line, current: str) -> Iterator[Candidate]:
    """Hosts and @tags of the inventories at hand, and earlier results, for the last term of an expression.

    Names of the SSH configuration are hosts without any inventory. No program is run for a press of Tab.
    """
    from pathlib import Path

    from hostler.manifests import load_inventory
    from hostler.manifests.programs import is_program
    from hostler.manifests.sshnames import WORD
    from hostler.model.terms import RESULT_STATES
    from hostler.providers.sandbox import hosts

    if current.startswith("^"):
        yield FILES, ""
        return
    begin = max(current.rfind(sign) for sign in ",&!^") + 1
    if (at := current.rfind("@")) > begin:
        begin = at + 1  # user@host
    before = current[:begin]
    run, colon, _ = current[begin:].partition(":")
    if colon and (run == "@last" or run.startswith("@run/")):
        yield from ((f"{before}{run}:{state}", "hosts of that result") for state in RESULT_STATES)
        return
    named = [Path(path).expanduser() for path in (*line.values.get("inventory", ()), *_set_inventories(line))]
    files = [path for path in named if path.is_file() and str(path) != WORD and not is_program(path)]
    inventory = load_inventory(files, extra=hosts())
    for tag in sorted({tag for host in inventory for tag in host.tags}):
        yield f"{before}@{tag}", "every host with this tag"
    yield f"{before}@last", "hosts of the last run"
    for host in inventory:
        yield before + host.name, host.endpoint
    known = {host.name for host in inventory}
    yield from ((before + name, "of your SSH configuration") for name in _ssh_names() if name not in known)


def _ssh_names() -> Iterator[str]:
    """The hosts that the user's SSH configuration names, each once."""
    from pathlib import Path

    from hostler.manifests.sshnames import names

    yield from dict.fromkeys(name for name, _, _ in names(Path.home() / ".ssh" / "config"))


def _set_inventories(line: _Line) -> Sequence[str]:
    taken = _set(line, "inventory")
    return taken if isinstance(taken, tuple) else ()


def _set(line: _Line, key: str) -> Taken | None:
    """What settings give the verb at hand for a flag; None where they can't be read, or say nothing."""
    from contextlib import suppress

    from hostler.cli.settling import fields_of, layers_here
    from hostler.errors import UsageError

    with suppress(UsageError):
        values = layers_here(os.environ).values(line.words, fields_of(line.words, line.command))
        return values[key].value if key in values else None
    return None


@contextmanager
def _opened(line: _Line) -> Iterator[Reader | None]:
    """The store that the verb at hand would look at; None where there is none."""
    from hostler.cli.looking import opened
    from hostler.cli.storing import using

    said = line.values.get("store", [_set(line, "store")])[-1]
    with using(said if isinstance(said, str) else None), opened() as reader:
        yield reader


def _sandbox(line: _Line, current: str) -> Iterator[Candidate]:
    from hostler.providers.sandbox import hosts

    for host in hosts():
        yield host.name, host.endpoint
    if line.words[-1:] == ("faults",):
        from hostler.providers.sandbox_faults import CLEAR, FAULTS

        yield CLEAR, "take the fault back"
        yield from ((each.name, each.about) for each in FAULTS)


def _runs(line: _Line, current: str) -> Iterator[Candidate]:
    from hostler.cli.looking import state_word
    from hostler.stores.reads.runs import has_owner, runs
    from hostler.views.text import one_line

    with _opened(line) as reader:
        every = runs(reader, limit=50) if reader else []
        found = [row for row in every if _takes(line, row)]
        if found and found[0] is every[0]:
            yield "last", f"run {found[0].number}"
        for row in found:
            word = state_word(row, alive=has_owner(reader, row.number)) if reader else ""
            yield (
                str(row.number),
                f"{word}: {one_line(row.command.encode('utf-8', 'surrogateescape'), width=60)}",
            )


def _takes(line: _Line, row: RunRow) -> bool:
    """Whether the verb has anything to do with this run: not when it would only refuse."""
    verb = line.words[:1]
    if verb == ("unpause",) and not row.paused:
        return False
    return verb not in (("stop",), ("pause",), ("unpause",), ("set",), ("cancel",)) or row.state != "finished"


def _jobs(line: _Line, current: str) -> Iterator[Candidate]:
    """Numbers of jobs of the run that was named just before."""
    from hostler.stores.reads.attempts import unfinished
    from hostler.stores.reads.runs import resolve, run

    with _opened(line) as reader:
        if reader is None or not line.places:
            return
        if line.words == ("cancel",):
            left = (str(job) for job in unfinished(reader, resolve(reader, line.places[0])))
            yield from ((job, "") for job in left if job.startswith(current) and job not in line.places[1:])
            return
        count = sum(run(reader, resolve(reader, line.places[0])).counts.values())
        yield from (
            (str(job), "") for job in range(1, min(count, 100_000) + 1) if str(job).startswith(current)
        )


def _jobs_or_hosts(line: _Line, current: str) -> Iterator[Candidate]:
    from hostler.stores.reads.batch import workers
    from hostler.stores.reads.runs import resolve

    with _opened(line) as reader:
        if reader is not None and line.places:
            for worker in workers(reader, resolve(reader, line.places[0])):
                yield worker.host.name, "a host of the run"
    yield from _jobs(line, current)


def _settable(line: _Line, current: str) -> Iterator[Candidate]:
    from hostler.cli.settling import tree

    depth = len(line.places)
    below = (words[depth:] for words in tree() if words[:depth] == tuple(line.places))
    for word in dict.fromkeys(words[0] for words in below if words):
        yield word, ""


_KINDS: dict[str, Callable[[_Line, str], Iterator[Candidate]]] = {
    "TARGETS": _targets,
    "FILE": _files,
    "DIR": _files,
    "F": _files,
    "RUN": _runs,
    "JOB": _jobs,
    "JOB|HOST": _jobs_or_hosts,
    "VERB": _settable,
}
