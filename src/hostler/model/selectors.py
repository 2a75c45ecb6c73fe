"""Which hosts are meant: a parsed target text, and how it picks from an inventory.

A Selector is a value. It never reads a file or a store: what `^FILE` and `@last:failed` stand for is answered by
functions that `pick` is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from hostler.errors import UsageError
from hostler.model.hosts import Host, Inventory, spelled
from hostler.model.nodesets import Unreadable, fold
from hostler.model.terms import Everything, HostFile, Names, ResultSet, Tag, Term, read_terms

__all__ = ["ResultSet", "Selector", "fold", "parse_targets"]

#: Answers an earlier run's hosts, as that run knew them. Raises UsageError.
Results = Callable[[ResultSet], Iterable[Host]]
#: Reads a host file by its path.
Files = Callable[[str], "Selector"]


class Selector(Struct, frozen=True):
    """A parsed target text: terms that are taken together from left to right. `what` begins complaints about it.

    >>> web = Host(name="web1", address="10.0.0.5", tags=frozenset({"web"}))
    >>> [host.endpoint for host in parse_targets("root@@web,db1:2222").pick(Inventory((web,)))]
    ['root@10.0.0.5', 'db1:2222']
    """

    terms: tuple[Term, ...]
    what: str = "targets"

    def pick(
        self,
        inventory: Inventory,
        *,
        results: Results | None = None,
        files: Files | None = None,
        within: Selector | None = None,
        leave_out: Selector | None = None,
    ) -> tuple[Host, ...]:
        """The hosts meant, in the order in which they were named, each once; none is a possible answer.

        A name that the inventory doesn't know is an address. Where that is the address and port of a known
        host, all that is known of that host holds for it, and both are one host to `&`, `!` and `^`.
        `results` answers earlier results: a host that the inventory doesn't know by its name is the one that the
        earlier run knew. `files` reads what `^FILE` names (`manifests.read_hostfile`). Of the hosts only those of
        `within` are taken, and those of `leave_out` left out, whatever name they were picked by.

        Raises UsageError on an unknown tag, on earlier results that nobody answers, and where two terms give
        one host with different users or ports.
        """
        known = _Known(inventory, results, files)
        picked = self._taken(known)
        if within is not None:
            picked = _common(picked, within._taken(known))
        if leave_out is not None:
            picked = _minus(picked, leave_out._taken(known))
        return tuple(pick.host for pick in picked.values())

    def _taken(self, known: _Known) -> dict[str, _Pick]:
        try:
            return _taken(self.terms, known)
        except Unpickable as wrong:
            raise UsageError(f"{self.what}: column {wrong.at + 1}: {wrong.why}") from None


class Unpickable(ValueError):
    """A term that is well written and stands for no host that could be told: where, counted from 0, and why."""

    def __init__(self, at: int, why: str) -> None:
        super().__init__(why)
        self.at, self.why = at, why


def parse_targets(text: str, *, what: str = "targets") -> Selector:
    """Read a target text: `web[01-20]`, `@db&!old`, `root@10.0.0.5:2222`, `^hosts.txt`, `@last:failed`.

    Signs, all of one rank, left to right: `,` or, `&` and, `!` (or `&!`) minus, `^` one but not both.

    Raises UsageError that says what is wrong and at which column; `what` begins it.

    >>> parse_targets("web1,,")
    Traceback (most recent call last):
    hostler.errors.UsageError: targets: column 6: expected a name after ','
    """
    try:
        return Selector(read_terms(text), what)
    except Unreadable as wrong:
        raise UsageError(f"{what}: column {wrong.at + 1}: {wrong.why}") from None


class _Pick(Struct, frozen=True):
    """A host, and the term that gave it."""

    host: Host
    term: Term


class _Known:
    """What names can be looked up in, indexed once per pick."""

    def __init__(self, inventory: Inventory, results: Results | None, files: Files | None) -> None:
        self.inventory, self.results, self.files = inventory, results, files
        self.names = {host.name: host for host in inventory}
        self._endpoints: dict[tuple[str, int], list[Host]] | None = None

    def at(self, address: str, user: str | None, port: int | None) -> Host | None:
        """The known host at an address and port: the one of that user if there are several."""
        if self._endpoints is None:
            self._endpoints = {}
            for host in self.inventory:
                self._endpoints.setdefault((spelled(host.address), host.port or 22), []).append(host)
        there = self._endpoints.get((spelled(address), port or 22), ())
        return next((host for host in there if host.user == user), there[0] if there else None)


def _taken(terms: Iterable[Term], known: _Known) -> dict[str, _Pick]:
    """The hosts of all terms, from left to right."""
    picked: dict[str, _Pick] = {}
    for term in terms:
        picked = _SIGNS[term.sign](picked, _picks(term, known))
    return picked


def _picks(term: Term, known: _Known) -> dict[str, _Pick]:
    """The hosts of one term, by the name that they are known under."""
    picks: dict[str, _Pick] = {}
    for key, host in _hosts(term, known):
        if (term.user and term.user != host.user) or (term.port and term.port != host.port):
            host = replace(host, user=term.user or host.user, port=term.port or host.port)
        picks.setdefault(key, _Pick(host, term))
    return picks


def _hosts(term: Term, known: _Known) -> Iterator[tuple[str, Host]]:
    match term.atom:
        case Names(pattern):
            for name in pattern:
                yield _named(name, term, known)
        case Everything():
            yield from known.names.items()
        case Tag(tag):
            tagged = known.inventory.tagged(tag)
            if not tagged:
                raise Unpickable(term.column - 1, _unknown_tag(tag, known.inventory))
            for host in tagged:
                yield host.name, host
        case HostFile(path):
            if known.files is None:
                raise Unpickable(term.column - 1, f"{term}: a file of hosts can't be named here")
            yield from ((key, pick.host) for key, pick in _taken(known.files(path).terms, known).items())
        case ResultSet():
            if known.results is None:
                raise Unpickable(term.column - 1, f"{term}: hosts can't be chosen by earlier results here")
            try:
                earlier = [*known.results(term.atom)]
            except UsageError as wrong:
                raise Unpickable(term.column - 1, f"{term}: {wrong}") from None
            for host in earlier:
                yield _met(host, known)


def _named(name: str, term: Term, known: _Known) -> tuple[str, Host]:
    if host := known.names.get(name):
        return name, host
    if host := known.at(name, term.user, term.port):
        return host.name, replace(host, name=name)
    return name, Host(name=name, address=name)


def _met(host: Host, known: _Known) -> tuple[str, Host]:
    """A host of an earlier run: the known one of its name or endpoint, else as it was then."""
    if now := known.names.get(host.name):
        return host.name, now
    there = known.at(host.address, host.user, host.port)
    if there is not None and there.user == host.user:
        return there.name, replace(there, name=host.name)
    return host.name, host


def _unknown_tag(tag: str, inventory: Inventory) -> str:
    tag = tag if len(tag) <= 200 else f"{tag[:200]}…"
    tags = sorted({tag for host in inventory for tag in host.tags})
    if not tags:
        return f"no host carries the tag {tag!r}: the inventory has no tags"
    from difflib import get_close_matches

    close = get_close_matches(tag, tags, n=3)
    if tag == "all":
        return "no host carries the tag 'all': every host is all, without the @"
    hint = f"did you mean {' or '.join('@' + word for word in close)}? " if close else ""
    shown = " ".join("@" + word for word in tags[:20]) + (f" and {len(tags) - 20} more" if tags[20:] else "")
    return f"no host carries the tag {tag!r}; {hint}there are: {shown}"


def _union(left: dict[str, _Pick], right: dict[str, _Pick]) -> dict[str, _Pick]:
    # In place: a host file of ten thousand lines is as many unions.
    for key, pick in right.items():
        if key in left:
            _same_way(left[key], pick)
        else:
            left[key] = pick
    return left


def _common(left: dict[str, _Pick], right: dict[str, _Pick]) -> dict[str, _Pick]:
    both: dict[str, _Pick] = {}
    for key, pick in left.items():
        if other := right.get(key):
            if other.term.user or other.term.port:
                # `all & root@@web`: the right side may say how to reach what the left side chose.
                if pick.term.user or pick.term.port:
                    _same_way(pick, other)
                pick = other
            both[key] = pick
    return both


def _minus(left: dict[str, _Pick], right: dict[str, _Pick]) -> dict[str, _Pick]:
    return {key: pick for key, pick in left.items() if key not in right}


def _either(left: dict[str, _Pick], right: dict[str, _Pick]) -> dict[str, _Pick]:
    return _minus(left, right) | _minus(right, left)


def _same_way(one: _Pick, other: _Pick) -> None:
    a, b = one.host, other.host
    if (a.user, a.port or 22) != (b.user, b.port or 22):
        raise UsageError(
            f"targets: {one.term} (column {one.term.column}) and {other.term} (column "
            f"{other.term.column}) mean {a.name} in two ways: {a.endpoint} and {b.endpoint}; "
            "leave one out, or give each a name of its own in an inventory"
        )


_SIGNS = {",": _union, "&": _common, "!": _minus, "^": _either}
