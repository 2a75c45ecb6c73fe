"""Hosts, groups within groups and their variables, as a reader of an Ansible form finds them, made into a sheet.

A group is a tag of all its hosts, those of the groups below it too. Of variables that several groups say of one host,
the deeper group's holds, as Ansible has it. A group that is above itself is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from hostler.errors import SpecError
from hostler.manifests.ansible.variables import PRIORITY, Translator, Var
from hostler.manifests.facts import Facts, Group, Mention, Sheet
from hostler.manifests.values import tag_fault
from hostler.model.nodesets import LIMIT

ALL = "all"
#: Hosts in groups, added up, that one file may come to.
MOST = 3 * LIMIT


class _Node:
    """One group so far."""

    __slots__ = ("children", "hosts", "line", "vars")

    def __init__(self, line: int) -> None:
        self.line = line
        self.hosts: dict[str, None] = {}
        self.children: dict[str, int] = {}
        self.vars: dict[str, Var] = {}


class Groups:
    """One inventory as it is read. Every complaint is a SpecError, with a line where there is one."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._nodes: dict[str, _Node] = {}
        self._mentions: list[tuple[str, int, Mapping[str, Var]]] = []
        self._names: set[str] = set()

    def group(self, name: str, line: int) -> None:
        """A group is there, be it empty."""
        if name not in self._nodes:
            if name != ALL and (why := tag_fault(name)):
                raise SpecError(self._path, line or None, f"group {name[:60]!r}: {why}")
            self._nodes[name] = _Node(line)

    def host(self, name: str, line: int, said: Mapping[str, Var]) -> None:
        """A host is there, with variables of its own."""
        self._names.add(name)
        if len(self._names) > LIMIT or len(self._mentions) > MOST:
            raise SpecError(self._path, line or None, f"more than {LIMIT:,} hosts are named")
        self._mentions.append((name, line, said))

    def belongs(self, group: str, host: str) -> None:
        """A host is in a group."""
        self._nodes[group].hosts[host] = None

    def child(self, group: str, child: str, line: int) -> None:
        """A group is part of another."""
        if child == ALL:
            raise SpecError(self._path, line or None, f"group {group}: all can't be below another group")
        self._nodes[group].children.setdefault(child, line)

    def says(self, group: str, said: Mapping[str, Var]) -> None:
        """A group's hosts have these variables."""
        self._nodes[group].vars |= said

    def undefined(self, name: str, known: Iterable[str] | None = None) -> str:
        """What to say of a name that no group has; `known` are those that have one, where not all are."""
        close = get_close_matches(name, [*(self._nodes if known is None else known)][:10_000], n=1)
        return f"no group is called {name[:60]}" + (f"; did you mean {close[0]}?" if close else "")

    def sheet(self) -> Sheet:
        """All that was found."""
        translator = Translator(self._path)
        if not self._mentions:
            raise SpecError(self._path, None, "names no hosts")
        mentions = [
            Mention(name=name, line=line, facts=translator.facts(said, f"host {name}"))
            for name, line, said in self._mentions
        ]
        everyone = self._nodes.pop(ALL, None)
        order = self._order()
        members = self._members(order)
        groups = [
            Group(
                name=name,
                line=self._nodes[name].line,
                members=tuple(members[name]),
                facts=translator.facts(self._nodes[name].vars, f"group {name}"),
            )
            for name in self._ranked(order)
        ]
        return Sheet(
            path=self._path,
            mentions=tuple(mentions),
            groups=tuple(groups),
            defaults=translator.facts(everyone.vars, "group all") if everyone else Facts(),
            remarks=tuple(translator.remarks()),
        )

    def _order(self) -> list[str]:
        """The groups, each before those that it is part of. Raises SpecError for a cycle, and for what isn't there."""
        waits: dict[str, int] = {}
        parents: dict[str, list[str]] = {}
        for name, node in self._nodes.items():
            waits[name] = len(node.children)
            for child, line in node.children.items():
                if child not in self._nodes:
                    raise SpecError(self._path, line or None, f"group {name}: {self.undefined(child)}")
                parents.setdefault(child, []).append(name)
        ready = [name for name, count in waits.items() if not count]
        for name in ready:
            for parent in parents.get(name, ()):
                waits[parent] -= 1
                if not waits[parent]:
                    ready.append(parent)
        if len(ready) < len(waits):
            self._refuse_cycle({name for name, count in waits.items() if count})
        return ready

    def _refuse_cycle(self, left: set[str]) -> None:
        """Name one cycle among groups that all wait for another."""
        at, seen = min(left), dict[str, None]()
        while at not in seen:
            seen[at] = None
            at = next(child for child in self._nodes[at].children if child in left)
        round_ = [*seen][[*seen].index(at) :]
        line = self._nodes[round_[-1]].children[at]
        shown = [*round_, at] if len(round_) <= 8 else [*round_[:4], "…", *round_[-2:], at]
        raise SpecError(self._path, line or None, f"a group is part of itself: {' > '.join(shown)}")

    def _members(self, order: Iterable[str]) -> dict[str, dict[str, None]]:
        members: dict[str, dict[str, None]] = {}
        count = 0
        for name in order:
            node = self._nodes[name]
            found = members[name] = dict(node.hosts)
            for child in node.children:
                found.update(members[child])
            count += len(found) + len(node.children)
            if count > MOST:
                raise SpecError(
                    self._path, node.line or None, f"its groups hold more than {MOST:,} hosts, added up"
                )
        return members

    def _ranked(self, order: list[str]) -> list[str]:
        """The groups, each before those whose variables win over its own."""
        depth = dict.fromkeys(order, 1)
        for name in reversed(order):
            for child in self._nodes[name].children:
                depth[child] = max(depth[child], depth[name] + 1)
        return sorted(order, key=lambda name: (depth[name], self._priority(name), name))

    def _priority(self, name: str) -> int:
        var = self._nodes[name].vars.get(PRIORITY)
        if var is None:
            return 1
        text = var.text or ""
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise SpecError(
                self._path,
                var.line or None,
                f"group {name}: {PRIORITY} {text[:60]!r}: must be a whole number",
            )
        return int(text)
