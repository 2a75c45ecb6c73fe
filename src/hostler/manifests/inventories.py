"""Several files about hosts, laid over each other into one Inventory.

Per field: what a host's own line says, then its groups, then defaults; in each of these the later file wins. Tags
and groups unite. It must never let two names stand for one endpoint: a job list would run there twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hostler.errors import SpecError, UsageError
from hostler.manifests.facts import FIELDS, Facts, Group, Sheet
from hostler.manifests.plain import plain_sheet, read_plain_terms
from hostler.manifests.texts import read_text
from hostler.model.hosts import Host, Inventory, spelled
from hostler.model.nodesets import LIMIT
from hostler.model.selectors import Selector
from hostler.model.terms import Tag

_YAML = (".yaml", ".yml")
_DEFAULT, _GROUP, _OWN = range(3)


def load_inventory(paths: Sequence[Path], *, extra: Sequence[Host] = ()) -> Inventory:
    """Read inventories: `.yaml` and `.yml` as hostler's own YAML, everything else as a plain list.

    `extra` are hosts known without a file; they come last, and where a file names one of them (by name, or by
    address and port) what the file leaves open is filled in from it, and it doesn't stand there twice.

    Raises SpecError with file and line, also where two names mean one endpoint.

    >>> [host.name for host in load_inventory([], extra=[Host(name="a", address="10.0.0.1")])]
    ['a']
    """
    return _read(paths).inventory(extra)


def field_sources(paths: Sequence[Path]) -> dict[str, dict[str, str]]:
    """Where each fact about each host stands, by host and field: file, line, and whose fact it is if not its own.

    Raises SpecError.
    """
    return _read(paths).sources()


def _read(paths: Sequence[Path]) -> _Drafts:
    drafts = _Drafts()
    for path in paths:
        text = read_text(path)
        if path.suffix.lower() in _YAML:
            from hostler.manifests.sheets import read_sheet

            drafts.lay(read_sheet(path, text))
        else:
            drafts.lay(plain_sheet(str(path), read_plain_terms(str(path), text)))
    return drafts


def read_hostfile(path: str | Path) -> Selector:
    """Read a plain list of hosts, `[user@]host[:port]` one a line, as the targets that it names.

    Raises SpecError with file and line.
    """
    path = Path(path)
    if path.suffix.lower() in _YAML:
        raise SpecError(str(path), None, "a YAML inventory is given with -i; a host file is a plain list")
    terms = read_plain_terms(str(path), read_text(path))
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

    def lay(self, facts: Facts, rank: int, origin: str) -> None:
        self.ranks[rank].update(facts.fields)
        self.vars[rank].update(facts.vars)
        self.tags |= facts.tags
        for name in (*facts.fields, *(f"vars.{name}" for name in facts.vars)):
            self.origins[rank][name] = origin


class _Drafts:
    """All hosts so far, in the order in which they were first named."""

    def __init__(self) -> None:
        self._drafts: dict[str, _Draft] = {}

    def lay(self, sheet: Sheet) -> None:
        """Lay one file over what is there."""
        for mention in sheet.mentions:
            draft = self._drafts.setdefault(mention.name, _Draft())
            draft.lay(sheet.defaults, _DEFAULT, f"{sheet.path}, defaults")
            draft.lay(mention.facts, _OWN, f"{sheet.path}:{mention.line}")
            place = (sheet.path, mention.line)
            if place not in draft.places[-1:]:
                draft.places.append(place)
        if len(self._drafts) > LIMIT:
            raise SpecError(sheet.path, None, f"more than {LIMIT:,} hosts are named")
        known: Inventory | None = None
        for group in sheet.groups:
            # Names don't change while groups are laid, but tags do, and a group may be made of other groups.
            if known is None or any(isinstance(term.atom, Tag) for term in group.members.terms):
                known = Inventory(
                    tuple(
                        Host(name=name, address=name, tags=frozenset(draft.tags))
                        for name, draft in self._drafts.items()
                    )
                )
            self._group(sheet.path, group, known)

    def _group(self, path: str, group: Group, known: Inventory) -> None:
        try:
            members = group.members.pick(known)
        except UsageError as wrong:
            raise SpecError(path, group.line, f"group {group.name}: {wrong}") from None
        for member in members:
            draft = self._drafts.get(member.name)
            if draft is None:
                from difflib import get_close_matches

                close = get_close_matches(member.name, list(self._drafts)[:10_000], n=1)
                hint = f"did you mean {close[0]}?" if close else "name it under hosts: first"
                raise SpecError(
                    path, group.line, f"group {group.name}: no host is called {member.name}; {hint}"
                )
            draft.lay(group.facts, _GROUP, f"{path}:{group.line}, group {group.name}")
            draft.tags.add(group.name)

    def sources(self) -> dict[str, dict[str, str]]:
        """Where each host's facts come from: what a later rank says hides what an earlier one does."""
        found: dict[str, dict[str, str]] = {}
        for name, draft in self._drafts.items():
            of = found[name] = {}
            for origins in draft.origins:
                of |= origins
        return found

    def inventory(self, extra: Sequence[Host]) -> Inventory:
        """The hosts. Raises SpecError on facts that make no host, and on two names for one endpoint."""
        by_name = {host.name: host for host in extra}
        by_place = {(spelled(host.address), host.port or 22): host for host in extra}
        hosts, taken = [], set()
        for name, draft in self._drafts.items():
            fields: dict[str, str | int] = {}
            for rank in draft.ranks:
                fields |= rank
            place = (spelled(str(fields.get("address", name))), int(fields.get("port", 22)))
            base = by_name.get(name) or by_place.get(place)
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
    source = ", ".join(f"{path}:{line}" for path, line in draft.places)
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
        raise SpecError(path, line, str(wrong)) from None


def _refuse_twins(hosts: Iterable[Host], drafts: dict[str, _Draft]) -> None:
    seen: dict[tuple[str | None, str, int, str | None], Host] = {}
    for host in hosts:
        twin = seen.setdefault(host.place, host)
        if twin is not host:
            path, line = drafts[host.name].places[-1]
            raise SpecError(
                path,
                line,
                f"{host.name} is the same endpoint as {twin.name} of {twin.source}: {host.endpoint}",
            )
