"""What stands where on a command line, and the jobs that it or a file gives.

Options are read only left of the first `--` or `:::`; what follows is other people's words, and nothing here may
look for options in them. Lines are read in blocks and passed on: a list of jobs is never held whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import BinaryIO

from hostler.errors import UsageError

BLOCK = 1 << 18
LONGEST_LINE = 16 << 20


@dataclass(frozen=True, slots=True)
class Split:
    """A command line in its parts.

    `command` is what followed `--`, None without one; `sources` has one tuple of words for each `:::`.
    """

    options: list[str]
    command: list[str] | None
    sources: tuple[tuple[str, ...], ...]


def split(argv: Sequence[str]) -> Split:
    """Cut a command line at the first `--` or `:::`.

    The command runs from `--` to the first `:::` behind it; each `:::` begins a list of arguments, and behind
    it a `--` is an argument like any other.

    >>> split(["-j", "3", "--", "echo", "{}", ":::", "a", "b"])
    Split(options=['-j', '3'], command=['echo', '{}'], sources=(('a', 'b'),))
    """
    words = list(argv)
    cut = next((at for at, word in enumerate(words) if word in ("--", ":::")), len(words))
    options, rest = words[:cut], words[cut:]
    command = None
    if rest[:1] == ["--"]:
        ends = rest.index(":::") if ":::" in rest else len(rest)
        command, rest = rest[1:ends], rest[ends:]
    sources: list[list[str]] = []
    for word in rest:
        if word == ":::":
            sources.append([])
        else:
            sources[-1].append(word)
    return Split(options, command, tuple(map(tuple, sources)))


def jobs_from_sources(sources: Sequence[Sequence[str]]) -> Iterator[tuple[bytes, ...]]:
    """Every combination of one word from each `:::`, the last list running fastest; an empty list gives none.

    Raises UsageError on NUL.

    >>> list(jobs_from_sources([["a", "b"], ["1"]]))
    [(b'a', b'1'), (b'b', b'1')]
    """
    if not sources:
        return iter(())
    columns = [[word.encode("utf-8", "surrogateescape") for word in words] for words in sources]
    for word in (word for words in columns for word in words if b"\0" in word):
        raise UsageError(f"the argument {word[:40]!r} holds a NUL byte: no command can")
    return product(*columns)


class JobLines:
    """The lines of a stream as arguments, each without its newline; a last line without one counts.

    Empty lines are no jobs: they are left out and counted in `skipped`, which is right when the last line has
    been read. Nothing else is stripped.
    """

    def __init__(self, stream: BinaryIO, *, name: str) -> None:
        self.skipped = 0
        self._name = name
        # As much as there is, where the stream can tell: a slow writer's lines are not held back.
        self._read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)

    def __iter__(self) -> Iterator[bytes]:
        """Read on. Raises UsageError on NUL and on a line of more than 16 MiB, with the line's number."""
        begun: list[bytes] = []  # the pieces of a line whose end has not come yet
        held, number = 0, 1
        while block := self._read(BLOCK):
            if b"\0" in block:
                number += block.count(b"\n", 0, block.index(b"\0"))
                raise UsageError(f"{self._name}: line {number} holds a NUL byte: no argument can")
            first, *lines = block.split(b"\n")
            begun.append(first)
            held += len(first)
            if held > LONGEST_LINE:
                raise UsageError(f"{self._name}: line {number} is longer than 16 MiB")
            if not lines:
                continue
            number += len(lines)
            lines.insert(0, b"".join(begun))
            begun = [lines.pop()]
            held = len(begun[0])
            if empty := lines.count(b""):
                self.skipped += empty
                yield from filter(None, lines)
            else:
                yield from lines
        if held:
            yield b"".join(begun)


def jobs_from_lines(stream: BinaryIO, *, name: str = "stdin") -> JobLines:
    """The lines of a stream as jobs of one argument each; `name` is what errors call the stream.

    >>> import io
    >>> list(jobs_from_lines(io.BytesIO(b"a b\\n\\nc")))
    [b'a b', b'c']
    """
    return JobLines(stream, name=name)
