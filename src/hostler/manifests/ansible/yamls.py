"""Ansible's YAML inventories: groups of `hosts`, `children` and `vars`, one within the other.

What Ansible would pass over with a warning is refused here. It must never resolve a tag such as `!vault`.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import NoReturn

from hostler.errors import SpecError
from hostler.manifests.ansible.groups import ALL, Groups
from hostler.manifests.ansible.names import read_names
from hostler.manifests.ansible.variables import Var
from hostler.manifests.facts import Sheet
from hostler.manifests.trees import Node, Sealed
from hostler.model.nodesets import Unreadable

#: What a group may hold.
KEYS = ("hosts", "children", "vars")


def is_group(node: Node) -> bool:
    """Whether a value has the form of a group: a mapping with `hosts`, `children` or `vars`."""
    return isinstance(node.value, dict) and any(key in node.value for key in KEYS)


def yaml_sheet(path: str, root: Node) -> Sheet:
    """Read a YAML inventory from its tree. Raises SpecError with the line."""
    return _Reading(path).sheet(root)


class _Reading:
    """One file being read."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._groups = Groups(path)

    def sheet(self, root: Node) -> Sheet:
        groups = self._mapping(root, "an inventory")
        if "plugin" in groups and not is_group(groups["plugin"][1]):
            self._refuse(
                groups["plugin"][0],
                "names a plugin of Ansible, which is not run here: ansible-inventory --list makes JSON of it",
            )
        for name, (line, node) in groups.items():
            self._group(name, line, node)
        return self._groups.sheet()

    def _group(self, name: str, line: int, node: Node) -> None:
        self._groups.group(name, line)
        what = f"group {name[:60]}"
        for key, (at, value) in self._mapping(node, what).items():
            match key:
                case "hosts":
                    for host, (place, said) in self._names(value, f"{what}: hosts").items():
                        self._host(host, place, said, name)
                case "children":
                    for child, (place, below) in self._names(value, f"{what}: children").items():
                        self._group(child, place, below)
                        if name != ALL:
                            self._groups.child(name, child, place)
                case "vars":
                    self._groups.says(name, self._vars(value, f"{what}: vars"))
                case _:
                    close = get_close_matches(key, KEYS, n=1)
                    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(KEYS)}"
                    self._refuse(at, f"{what}: unknown key {key[:60]!r}; {hint}")

    def _host(self, text: str, line: int, node: Node, group: str) -> None:
        said = self._vars(node, f"host {text[:60]}")
        try:
            names, port = read_names(text)
        except Unreadable as wrong:
            self._refuse(line, f"host {text[:60]!r}: {wrong.why}")
        if port is not None:
            if said.get("ansible_port", Var(str(port))).text != str(port):
                self._refuse(line, f"host {text[:60]}: ansible_port says another port")
            said["ansible_port"] = Var(str(port), line)
        for name in names:
            self._groups.host(name, line, said)
            self._groups.belongs(group, name)

    def _vars(self, node: Node, what: str) -> dict[str, Var]:
        return {name: _var(line, value) for name, (line, value) in self._mapping(node, what).items()}

    def _names(self, node: Node, what: str) -> dict[str, tuple[int, Node]]:
        """A mapping from names, or one name by itself."""
        if isinstance(node.value, str):
            return {node.value: (node.line, Node(node.line, None))}
        return self._mapping(node, what)

    def _mapping(self, node: Node, what: str) -> dict[str, tuple[int, Node]]:
        if node.value is None:
            return {}
        if not isinstance(node.value, dict):
            self._refuse(node.line, f"{what} must be a mapping, this is {node.kind}")
        return node.value

    def _refuse(self, line: int, why: str) -> NoReturn:
        raise SpecError(self._path, line, why)


def _var(line: int, node: Node) -> Var:
    if node.value is None:
        return Var("", line)
    if isinstance(node.value, Sealed):
        return Var("", line, sealed=True)
    return Var(node.value if isinstance(node.value, str) else None, line)
