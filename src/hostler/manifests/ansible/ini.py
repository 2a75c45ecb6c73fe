"""Ansible's INI inventories: hosts with variables, `[group]`, `[group:children]`, `[group:vars]`.

Words of a host's line are cut as a shell would, as Ansible does. It must never pass over a line that it can't read.
"""

from __future__ import annotations

import re
import shlex
import warnings
from ast import literal_eval
from contextlib import suppress
from typing import NoReturn

from hostler.errors import SpecError
from hostler.manifests.ansible.groups import ALL, Groups
from hostler.manifests.ansible.names import read_names
from hostler.manifests.ansible.variables import Var
from hostler.manifests.facts import Sheet
from hostler.model.nodesets import Unreadable

_SECTION = re.compile(r"\[([^:\]\s\[]+)(?::(\w+))?\]\s*(?:[#;].*)?")
#: What no plain list holds: a section that begins with a letter, or a host with variables.
_FORM = re.compile(
    r"^\[[A-Za-z_][\w.-]*(?::[A-Za-z]+)?\][ \t]*(?:[#;].*)?\r?$|^[^\s#;=][^\s#;]*[ \t]+[A-Za-z_]\w*=",
    re.MULTILINE,
)
_QUOTED = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\s*(?:#.*)?""")
_NUMBERED = re.compile(r"([0-9]+)\s+#.*")
_SHELL = re.compile(r"""['"\\#\n]""")
_WORD = re.compile(r"[^ \t\r\n]+")
UNGROUPED = "ungrouped"


def is_ini(text: str) -> bool:
    """Whether a text has the form of Ansible's INI: section headers at line starts, or hosts with variables.

    >>> is_ini("[web]\\nweb1\\n"), is_ini("web1\\nroot@web2:22\\n[fe80::1]:22\\n")
    (True, False)
    """
    return _FORM.search(text) is not None


def ini_sheet(path: str, text: str) -> Sheet:
    """Read an INI inventory. Raises SpecError with the line."""
    return _Reading(path).sheet(text)


class _Reading:
    """One file being read: the section that it has come to, and what sections promised of others."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._groups = Groups(path)
        self._groups.group(ALL, 0)
        self._known: set[str] = {ALL, UNGROUPED}
        self._wanted: dict[str, tuple[int, str]] = {}

    def sheet(self, text: str) -> Sheet:
        group, kind = "", "hosts"
        for number, raw in enumerate(text.split("\n"), 1):
            line = raw.strip()
            if not line or line[0] in "#;":
                continue
            if section := _SECTION.fullmatch(line):
                group, kind = section[1], section[2] or "hosts"
                self._section(group, kind, number)
            elif line.startswith("[") and line.endswith("]") and "::" not in line and line.count("[") == 1:
                self._refuse(
                    number, f"{line[:60]!r} is no section: write [group], [group:children] or [group:vars]"
                )
            elif kind == "hosts":
                self._hosts(line, group, number)
            elif kind == "children":
                self._child(line, group, number)
            else:
                self._groups.says(group, dict([self._variable(line, number)]))
        for name, (number, where) in self._wanted.items():
            if name not in self._known:
                self._refuse(number, f"[{where}]: {self._groups.undefined(name, self._known)}")
        return self._groups.sheet()

    def _section(self, group: str, kind: str, number: int) -> None:
        if kind not in ("hosts", "children", "vars"):
            self._refuse(
                number, f"[{group[:40]}:{kind[:40]}]: there are [group], [group:children] and [group:vars]"
            )
        if kind == "vars":
            self._wanted.setdefault(group, (number, f"{group[:40]}:vars"))
        else:
            self._known.add(group)
        self._groups.group(group, number)

    def _hosts(self, line: str, group: str, number: int) -> None:
        try:
            # Most lines hold nothing that only a shell's rules could cut, and those are slow.
            words = shlex.split(line, comments=True) if _SHELL.search(line) else _WORD.findall(line)
        except ValueError as wrong:
            self._refuse(number, f"{str(wrong).lower()}: quotes are those of a shell")
        if not words:
            return
        said: dict[str, Var] = {}
        for word in words[1:]:
            name, equals, value = word.partition("=")
            if not equals or not name:
                self._refuse(number, f"{word[:60]!r}: a host's name is followed by variables, NAME=VALUE")
            said[name] = Var(_plain(value), number)
        try:
            names, port = read_names(words[0])
        except Unreadable as wrong:
            self._refuse(number, wrong.why)
        if port is not None:
            if said.get("ansible_port", Var(str(port))).text != str(port):
                self._refuse(number, f"{words[0][:60]}: ansible_port says another port")
            said["ansible_port"] = Var(str(port), number)
        for name in names:
            self._groups.host(name, number, said)
            if group:
                self._groups.belongs(group, name)

    def _child(self, line: str, group: str, number: int) -> None:
        name, *rest = line.split("#")[0].split()
        if rest:
            self._refuse(number, f"[{group[:40]}:children]: {line[:60]!r}: one group a line")
        self._wanted.setdefault(name, (number, f"{group[:40]}:children"))
        self._groups.child(group, name, number)

    def _variable(self, line: str, number: int) -> tuple[str, Var]:
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            self._refuse(number, f"{line[:60]!r}: variables of a group are NAME=VALUE, one a line")
        return name.strip(), Var(_plain(value.strip()), number)

    def _refuse(self, number: int, why: str) -> NoReturn:
        raise SpecError(self._path, number, why)


def _plain(value: str) -> str:
    """A value without the quotes that Ansible takes off, as Python would read them."""
    if quoted := _QUOTED.fullmatch(value):
        with suppress(ValueError, SyntaxError), warnings.catch_warnings(action="ignore"):
            return str(literal_eval(quoted[1]))
    if number := _NUMBERED.fullmatch(value):
        return number[1]
    return value
