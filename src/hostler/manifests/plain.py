"""Plain lists of hosts: `[user@]host[:port]` one a line, node sets allowed, `#` begins a comment.

The same rules hold for `-i`, `--hostfile` and `^FILE`; a list can name hosts and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from hostler.errors import SpecError
from hostler.manifests.facts import Facts, Mention, Sheet
from hostler.model.nodesets import LIMIT, Unreadable
from hostler.model.terms import Names, Term, read_terms

_COMMENT = re.compile(r"(?:^|\s)#.*")


def read_plain_terms(path: str, text: str) -> list[tuple[int, Term]]:
    """The terms of a list, each with its line; every atom is Names, and none is expanded yet.

    Raises SpecError on what is no name, and when the list names nothing.
    """
    found: list[tuple[int, Term]] = []
    count = 0
    for number, line in enumerate(text.split("\n"), 1):
        words = _COMMENT.sub("", line).strip()
        if not words:
            continue
        try:
            terms = read_terms(words)
        except Unreadable as wrong:
            column = wrong.at + 1 + len(line) - len(line.lstrip())
            raise SpecError(path, number, f"column {column}: {wrong.why}") from None
        for term in terms:
            if not isinstance(term.atom, Names) or term.sign != ",":
                raise SpecError(path, number, f"{words[:60]!r}: a list has one [user@]host[:port] a line")
            count += len(term.atom.pattern)
            if count > LIMIT:
                raise SpecError(path, number, f"more than {LIMIT:,} hosts are named")
            found.append((number, term))
    if not count:
        raise SpecError(path, None, "names no hosts")
    return found


def plain_sheet(path: str, terms: Iterable[tuple[int, Term]]) -> Sheet:
    """A list's terms as a sheet. Raises SpecError when one host is named with two users or ports."""
    mentions: dict[str, Mention] = {}
    for line, term in terms:
        assert isinstance(term.atom, Names)
        said: dict[str, str | int] = {}
        if term.user:
            said["user"] = term.user
        if term.port:
            said["port"] = term.port
        facts = Facts(fields=said)
        for name in term.atom.pattern:
            before = mentions.setdefault(name, Mention(name=name, line=line, facts=facts))
            if before.facts != facts:
                raise SpecError(
                    path,
                    line,
                    f"{name} stands on line {before.line} with another user or port: one name, one endpoint",
                )
    return Sheet(path=path, mentions=tuple(mentions.values()))
