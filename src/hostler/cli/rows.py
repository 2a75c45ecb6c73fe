"""How lines and words become the arguments of jobs: columns, names for them, combinations, another order.

What a job is given is decided here alone, without reading anything. It must never change a byte of an argument.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, cycle, islice, product
from typing import Any

from msgspec import Struct

from hostler.errors import UsageError

Row = tuple[bytes, ...]


class Form(Struct, frozen=True, kw_only=True):
    """What was asked for: `null` ends lines by NUL, `words` cuts them as a shell would, `colsep` cuts them by itself.

    With `header` the first line, or the first word of each list, names columns. `link` pairs lists instead of
    combining them. `seed` is what the order is shuffled by, None for none.
    """

    null: bool = False
    words: bool = False
    colsep: re.Pattern[bytes] | None = None
    header: bool = False
    link: bool = False
    seed: int | None = None

    def kept(self) -> dict[str, Any] | None:
        """What jobs that are added later are read by, for a spec: all but order and header; None where lines are plain.

        >>> Form(null=True).kept(), Form.of_kept(None).null
        ({'null': True}, False)
        """
        made: dict[str, Any] = {name: True for name in ("null", "words", "link") if getattr(self, name)}
        if self.colsep is not None:
            made["colsep"] = self.colsep.pattern.decode("utf-8", "surrogateescape")
        return made or None

    @classmethod
    def of_kept(cls, kept: Mapping[str, Any] | None) -> Form:
        """The form that `kept` gave."""
        made = dict(kept or {})
        if "colsep" in made:
            made["colsep"] = column_separator(made["colsep"])
        return cls(**made)

    @property
    def plain(self) -> bool:
        """Whether a line is one argument."""
        return not self.words and self.colsep is None

    def cut(self, line: bytes) -> Row:
        """One line's arguments. Raises UsageError on a quote that is not closed.

        >>> Form(words=True).cut(b"a 'b c'"), Form(colsep=re.compile(b",")).cut(b"a,,b")
        ((b'a', b'b c'), (b'a', b'', b'b'))
        """
        if self.words:
            try:
                # By way of Latin-1, so that every byte is a character and comes back.
                return tuple(word.encode("latin-1") for word in shlex.split(line.decode("latin-1")))
            except ValueError:
                raise UsageError(
                    f"{_shown(line)} has a quote that is not closed, or ends in a backslash"
                ) from None
        if self.colsep is None:
            return (line,)
        made, done = [], 0
        for found in self.colsep.finditer(line):
            made.append(line[done : found.start()])
            done = found.end()
        return (*made, line[done:])


def column_separator(text: str) -> re.Pattern[bytes]:
    r"""The separator of --colsep. Raises UsageError on what is no regular expression, or separates nothing.

    >>> column_separator(r"\t").split(b"a\tb")
    [b'a', b'b']
    """
    try:
        pattern = re.compile(text.encode("utf-8", "surrogateescape"))
    except re.error as error:
        raise UsageError(f"--colsep {text!r}: no regular expression: {error}") from None
    if pattern.match(b""):
        raise UsageError(f"--colsep {text!r}: it separates columns by nothing at all")
    return pattern


def checked_names(names: Row, *, where: str) -> tuple[str, ...]:
    """Columns' names as a header gives them. Raises UsageError on one that could not be asked for."""
    made: list[str] = []
    for name in names:
        text = name.decode("utf-8", "surrogateescape")
        if not text or text.isdigit() or text in ("raw", "#", "%") or set(text) & set("{}/\n"):
            raise UsageError(f"{where}: {text!r} can't name a column")
        if text in made:
            raise UsageError(f"{where}: two columns are called {text!r}")
        made.append(text)
    return tuple(made)


_NAMED = re.compile(r"(?<!\$)\{([^\W\d][\w .-]*?)(\.|//|/\.|/)?\}")


def with_numbers(words: Sequence[str], names: Sequence[str]) -> list[str]:
    """The command's words with every `{name}` written as the number of its column, which every column has.

    Raises UsageError for a name that no column has.

    >>> with_numbers(["cp", "{from}", "{to/}"], ["from", "to"])
    ['cp', '{1}', '{2/}']
    """
    numbers = {name: at for at, name in enumerate(names, 1)}

    def number(found: re.Match[str]) -> str:
        name, part = found[1], found[2] or ""
        if name + part in numbers:
            name, part = name + part, ""
        if name == "raw" and not part:
            return found[0]
        if name not in numbers:
            raise UsageError(f"the command asks for {found[0]}; the columns are {', '.join(names)}")
        return f"{{{numbers[name]}{part}}}"

    return [_NAMED.sub(number, word) for word in words]


def combined(lists: Sequence[Sequence[Row]], linked: Sequence[bool], *, link: bool = False) -> Iterator[Row]:
    """Every combination of one row from each list, the last one running fastest; none where a list is empty.

    A list that is `linked` goes in step with the one before it, as far as both go. With `link` all go in step, and
    those that are shorter begin again.

    >>> two = [[(b"a",), (b"b",)], [(b"1",), (b"2",)]]
    >>> list(combined(two, [False, True])), next(combined(two, [False, False]))
    ([(b'a', b'1'), (b'b', b'2')], (b'a', b'1'))
    """
    if not lists or not all(lists):
        return
    if link:
        longest = max(map(len, lists))
        for together in islice(zip(*map(cycle, lists), strict=True), longest):
            yield _flat(together)
        return
    groups: list[list[Sequence[Row]]] = []
    for rows, joined in zip(lists, linked, strict=True):
        if joined:
            groups[-1].append(rows)
        else:
            groups.append([rows])
    steps = [
        group[0] if len(group) == 1 else [_flat(rows) for rows in zip(*group, strict=False)]
        for group in groups
    ]
    for chosen in product(*steps):
        yield chosen[0] if len(chosen) == 1 else _flat(chosen)


def _flat(rows: Sequence[Row]) -> Row:
    return tuple(chain.from_iterable(rows))


def _shown(line: bytes) -> str:
    return repr(line[:40].decode("utf-8", "backslashreplace"))
