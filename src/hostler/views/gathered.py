"""Hosts that said the same, shown once: each text under the folded set of those who said it.

Texts are read when they are compared and again when they are shown, never kept: a thousand hosts may say a gigabyte.
What goes to a terminal has been made harmless before it comes here, or is by `shown`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import unified_diff
from itertools import islice

from msgspec import Struct, field

from hostler.model.hosts import Host
from hostler.model.masks import mask
from hostler.model.nodesets import fold
from hostler.views.text import fit

#: Reads a host's text from its beginning, in pieces cut anywhere.
Read = Callable[[], Iterable[bytes]]

#: Makes a text harmless to where it is shown, or leaves it as it is.
Shown = Callable[[Iterable[bytes]], Iterable[bytes]]

#: A line longer than this is compared in parts of this many bytes.
LONGEST = 1 << 20
#: Lines of a text that take part in a difference; of longer ones only the beginnings are compared.
DIFFERED = 10_000
RULE = 15


class Answer(Struct, frozen=True, kw_only=True):
    """What one host said: `how` it ended in words ("" when well), and a way to read its text."""

    host: Host
    how: str
    read: Read


class Group(Struct, kw_only=True):
    """Hosts whose answers are alike; `first` is the one whose text is shown.

    `exact` says that all said the same to the byte. `told` counts those who have been shown.
    """

    how: str
    first: Answer
    digest: bytes
    names: list[str] = field(default_factory=list)
    exact: bool = True
    told: int = 0


class Gathering:
    """Answers put together as they come.

    >>> gathered = Gathering()
    >>> for name, text in (("n1", b"a\\n"), ("n2", b"b\\n"), ("n3", b"a\\n")):
    ...     gathered.add(Answer(host=Host(name=name, address=name), how="", read=lambda text=text: [text]))
    >>> [(fold(group.names), group.exact) for group in gathered.groups()]
    [('n[1,3]', True), ('n2', True)]
    """

    def __init__(self, *, masks: Sequence[str] = ()) -> None:
        self._masks = tuple(masks)
        self._groups: dict[tuple[str, bytes], Group] = {}
        self.count = 0

    def add(self, answer: Answer) -> Group:
        """Put an answer to those that are like it."""
        exact, masked = self._digests(answer)
        group = self._groups.setdefault(
            (answer.how, masked), Group(how=answer.how, first=answer, digest=exact)
        )
        group.names.append(answer.host.name)
        group.exact = group.exact and group.digest == exact
        self.count += 1
        return group

    def groups(self) -> list[Group]:
        """All groups: those that ended well first, then the largest first, then by who came first."""
        return sorted(self._groups.values(), key=lambda group: (group.how != "", -len(group.names)))

    def fresh(self) -> list[tuple[Group, list[str]]]:
        """The groups that somebody has joined since they were told, and who; whoever tells of them adds to `told`."""
        return [
            (group, group.names[group.told :]) for group in self.groups() if group.told < len(group.names)
        ]

    def _digests(self, answer: Answer) -> tuple[bytes, bytes]:
        whole = hashlib.sha256()
        if not self._masks:
            for piece in answer.read():
                whole.update(piece)
            return whole.digest(), whole.digest()
        alike, masked = hashlib.sha256(), mask(self._masks, answer.host)
        for line in lines(answer.read()):
            whole.update(line)
            alike.update(masked(line))
        return whole.digest(), alike.digest()


def lines(pieces: Iterable[bytes], *, longest: int = LONGEST) -> Iterator[bytes]:
    """The lines of a text, each with its end, the last one perhaps without; of a longer one `longest` bytes at a time.

    >>> list(lines([b"a\\nb", b"c\\n", b"d"]))
    [b'a\\n', b'bc\\n', b'd']
    """
    rest = b""
    for piece in pieces:
        found = (rest + piece).split(b"\n")
        rest = found.pop()
        for line in found:
            yield line + b"\n"
        while len(rest) >= longest:
            yield rest[:longest]
            rest = rest[longest:]
    if rest:
        yield rest


def header(group: Group, names: Sequence[str], *, width: int, colour: bool) -> bytes:
    """The lines above a text: a rule, who said it and how many they are, a rule.

    >>> group = Group(how="exit 2", first=Answer(host=Host(name="n1", address="n1"), how="", read=list), digest=b"")
    >>> print(header(group, ["n1", "n2"], width=40, colour=False).decode(), end="")
    ---------------
    n[1-2] (2): exit 2
    ---------------
    """
    text = _set(names)
    if group.how:
        text += f": {group.how}"
    if not group.exact:
        text += f", alike; {group.first.host.name} is shown"
    rule = "-" * RULE
    text = fit(text, width) if width else text
    if colour:
        rule, text = f"\x1b[2m{rule}\x1b[0m", f"\x1b[1;{31 if group.how else 36}m{text}\x1b[0m"
    return f"{rule}\n{text}\n{rule}\n".encode()


def block(group: Group, names: Sequence[str], *, width: int, colour: bool, shown: Shown) -> Iterable[bytes]:
    """What is shown of a group for those `names` of it that are new: its text at the first time, later only who."""
    if group.told:
        also = f"{_set(names)}: as {group.first.host.name}"
        return [f"{also} ({group.how})\n".encode() if group.how else f"{also}\n".encode()]
    return _whole(header(group, names, width=width, colour=colour), group.first, shown)


def _whole(head: bytes, first: Answer, shown: Shown) -> Iterator[bytes]:
    yield head
    last = b"\n"
    for piece in shown(first.read()):
        if piece:
            yield piece
            last = piece[-1:]
    if last != b"\n":
        yield b"\n"


def difference(groups: Sequence[Group], *, colour: bool, shown: Shown) -> Iterator[bytes]:
    """How each group's text differs from the reference's: those that ended well first, then the largest.

    The headers name the sets: `--- n[01-39] (39)`, `+++ n40`.
    """
    if not groups:
        return
    reference, *others = groups
    before = _text(reference, shown)
    for group in others:
        names = [_who(one) for one in (reference, group)]
        found = list(unified_diff(before, _text(group, shown), names[0], names[1], lineterm=""))
        if not found and reference.how != group.how:
            found = [f"--- {names[0]}", f"+++ {names[1]}"]
        for line in found:
            text = line.rstrip("\n")
            if colour and text[:1] in "+-@":
                code = {"+": "32", "-": "31", "@": "36"}[text[0]]
                text = f"\x1b[{code}m{text}\x1b[0m"
            yield text.encode("utf-8", "surrogateescape") + b"\n"


def _who(group: Group) -> str:
    return _set(group.names) + (f": {group.how}" if group.how else "")


def _set(names: Sequence[str]) -> str:
    """The folded set of several names with their count; a single name as it is."""
    return f"{fold(names)} ({len(names)})" if len(names) > 1 else names[0]


def _text(group: Group, shown: Shown) -> list[str]:
    some = islice(lines(shown(group.first.read())), DIFFERED)
    return [line.decode("utf-8", "surrogateescape").rstrip("\n") for line in some]


def outliers(groups: Sequence[Group], *, total: int, shown: int = 5) -> str:
    """In one line, who differs from most: "3 of 200 differ: n07, n[11,13]"; empty when all are alike or none are most.

    >>> one = Answer(host=Host(name="n1", address="n1"), how="", read=list)
    >>> most = Group(how="", first=one, digest=b"", names=["n1", "n2", "n3"])
    >>> outliers([most, Group(how="", first=one, digest=b"", names=["n7"])], total=4)
    '1 of 4 differs: n7'
    """
    most = max(groups, key=lambda group: len(group.names), default=None)
    if most is None or len(most.names) * 2 <= total or len(most.names) == total:
        return ""
    others = [group for group in groups if group is not most]
    count = sum(len(group.names) for group in others)
    sets = [fold(group.names) for group in others[:shown]]
    more = f" and {len(others) - shown} more kinds" if len(others) > shown else ""
    return f"{count} of {total} {'differs' if count == 1 else 'differ'}: {', '.join(sets)}{more}"
