"""Names of hosts as Ansible writes them: `www[01:50].example.com`, `db-[a:f]`, `host:2222`.

Ranges of letters are unfolded here, the rest is the grammar of targets. It must never take a name for an address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import product
from math import prod
from string import ascii_letters

from hostler.model.nodesets import LIMIT, Pattern, Unreadable
from hostler.model.terms import Names, read_terms

_LETTERS = re.compile(r"\[([A-Za-z]):([A-Za-z])(?::([0-9]{1,9}))?\]")


def read_names(text: str) -> tuple[Iterable[str], int | None]:
    """The names that a text stands for, letter by letter, and the port behind them. Raises Unreadable.

    >>> names, port = read_names("n[1:2][a:b]:2222")
    >>> [*names], port
    (['n1a', 'n2a', 'n1b', 'n2b'], 2222)
    """
    parts = _LETTERS.split(text)
    if len(parts) == 1:
        pattern, port = _one(text)
        return pattern, port
    # The signs stand where a letter will: the name's form is judged with one of each.
    ranges = [_letters(*parts[at : at + 3], text=text) for at in range(1, len(parts), 4)]
    texts = parts[::4]
    if prod(map(len, ranges)) > LIMIT:
        raise Unreadable(0, f"{text[:40]!r} stands for more than {LIMIT:,} hosts")
    first, port = _one(_joined(texts, [letters[0] for letters in ranges]))
    if len(first) * prod(map(len, ranges)) > LIMIT:
        raise Unreadable(0, f"{text[:40]!r} stands for more than {LIMIT:,} hosts")
    return _unfolded(texts, ranges), port


def _unfolded(texts: list[str], ranges: list[str]) -> Iterator[str]:
    for letters in product(*ranges):
        yield from _one(_joined(texts, letters))[0]


def _joined(texts: list[str], letters: Iterable[str]) -> str:
    return texts[0] + "".join(letter + after for letter, after in zip(letters, texts[1:], strict=True))


def _letters(begin: str, end: str, step: str | None, *, text: str) -> str:
    first, last = ascii_letters.index(begin), ascii_letters.index(end)
    if last < first or step == "0":
        raise Unreadable(0, f"{text[:40]!r}: its range of letters runs backwards, or never ends")
    return ascii_letters[first : last + 1 : int(step or 1)]


def _one(text: str) -> tuple[Pattern, int | None]:
    terms = read_terms(text)
    term = terms[0]
    if len(terms) > 1 or not isinstance(term.atom, Names):
        raise Unreadable(0, f"{text[:60]!r} is not a host's name")
    if term.user:
        raise Unreadable(0, f"{text[:60]!r}: a user is said by ansible_user={term.user[:40]}")
    return term.atom.pattern, term.port
