"""Several inventories, laid over each other into one Inventory.

Per field: what a host's own line says, then its groups, then defaults; in each of these the later file wins. Tags
and groups unite. It must never let two names stand for one endpoint: a job list would run there twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hostler.errors import SpecError, UsageError
from hostler.manifests.facts import FIELDS, Facts, Group, Sheet, place
from hostler.manifests.forms import read_source, refuse_other_forms
from hostler.manifests.plain import plain_sheet, read_plain_terms
from hostler.manifests.texts import read_text
from hostler.model.hosts import Host, Inventory, spelled
from hostler.model.nodesets import LIMIT
from hostler.model.selectors import Selector
from hostler.model.terms import Tag

_DEFAULT, _GROUP, _OWN = range(3)


def load_inventory(sources: Sequence[str | Path], *, extra: Sequence[Host] = ()) -> Inventory:
    """Read inventories of any form (`forms.read_source`).

    `extra` are hosts known without a file; they come last, and where a file names one of them (by name, or by
    address and port) what the file leaves open is filled in from it, and it doesn't stand there twice.

    Raises SpecError with file and line, also where two names mean one endpoint.

    >>> [host.name for host in load_inventory([], extra=[Host(name="a", address="10.0.0.1")])]
    ['a']
    """
    return read_inventories(sources).inventory(extra)


def read_inventories(sources: Sequence[str | Path], *, no_programs: str = "") -> Drafts:
    """Read inventories once, to be asked for all that they say. Raises SpecError.

    `no_programs` is why none of them may be a program that is run, where that is so.
    """
    drafts = Drafts()
    for source in sources:
        drafts.lay(read_source(source, no_programs=no_programs))
    return drafts


def read_hostfile(path: str | Path) -> Selector:
    """Read a plain list of hosts, `[user@]host[:port]` one a line, as the targets that it names.

    Raises SpecError with file and line.
    """
    path = Path(path)
    text = read_text(path)
    refuse_other_forms(path, text)
    terms = read_plain_terms(str(path), text)
    plain_sheet(str(path), terms)  # for its complaints, which know the lines
    return Selector(tuple(term for _, term in terms))


class _Draft:
    """What is known of one host so far, by rank."""

    __slots__ = ("origins", "places", "ranks", "tags", "vars")

    def __init__(self) -> None:
        self.places: list[tuple[str, int]] = []
        self.ranks: tuple[dict[str, str | int], ...] = ({}, {}, {})
        self.vars: tuple[dict[str, str], ...] = ({}, {}, {})
        self.tags: set[str] = set()
        self.origins: tuple[dict[str, str], ...] = ({}, {}, {})

    def lay(self, facts: Facts, rank: int, *, path: str, line: int, whose: str = "") -> None:
        self.ranks[rank].update(facts.fields)
        self.vars[rank].update(facts.vars)
        self.tags |= facts.tags
        for name in (*facts.fields, *(f"vars.{name}" for name in facts.vars)):
            self.origins[rank][name] = place(path, facts.lines.get(name, line)) + whose


class Drafts:
    """All hosts so far, in the order in which they were first named, and what is to be remarked on the files."""

    def __init__(self) -> None:
        self._drafts: dict[str, _Draft] = {}
        self.remarks: list[str] = []

    @property
    def names(self) -> Iterable[str]:
        """The hosts that the inventories name."""
        return self._drafts.keys()

    def lay(self, sheet: Sheet) -> None:
        """Lay one file over what is there."""
        for mention in sheet.mentions:
            path = mention.path or sheet.path
            draft = self._drafts.setdefault(mention.name, _Draft())
            draft.lay(sheet.defaults, _DEFAULT, path=path, line=0, whose=", defaults")
            draft.lay(mention.facts, _OWN, path=path, line=mention.line)
            stands = (path, mention.line)
            if stands not in draft.places[-1:]:
                draft.places.append(stands)
        if len(self._drafts) > LIMIT:
            raise SpecError(sheet.path, None, f"more than {LIMIT:,} hosts are named")
        self.remarks += sheet.remarks
        known: Inventory | None = None
        for at, group in enumerate(sheet.groups):
            if isinstance(group.members, tuple):
                for name in group.members:
                    self._join(sheet.path, group, name)
                continue
            # Names don't change while groups are laid, but tags do, and a group may be made of other groups.
            tags = [term.atom.tag for term in group.members.terms if isinstance(term.atom, Tag)]
            if known is None or tags:
                known = Inventory(
                    tuple(
                        Host(name=name, address=name, tags=frozenset(draft.tags))
                        for name, draft in self._drafts.items()
                    )
                )
            _refuse_later(sheet, group, tags, sheet.groups[at:], known)
            self._group(sheet.path, group, group.members, known)

    def _group(self, path: str, group: Group, members: Selector, known: Inventory) -> None:
        try:
            picked = members.pick(known)
        except UsageError as wrong:
            raise SpecError(path, group.line, f"group {group.name}: {wrong}") from None
        for member in picked:
            if member.name not in self._drafts:
                from difflib import get_close_matches

                close = get_close_matches(member.name, list(self._drafts)[:10_000], n=1)
                hint = f"did you mean {close[0]}?" if close else "name it under hosts: first"
                raise SpecError(
                    path, group.line, f"group {group.name}: no host is called {member.name}; {hint}"
                )
            self._join(path, group, member.name)

    def _join(self, path: str, group: Group, name: str) -> None:
        draft = self._drafts[name]
        draft.lay(group.facts, _GROUP, path=path, line=group.line, whose=f", group {group.name}")
        draft.tags.add(group.name)

    def sources(self) -> dict[str, dict[str, str]]:
        """Where each host's facts come from, by host and field: file, line, and whose fact it is if not its own.

        What a later rank says hides what an earlier one does.
        """
        found: dict[str, dict[str, str]] = {}
        for name, draft in self._drafts.items():
            of = found[name] = {}
            for origins in draft.origins:
                of |= origins
        return found

    def inventory(self, extra: Sequence[Host] = ()) -> Inventory:
        """The hosts. Raises SpecError on facts that make no host, and on two names for one endpoint."""
        by_name = {host.name: host for host in extra}
        by_place = {(spelled(host.address), host.port or 22): host for host in extra}
        hosts, taken = [], set()
        for name, draft in self._drafts.items():
            fields: dict[str, str | int] = {}
            for rank in draft.ranks:
                fields |= rank
            at = (spelled(str(fields.get("address", name))), int(fields.get("port", 22)))
            base = by_name.get(name) or by_place.get(at)
            if base is not None:
                taken.add(base.name)
            hosts.append(_host(name, draft, fields, base))
        _refuse_twins(hosts, self._drafts)
        return Inventory((*hosts, *(host for host in extra if host.name not in taken)))


def _host(name: str, draft: _Draft, fields: dict[str, str | int], base: Host | None) -> Host:
    known: dict[str, Any] = {"address": name}
    variables: dict[str, str] = {}
    tags = set(draft.tags)
    if base is not None:
        known |= {key: value for key in FIELDS if (value := getattr(base, key)) is not None}
        variables |= dict(base.vars)
        tags |= base.tags
    for rank in draft.vars:
        variables |= rank
    source = ", ".join(place(path, line) for path, line in draft.places)
    try:
        return Host(
            name=name,
            **(known | fields),
            tags=frozenset(tags),
            vars=tuple(sorted(variables.items())),
            source=source,
        )
    except UsageError as wrong:
        path, line = draft.places[-1]
        raise SpecError(path, line or None, str(wrong)) from None


def _refuse_later(
    sheet: Sheet, group: Group, tags: Iterable[str], later: Sequence[Group], known: Inventory
) -> None:
    """Refuse a group made of one that stands below it, or of itself: nobody knows yet who is in that."""
    below = {each.name: each.line for each in later}
    for tag in tags:
        if tag in below and not known.tagged(tag):
            why = "itself" if tag == group.name else f"@{tag}, which stands below it (line {below[tag]})"
            raise SpecError(
                sheet.path, group.line, f"group {group.name} is made of {why}: write it of groups above it"
            )


def _refuse_twins(hosts: Iterable[Host], drafts: dict[str, _Draft]) -> None:
    seen: dict[tuple[str | None, str, int, str | None], Host] = {}
    for host in hosts:
        twin = seen.setdefault(host.place, host)
        if twin is not host:
            path, line = drafts[host.name].places[-1]
            raise SpecError(
                path,
                line or None,
                f"{host.name} is the same endpoint as {twin.name} of {twin.source}: {host.endpoint}",
            )
