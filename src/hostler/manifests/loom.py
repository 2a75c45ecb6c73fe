"""Loom's nodes file: a mapping from names to `user`, `ip`, `password`, `identity`.

Read as Loom reads it, so that its users can begin with what they have; but a password is never taken over.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from hostler.errors import SpecError
from hostler.manifests.facts import Facts, Mention, Sheet
from hostler.manifests.trees import Node
from hostler.manifests.values import address_fault, name_fault, text_fault, user_fault

#: What a node may hold.
KEYS = ("user", "ip", "password", "identity")
PUBLIC = ".pub"


def is_node(node: Node) -> bool:
    """Whether a value has the form of a node: a mapping with one of its keys."""
    return isinstance(node.value, dict) and any(key in node.value for key in KEYS)


def loom_sheet(path: str, root: Node) -> Sheet:
    """Read a nodes file from its tree. Raises SpecError with the line."""
    assert isinstance(root.value, dict)
    mentions, passwords, halves = [], [], []
    for name, (line, node) in root.value.items():
        said = _node(path, name, line, node)
        fields: dict[str, str | int] = {"user": said["user"]}
        if "ip" in said:
            fields["address"] = said["ip"]
        if "identity" in said:
            identity = said["identity"]
            if identity.endswith(PUBLIC):
                halves.append(name)
            fields["identity"] = identity.removesuffix(PUBLIC)
        if "password" in said:
            passwords.append(name)
        mentions.append(Mention(name=name, line=line, facts=Facts(fields=fields)))
    remarks = []
    if passwords:
        remarks.append(
            f"{path}: passwords are not taken from inventories: say --ssh-password ({_some(passwords)})"
        )
    if halves:
        remarks.append(
            f"{path}: identity is a private key's file, without {PUBLIC}: so it is taken ({_some(halves)})"
        )
    return Sheet(path=path, mentions=tuple(mentions), remarks=tuple(remarks))


def _node(path: str, name: str, line: int, node: Node) -> dict[str, str]:
    """A node's texts by key, each of which could be what it is to be."""

    def refuse(at: int, why: str) -> NoReturn:
        raise SpecError(path, at, f"node {name[:60]}: {why}")

    if why := name_fault(name):
        refuse(line, why)
    if node.value is not None and not isinstance(node.value, dict):
        refuse(node.line, f"must be a mapping, this is {node.kind}")
    said = {}
    for key, (at, value) in (node.value or {}).items():
        if key not in KEYS:
            close = get_close_matches(key, KEYS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(KEYS)}"
            refuse(at, f"unknown key {key[:60]!r}; {hint}")
        if value.value is None:
            continue
        if not isinstance(value.value, str):
            refuse(value.line, f"{key} must be a text, this is {value.kind}")
        faults = {"user": user_fault, "ip": address_fault}
        if why := faults.get(key, text_fault)(value.value):
            shown = "" if key == "password" else f" {value.value[:60]!r}"
            refuse(value.line, f"{key}{shown}: {why}")
        said[key] = value.value
    if "user" not in said:
        refuse(line, "has no user, which Loom's nodes need")
    if "identity" in said:
        try:
            said["identity"] = str(Path(said["identity"]).expanduser().absolute())
        except RuntimeError:
            refuse(line, f"identity {said['identity'][:60]!r}: nobody's home folder")
    return said


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
