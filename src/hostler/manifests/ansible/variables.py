"""What the variables of an Ansible inventory mean for a host here, and which of them are left aside.

Whatever is left aside is told of, once a file. A template is never used as if it were a value, and a password is never
taken over: what is known of hosts is kept with their runs.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from msgspec import Struct

from hostler.errors import SpecError
from hostler.manifests.ansible.sshargs import read_args
from hostler.manifests.facts import Facts
from hostler.manifests.values import VARIABLE, address_fault, number_fault, text_fault, user_fault

#: Variables that say a field of a Host; of two names for one field the later wins.
FIELDS = {
    "ansible_ssh_host": "address",
    "ansible_host": "address",
    "ansible_ssh_user": "user",
    "ansible_user": "user",
    "ansible_ssh_port": "port",
    "ansible_port": "port",
    "ansible_private_key_file": "identity",
    "ansible_ssh_private_key_file": "identity",
    "hostler_slots": "slots",
}
#: Where arguments for ssh stand; the later is added to the earlier.
ARGUMENTS = ("ansible_ssh_common_args", "ansible_ssh_extra_args")
#: Our own variables: a file of Ansible's says them with `hostler_` before, as their plain names may mean another thing.
OWN = ("python", "spool", "shell", "transport")
#: Ways to reach a host that are SSH, as everything is unless somebody says so.
BY_SSH = ("ssh", "smart", "paramiko", "paramiko_ssh", "openssh")
#: Words for "look for one", where a Python is to be named.
LOOK = re.compile(r"auto(_legacy)?(_silent)?")
TEMPLATE = re.compile(r"\{\{|\{%|\{#")
SECRET = re.compile(r"(pass|passwd|password|passphrase|secret|token)\Z", re.IGNORECASE)
PRIORITY = "ansible_group_priority"
#: A variable's text that is longer than this is nothing that hosts are told apart by.
LONGEST = 1000


class Var(Struct, frozen=True):
    """A variable's text and line (0 where there are no lines); `text` is None for a list or mapping.

    One that is `sealed` is encrypted, and its text is nobody's here.
    """

    text: str | None
    line: int = 0
    sealed: bool = False


class Translator:
    """One file's variables, and what is to be said about those that are left aside."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._templates: dict[str, int] = {}
        self._secrets: dict[str, None] = {}
        self._arguments: dict[str, None] = {}
        self._odd: dict[str, None] = {}
        self._pythons: dict[str, None] = {}

    def facts(self, said: Mapping[str, Var], what: str) -> Facts:
        """The facts that variables say of `what`. Raises SpecError with the line."""
        fields: dict[str, str | int] = {}
        variables: dict[str, str] = {}
        lines: dict[str, int] = {}
        usable = {name: var for name, var in said.items() if self._usable(name, var, what)}
        for name, field in FIELDS.items():
            if (var := usable.pop(name, None)) is not None:
                fields[field] = self._field(field, name, var, what)
                lines[field] = var.line
        if (jump := self._jump(usable, what)) is not None:
            fields["jump"], lines["jump"] = jump
        for name, var in usable.items():
            ours, value = self._variable(name, var, what)
            if ours:
                variables[ours] = value
                lines[f"vars.{ours}"] = var.line
        return Facts(
            fields=fields, vars=variables, lines={name: line for name, line in lines.items() if line}
        )

    def remarks(self) -> list[str]:
        """A line for each kind of thing that was left aside."""
        found = []
        if self._templates:
            some = [f"{name} (line {line})" if line else name for name, line in self._templates.items()]
            found.append(f"templates are not filled in: {_few(some)} left aside")
        if self._secrets:
            found.append(
                f"passwords and what is encrypted are not taken from inventories: {_few([*self._secrets])} left aside; "
                "say --ssh-password or --as-password"
            )
        if self._arguments:
            found.append(
                f"of arguments for ssh only a jump host is used: {_few([*self._arguments])} left aside; "
                "your SSH configuration can say them"
            )
        if self._pythons:
            found.append(
                f"ansible_python_interpreter {_few([*self._pythons])} left aside: write a full path without blanks"
            )
        if self._odd:
            found.append(f"no names of variables: {_few([*self._odd])} left aside")
        return [f"{self._path}: {each}" for each in found]

    def _usable(self, name: str, var: Var, what: str) -> bool:
        """Whether a variable says anything to us; what doesn't is remembered."""
        if not VARIABLE.fullmatch(name):
            self._odd.setdefault(repr(name[:40]))
            return False
        matters = name in FIELDS or name in ARGUMENTS or name.startswith(("hostler_", "ansible_connection"))
        if var.text is None:
            if matters:
                self._refuse(var, f"{what}: {name} must be a text")
            return False
        if why := text_fault(var.text):
            self._refuse(var, f"{what}: {name} {var.text[:60]!r}: {why}")
        if SECRET.search(name) or var.sealed:
            self._secrets.setdefault(name)
            return False
        if TEMPLATE.search(var.text):
            self._templates.setdefault(name, var.line)
            return False
        return bool(var.text) or not matters

    def _field(self, field: str, name: str, var: Var, what: str) -> str | int:
        text = var.text or ""
        if field == "address" and text.startswith("[") and text.endswith("]"):
            text = text[1:-1]
        if why := _FAULTS[field](text):
            self._refuse(var, f"{what}: {name} {text[:60]!r}: {why}")
        if field == "identity":
            try:
                return str(Path(text).expanduser().absolute())
            except RuntimeError:
                self._refuse(var, f"{what}: {name} {text[:60]!r}: nobody's home folder")
        return int(text) if field in ("port", "slots") else text

    def _jump(self, usable: dict[str, Var], what: str) -> tuple[str, int] | None:
        said = [(name, usable.pop(name)) for name in ARGUMENTS if name in usable]
        if not said:
            return None
        try:
            args = read_args(" ".join(var.text or "" for _, var in said))
        except ValueError as wrong:
            self._refuse(said[-1][1], f"{what}: {said[-1][0]}: {wrong}")
        for name in args.aside:
            self._arguments.setdefault(repr(name[:40]) if not name.isprintable() else name[:40])
        return None if args.jump is None else (args.jump, said[-1][1].line)

    def _variable(self, name: str, var: Var, what: str) -> tuple[str, str]:
        """What another variable is called here and what it says; an empty name for none."""
        text = var.text or ""
        if name.startswith("hostler_"):
            if (ours := name.removeprefix("hostler_")) not in OWN:
                known = ", ".join(f"hostler_{each}" for each in (*OWN, "slots"))
                self._refuse(var, f"{what}: unknown variable {name[:60]!r}; there are {known}")
            return ours, text
        if name == "ansible_connection":
            # One that isn't SSH nor this machine is refused by name when the host is to be reached.
            return ("", "") if text in BY_SSH else ("transport", text[:40])
        if name == "ansible_python_interpreter":
            if LOOK.fullmatch(text):
                return "", ""
            if not text.startswith("/") or len(shlex.split(_quoted(text))) != 1:
                self._pythons.setdefault(repr(text[:40]))
                return "", ""
            return "python", text
        if name in OWN or name == PRIORITY or len(text) > LONGEST:
            return "", ""
        return name, text

    def _refuse(self, var: Var, why: str) -> NoReturn:
        raise SpecError(self._path, var.line or None, why)


def _quoted(text: str) -> str:
    """A text whose quotes shlex takes for plain signs: only its blanks count."""
    return text.replace("\\", "\\\\").replace("'", "\\'").replace('"', '\\"')


def _few(words: list[str]) -> str:
    """Some of these words, and whether they are one or many.

    >>> _few(["a"]), _few(["a", "b"])
    ('a is', 'a, b are')
    """
    more = f" and {len(words) - 5} more" if len(words) > 5 else ""
    return f"{', '.join(words[:5])}{more} {'is' if len(words) == 1 else 'are'}"


_FAULTS: dict[str, Callable[[str], str]] = {
    "address": address_fault,
    "user": user_fault,
    "port": lambda text: number_fault(text, 1, 65535),
    "slots": lambda text: number_fault(text, 1, 10_000),
    "identity": text_fault,
}
