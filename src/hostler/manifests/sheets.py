"""Hostler's own YAML inventory: hosts, groups, defaults.

    defaults: {user: deploy}
    hosts:
      web[01-20]: {tags: [web]}
      db1: {address: 10.0.0.9, port: 2222, vars: {spool: /data/spool}}
    groups:
      eu: {hosts: "web[01-10],db1", jump: gate.example.com}

A host's own fields win over its groups', those over the defaults; in one file what stands later wins. Validated by
hand, from the tables below, and never by pydantic: a batch that starts must not wait for that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from hostler.errors import SpecError, UsageError
from hostler.manifests.facts import FIELDS, Facts, Group, Mention, Sheet
from hostler.manifests.trees import Node
from hostler.manifests.values import VARIABLE, jump_fault, number_fault, tag_fault, text_fault
from hostler.model.hosts import NAME, USER
from hostler.model.nodesets import LIMIT, Pattern, Unreadable, read_pattern
from hostler.model.selectors import Selector, parse_targets
from hostler.model.terms import HostFile, Names, ResultSet, read_terms

_HOST_KEY = re.compile(r"[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,2}(?: .*)?")

HOST_KEYS = (*FIELDS, "tags", "vars")
#: What many hosts can have in common: not where they are, nor who they are.
SHARED_KEYS = tuple(key for key in HOST_KEYS if key not in ("address", "host_key"))
#: Variables that hostler itself reads: people look for them among the keys.
READ_VARS = ("python", "spool", "shell", "transport")


def read_sheet(path: Path, root: Node) -> Sheet:
    """Read a YAML inventory from its tree. Raises SpecError with the line."""
    return _Reading(path).sheet(root)


class _Reading:
    """One file being read; knows its name for complaints and its folder for relative paths."""

    def __init__(self, path: Path) -> None:
        self._path, self._folder = str(path), path.parent

    def sheet(self, root: Node) -> Sheet:
        if root.value is None:
            raise SpecError(self._path, None, "names no hosts")
        top = self._mapping(root, "an inventory", ("hosts", "groups", "defaults"))
        defaults = self._facts(top["defaults"], "defaults", SHARED_KEYS) if "defaults" in top else Facts()
        return Sheet(
            path=self._path,
            mentions=tuple(self._mentions(top["hosts"])) if "hosts" in top else (),
            groups=tuple(self._groups(top["groups"])) if "groups" in top else (),
            defaults=defaults,
        )

    def _mentions(self, hosts: Node) -> Iterable[Mention]:
        count = 0
        named = self._open_mapping(hosts, "hosts").items()
        entries = [(self._names(name, line), name, line, node) for name, (line, node) in named]
        for names, _, line, _ in entries:
            count += len(names)
            if count > LIMIT:
                self._refuse(line, f"more than {LIMIT:,} hosts are named")
        for names, name, line, node in entries:
            facts = self._facts(node, f"host {name}", HOST_KEYS)
            addresses = self._addresses(name, len(names), facts, node)
            for one, address in zip(names, addresses, strict=True):
                fields = {**facts.fields, "address": address} if address else facts.fields
                yield Mention(
                    name=one, line=line, facts=Facts(fields=fields, tags=facts.tags, vars=facts.vars)
                )

    def _names(self, text: str, line: int) -> Pattern:
        try:
            terms = read_terms(text)
        except Unreadable as wrong:
            self._refuse(line, f"host {text[:60]!r}: {wrong.why}")
        atom = terms[0].atom
        if len(terms) > 1 or not isinstance(atom, Names) or terms[0].user or terms[0].port:
            why = "user and port are fields of it" if isinstance(atom, Names) else "not a host's name"
            self._refuse(
                line, f"host {text[:60]!r}: {'one name or node set a key' if len(terms) > 1 else why}"
            )
        return atom.pattern

    def _addresses(self, name: str, count: int, facts: Facts, node: Node) -> Sequence[str | None]:
        address = facts.fields.get("address")
        if address is None:
            return [None] * count
        try:
            pattern = read_pattern(str(address)) if "[" in str(address) else Pattern((str(address),))
        except Unreadable as wrong:
            self._refuse(node.line, f"host {name}: address: {wrong.why}")
        if len(pattern) != count:
            self._refuse(node.line, f"host {name}: {count} hosts, but {len(pattern)} addresses")
        addresses = list(pattern)
        if not NAME.match(addresses[0]):
            self._refuse(
                node.line, f"host {name}: address {addresses[0]!r}: letters, digits and . _ : - only"
            )
        return addresses

    def _groups(self, groups: Node) -> Iterable[Group]:
        for name, (line, node) in self._open_mapping(groups, "groups").items():
            self._tag(name, line, "group")
            what = f"group {name}"
            entries = self._mapping(node, what, ("hosts", *SHARED_KEYS))
            if "hosts" not in entries:
                self._refuse(line, f"{what} has no hosts: give it hosts: 'web[1-9],db1'")
            members = self._members(entries.pop("hosts"), what)
            yield Group(name=name, line=line, members=members, facts=self._known_facts(entries, what))

    def _members(self, node: Node, what: str) -> Selector:
        texts = node.value if isinstance(node.value, list) else [node]
        words = [self._text(item, f"{what}: hosts") for item in texts]
        try:
            selector = parse_targets(",".join(words), what=f"{what}: hosts")
        except UsageError as wrong:
            self._refuse(node.line, str(wrong))
        for term in selector.terms:
            if term.user or term.port:
                self._refuse(node.line, f"{what}: hosts: {term}: write user: and port: in the group")
            if isinstance(term.atom, HostFile | ResultSet):
                self._refuse(node.line, f"{what}: hosts: {term} can't stand in an inventory")
        return selector

    def _facts(self, node: Node, what: str, allowed: Sequence[str]) -> Facts:
        return Facts() if node.value is None else self._known_facts(self._mapping(node, what, allowed), what)

    def _known_facts(self, entries: dict[str, Node], what: str) -> Facts:
        fields = {
            key: _FIELD_READERS[key](self, node, f"{what}: {key}")
            for key, node in entries.items()
            if key in FIELDS and node.value is not None
        }
        tags, variables = entries.get("tags"), entries.get("vars")
        return Facts(
            fields=fields,
            tags=self._tags(tags, what) if tags else frozenset(),
            vars=self._vars(variables, what) if variables else {},
        )

    def _tags(self, node: Node, what: str) -> frozenset[str]:
        if node.value is None:
            return frozenset()
        items = node.value if isinstance(node.value, list) else [node]
        return frozenset(
            self._tag(self._text(item, f"{what}: tags"), item.line, f"{what}: tag") for item in items
        )

    def _tag(self, tag: str, line: int, what: str) -> str:
        if why := tag_fault(tag):
            self._refuse(line, f"{what} {tag[:60]!r}: {why}")
        return tag

    def _vars(self, node: Node, what: str) -> dict[str, str]:
        variables = {}
        for name, (line, value) in self._open_mapping(node, f"{what}: vars").items():
            if not VARIABLE.fullmatch(name):
                self._refuse(line, f"{what}: vars: {name[:60]!r} is not a variable's name")
            variables[name] = "" if value.value is None else self._text(value, f"{what}: vars: {name}")
        return variables

    # The shapes of values.

    def _mapping(self, node: Node, what: str, allowed: Sequence[str]) -> dict[str, Node]:
        entries = self._open_mapping(node, what)
        for key, (line, _) in entries.items():
            if key not in allowed:
                if key in READ_VARS and "vars" in allowed:
                    self._refuse(line, f"{what}: {key!r} is a variable: write it below vars")
                from difflib import get_close_matches

                close = get_close_matches(key, allowed, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(allowed)}"
                self._refuse(line, f"{what}: unknown key {key[:60]!r}; {hint}")
        return {key: value for key, (_, value) in entries.items()}

    def _open_mapping(self, node: Node, what: str) -> dict[str, tuple[int, Node]]:
        if node.value is None:
            return {}
        if not isinstance(node.value, dict):
            self._refuse(node.line, f"{what} must be a mapping, this is {node.kind}")
        return node.value

    def _text(self, node: Node, what: str) -> str:
        if not isinstance(node.value, str):
            self._refuse(node.line, f"{what} must be a text, this is {node.kind}")
        if why := text_fault(node.value):
            self._refuse(node.line, f"{what} {node.value[:60]!r}: {why}")
        return node.value

    def _number(self, node: Node, what: str, least: int, most: int) -> int:
        text = self._text(node, what)
        if why := number_fault(text, least, most):
            self._refuse(node.line, f"{what} {text[:60]!r}: {why}")
        return int(text)

    def _matching(self, node: Node, what: str, pattern: re.Pattern[str], why: str) -> str:
        text = self._text(node, what)
        if not pattern.fullmatch(text) or len(text) > 8192:
            self._refuse(node.line, f"{what} {text[:60]!r}: {why}")
        return text

    def jump(self, node: Node, what: str) -> str:
        """One host, or several behind each other, to go through."""
        text = self._text(node, what)
        if why := jump_fault(text):
            self._refuse(node.line, f"{what} {text[:60]!r}: {why}")
        return text

    def identity(self, node: Node, what: str) -> str:
        """A private key's path; a relative one starts at the file's folder."""
        text = self._text(node, what)
        try:
            return str(self._folder / Path(text).expanduser())
        except RuntimeError:
            self._refuse(node.line, f"{what} {text[:60]!r}: nobody's home folder")

    def _refuse(self, line: int, why: str) -> NoReturn:
        raise SpecError(self._path, line, why)


_FIELD_READERS: dict[str, Callable[[_Reading, Node, str], str | int]] = {
    "address": lambda reading, node, what: reading._text(node, what),
    "user": lambda reading, node, what: reading._matching(node, what, USER, "not a login name"),
    "port": lambda reading, node, what: reading._number(node, what, 1, 65535),
    "jump": _Reading.jump,
    "identity": _Reading.identity,
    "host_key": lambda reading, node, what: reading._matching(
        node, what, _HOST_KEY, "write a public key line: ssh-ed25519 AAAA…"
    ),
    "slots": lambda reading, node, what: reading._number(node, what, 1, 10_000),
}
