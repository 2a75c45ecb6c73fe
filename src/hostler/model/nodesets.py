"""Many names in few signs: `web[01-20]` unfolded into names, and names folded back for showing.

Patterns are read and counted here before anything is expanded, so that `n[0-99999999]` costs nothing but its
refusal. ClusterShell's RangeSet does the folding and is imported only when there is something to fold; it must
never see what a user typed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import product
from math import prod

from msgspec import Struct

LIMIT = 1_000_000
FIRST = re.compile(r"[A-Za-z0-9_]")
_ITEM = re.compile(r"([0-9]{1,18})(?:[-:]([0-9]{1,18})(?:[/:]([0-9]{1,18}))?)?\Z")
_BAD = re.compile(r"[^A-Za-z0-9._%-]")
_DIGITS = re.compile(r"([0-9]+)")
# Names that would not be read back as they were, or that hold more digits than a range may.
_UNFOLDABLE = re.compile(r"[^A-Za-z0-9._%-]|[0-9]{19}")


class Unreadable(ValueError):
    """A text that can't be understood: what is wrong and where, counted from 0."""

    def __init__(self, at: int, why: str) -> None:
        if len(why) > 320:  # of a text without end, what people read
            why = f"{why[:200]}…{why[-100:]}"
        super().__init__(why)
        self.at, self.why = at, why


class Pattern(Struct, frozen=True):
    """A name that may hold brackets: literal texts between sets of (numbers, width of zero padding)."""

    texts: tuple[str, ...]
    sets: tuple[tuple[tuple[range, int], ...], ...] = ()

    def __len__(self) -> int:
        return prod(sum(len(numbers) for numbers, _ in ranges) for ranges in self.sets)

    def __iter__(self) -> Iterator[str]:
        """The names, in the order in which they were written; the last bracket runs fastest."""
        if not self.sets:
            return iter(self.texts)
        first, *rest = self.texts
        columns = [
            [f"{number:0{width}}{text}" for numbers, width in ranges for number in numbers]
            for ranges, text in zip(self.sets, rest, strict=True)
        ]
        return map("".join, product([first], *columns))


def read_pattern(text: str) -> Pattern:
    """Read one name with any number of brackets: `web[01-20]`, `n[1-9/2]`, `r[1-2]n[1,3]`, Ansible's `www[01:50]`.

    Raises Unreadable, also when it stands for more than a million names.

    >>> list(read_pattern("n[08-10,1]"))
    ['n08', 'n09', 'n10', 'n1']
    """
    texts, sets, at = [], [], 0
    while (start := text.find("[", at)) >= 0:
        end = text.find("]", start)
        if end < 0:
            raise Unreadable(start, "'[' is not closed")
        texts.append(_literal(text, at, start))
        sets.append(_ranges(text, start + 1, end))
        at = end + 1
    texts.append(_literal(text, at, len(text)))
    pattern = Pattern(tuple(texts), tuple(sets))
    if len(text) > 255 or not FIRST.match(text.replace("[", "")):
        raise Unreadable(0, f"{text[:40]!r} can't be a host's name")
    # Counted by hand: len() stops at what a machine word holds.
    count = prod(sum(len(numbers) for numbers, _ in ranges) for ranges in sets)
    if count > LIMIT:
        raise Unreadable(0, f"{text[:40]!r} stands for {count:,} hosts: at most {LIMIT:,}")
    return pattern


def _literal(text: str, start: int, end: int) -> str:
    if found := _BAD.search(text, start, end):
        sign = found.group()
        hint = "; write web[1-9], a @tag or all" if sign in "*?" else ""
        raise Unreadable(found.start(), f"{sign!r} can't stand in a host's name{hint}")
    return text[start:end]


def _ranges(text: str, start: int, end: int) -> tuple[tuple[range, int], ...]:
    found, at = [], start
    for item in text[start:end].split(","):
        words = _ITEM.match(item)
        if not words:
            raise Unreadable(at, f"{item!r} is not a range of numbers: write 1-9, 01-20, 1-9/2 or 1,3,5")
        first, last, step = words.group(1), words.group(2) or words.group(1), int(words.group(3) or 1)
        padded = any(len(number) > 1 and number[0] == "0" for number in (first, last))
        if padded and len(first) != len(last):
            raise Unreadable(at, f"{item!r}: both ends of a range with leading zeros must be of one length")
        if int(last) < int(first):
            raise Unreadable(at, f"{item!r} runs backwards")
        if step < 1:
            raise Unreadable(at, f"{item!r}: the step must be at least 1")
        found.append((range(int(first), int(last) + 1, step), len(first) if padded else 0))
        at += len(item) + 1
    return tuple(found)


def fold(names: Iterable[str]) -> str:
    """Write names shortly for showing: numbers in them gathered into brackets, each name once.

    >>> fold(["web01", "web02", "db1", "web03"])
    'web[01-03],db1'
    """
    rows = dict.fromkeys(tuple(_DIGITS.split(name)) if _foldable(name) else (name,) for name in names)
    depth = max(map(len, rows), default=0)
    # One axis at a time, from the last number to the first: linear, where folding all axes at once may not be.
    for axis in reversed(range(1, depth, 2)):
        rows = _fold_axis(rows, axis)
    return ",".join(map("".join, rows))


def _foldable(name: str) -> bool:
    return not _UNFOLDABLE.search(name)


def _fold_axis(rows: Iterable[tuple[str, ...]], axis: int) -> dict[tuple[str, ...], None]:
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        key = (*row[:axis], "", *row[axis + 1 :]) if len(row) > axis else row
        groups.setdefault(key, []).append(row[axis] if len(row) > axis else "")
    folded: dict[tuple[str, ...], None] = {}
    for key, numbers in groups.items():
        whole = len(key) <= axis
        folded[key if whole else (*key[:axis], _gather(numbers), *key[axis + 1 :])] = None
    return folded


def _gather(numbers: list[str]) -> str:
    if len(numbers) == 1:
        return numbers[0]
    from ClusterShell.RangeSet import RangeSet

    return f"[{RangeSet(','.join(numbers))}]"
