"""What stands where on a command line, and the lines that a file gives.

Options are read only left of the first `--` or `:::`; what follows is other people's words, and nothing here may
look for options in them. Lines are read in blocks and passed on: a list of jobs is never held whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

from hostler.errors import UsageError

BLOCK = 1 << 18
LONGEST_LINE = 16 << 20


#: What begins a list: of arguments, of files of arguments, and either in step with the list before it.
MARKS = (":::", ":::+", "::::", "::::+")


class Split(NamedTuple):
    """A command line in its parts. (A tuple: what `--help` reads is kept light.)

    `command` is what followed `--`, None without one; `sources` has one tuple of words for each `:::`, and `marks`
    which of MARKS stood before it.
    """

    options: list[str]
    command: list[str] | None
    sources: tuple[tuple[str, ...], ...]
    marks: tuple[str, ...] = ()


def split(argv: Sequence[str]) -> Split:
    """Cut a command line at the first `--` or `:::` (or another mark that begins a list).

    The command runs from `--` to the first `:::` behind it; each `:::` begins a list of arguments, and behind
    it a `--` is an argument like any other.

    >>> split(["-j", "3", "--", "echo", "{}", ":::", "a", "b"])
    Split(options=['-j', '3'], command=['echo', '{}'], sources=(('a', 'b'),), marks=(':::',))
    """
    words = list(argv)
    cut = next((at for at, word in enumerate(words) if word == "--" or word in MARKS), len(words))
    options, rest = words[:cut], words[cut:]
    command = None
    if rest[:1] == ["--"]:
        ends = next((at for at, word in enumerate(rest) if word in MARKS), len(rest))
        command, rest = rest[1:ends], rest[ends:]
    sources: list[list[str]] = []
    marks: list[str] = []
    for word in rest:
        if word in MARKS:
            sources.append([])
            marks.append(word)
        else:
            sources[-1].append(word)
    return Split(options, command, tuple(map(tuple, sources)), tuple(marks))


def words_as_bytes(words: Sequence[str]) -> list[bytes]:
    """Words of a command line as the bytes that they were. Raises UsageError on NUL."""
    made = [word.encode("utf-8", "surrogateescape") for word in words]
    for word in made:
        if b"\0" in word:
            raise UsageError(f"the argument {word[:40]!r} holds a NUL byte: no command can")
    return made


def printable(words: str) -> str:
    """Words from the command line that may hold bytes which are no UTF-8, as text that can be stored.

    >>> printable("caf\\udce9")
    'caf\\\\xe9'
    """
    return words.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class JobLines:
    """The lines of a stream as arguments, each without its newline; a last line without one counts.

    Empty lines are no jobs: they are left out and counted in `skipped`, which is right when the last line has
    been read; with `whole` they are given all the same. Nothing else is stripped. `end` is what ends a line.
    """

    def __init__(self, stream: BinaryIO, *, name: str, end: bytes = b"\n", whole: bool = False) -> None:
        self.skipped = 0
        self.whole = whole
        self._end = end
        self._name = name
        # As much as there is, where the stream can tell: a slow writer's lines are not held back.
        self._read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)

    def __iter__(self) -> Iterator[bytes]:
        """Read on. Raises UsageError on NUL and on a line of more than 16 MiB, with the line's number."""
        begun: list[bytes] = []  # the pieces of a line whose end has not come yet
        held, number = 0, 1
        end, what = self._end, "line" if self._end == b"\n" else "item"
        while block := self._read(BLOCK):
            if b"\0" in block and end != b"\0":
                number += block.count(b"\n", 0, block.index(b"\0"))
                raise UsageError(f"{self._name}: line {number} holds a NUL byte: no argument can")
            first, *lines = block.split(end)
            begun.append(first)
            held += len(first)
            if held > LONGEST_LINE:
                raise UsageError(f"{self._name}: {what} {number} is longer than 16 MiB")
            if not lines:
                continue
            number += len(lines)
            lines.insert(0, b"".join(begun))
            begun = [lines.pop()]
            held = len(begun[0])
            if not self.whole and (empty := lines.count(b"")):
                self.skipped += empty
                yield from filter(None, lines)
            else:
                yield from lines
        if held:
            yield b"".join(begun)
