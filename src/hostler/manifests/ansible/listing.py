"""The JSON of `ansible-inventory --list`, and of programs that answer `--list` with it.

Names are taken as they are: nothing in them is unfolded. It must never ask a program for one host after the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from hostler.errors import SpecError
from hostler.manifests.ansible.groups import ALL, Groups
from hostler.manifests.ansible.variables import Var
from hostler.manifests.facts import Sheet
from hostler.manifests.values import name_fault
from hostler.model.nodesets import LIMIT

KEYS = ("hosts", "children", "vars")
META = "_meta"
_KEY = re.compile(r'"([^"\\\n]+)"\s*:')


def json_sheet(path: str, text: str, *, whole: bool = False) -> Sheet:
    """Read a list of hosts in JSON; with `whole` it has to tell the hosts' own variables. Raises SpecError."""
    try:
        told = json.loads(text, object_pairs_hook=lambda pairs: _object(path, pairs))
    except json.JSONDecodeError as wrong:
        raise SpecError(path, wrong.lineno, f"not JSON: {wrong.msg} (column {wrong.colno})") from None
    except RecursionError:
        raise SpecError(path, None, "not JSON that can be used: nested too deeply") from None
    except ValueError as wrong:  # a number of too many digits
        raise SpecError(path, None, f"not JSON that can be used: {str(wrong)[:100]}") from None
    return _Reading(path, text).sheet(told, whole=whole)


def _object(path: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        again = next(name for name in names if names.count(name) > 1)
        raise SpecError(path, None, f"{again[:60]!r} stands twice in one object")
    return found


class _Reading:
    """One list being read."""

    def __init__(self, path: str, text: str) -> None:
        self._path, self._text = path, text
        self._lines: dict[str, int] | None = None
        self._groups = Groups(path)

    def sheet(self, told: Any, *, whole: bool) -> Sheet:
        groups = self._object(told, "a list of hosts")
        meta = self._object(groups.pop(META, None), META)
        if whole and "hostvars" not in meta:
            self._refuse(
                "says nothing of its hosts' variables: _meta.hostvars is missing (an empty one will do)"
            )
        own = self._object(meta.get("hostvars"), "_meta.hostvars")
        named: dict[str, None] = {}
        for name, group in groups.items():
            for host in self._group(name, group):
                named[host] = None
        for host in named:
            said = self._vars(own.get(host), f"_meta.hostvars of {host[:60]}")
            self._groups.host(host, self._line(host), said)
        return self._groups.sheet()

    def _group(self, name: str, told: Any) -> Iterable[str]:
        self._groups.group(name, self._line(name))
        what = f"group {name[:60]}"
        group = {"hosts": told} if isinstance(told, list) else self._object(told, what)
        for key in group:
            if key not in KEYS:
                hint = (
                    "; hostler's own inventories are YAML, FILE.yaml" if name in ("hosts", "groups") else ""
                )
                self._refuse(f"{what}: unknown key {key[:60]!r}; there are {', '.join(KEYS)}{hint}", name)
        hosts = self._names(group.get("hosts"), f"{what}: hosts")
        for host in hosts:
            if why := name_fault(host):
                self._refuse(f"{what}: host {host[:60]!r}: {why}", name)
            self._groups.belongs(name, host)
        for child in self._names(group.get("children"), f"{what}: children"):
            self._groups.group(child, self._line(child))  # one without hosts need not stand by itself
            if name != ALL:
                self._groups.child(name, child, self._line(name))
        self._groups.says(name, self._vars(group.get("vars"), f"{what}: vars"))
        return hosts

    def _names(self, told: Any, what: str) -> list[str]:
        names = [] if told is None else told
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            hint = (
                "; a mapping is the form of Ansible's YAML: call the file .yaml"
                if isinstance(told, dict)
                else ""
            )
            self._refuse(f"{what} must be a list of names{hint}")
        if len(names) > LIMIT:
            self._refuse(f"{what}: more than {LIMIT:,} names")
        return names

    def _vars(self, told: Any, what: str) -> dict[str, Var]:
        return {name: Var(_text(value)) for name, value in self._object(told, what).items()}

    def _object(self, told: Any, what: str) -> dict[str, Any]:
        if told is None:
            return {}
        if not isinstance(told, dict):
            self._refuse(f"{what} must be an object")
        return told

    def _line(self, name: str) -> int:
        """The line of the one key of this name; 0 where there are several, or no lines to speak of."""
        if self._lines is None:
            self._lines = {}
            at = line = 0
            for key in _KEY.finditer(self._text) if self._text.count("\n") > 1 else ():
                line, at = line + self._text.count("\n", at, key.start()), key.start()
                self._lines[key[1]] = 0 if key[1] in self._lines else line + 1
        return self._lines.get(name, 0)

    def _refuse(self, why: str, name: str = "") -> NoReturn:
        raise SpecError(self._path, self._line(name) or None, why)


def _text(value: Any) -> str | None:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int() | float():
            return str(value)
    return None
