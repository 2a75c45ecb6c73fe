"""What one file says about hosts, before several files are laid over each other.

Readers of each kind of file answer a Sheet; merging is the only one that reads sheets. Values here are checked
one by one; whether they make a host together is for merging to say.
"""

from __future__ import annotations

from msgspec import Struct, field

from hostler.model.selectors import Selector

#: The fields of a Host that a file may set, apart from tags and vars, which unite.
FIELDS = ("address", "user", "port", "jump", "identity", "host_key", "slots")


class Facts(Struct, frozen=True, kw_only=True):
    """Fields that were set, tags and variables.

    `lines` tells where a field, or a variable as "vars.NAME", stands by itself, apart from what it is said of.
    """

    fields: dict[str, str | int] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    vars: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)


class Mention(Struct, frozen=True, kw_only=True):
    """A host named at a line (0 where there are no lines), with what is said of it there.

    `path` is the file, where the sheet is made of several.
    """

    name: str
    line: int
    facts: Facts
    path: str = ""


class Group(Struct, frozen=True, kw_only=True):
    """Hosts that have a name, and facts, in common. `members` are chosen from all hosts, or are names of this file."""

    name: str
    line: int
    members: Selector | tuple[str, ...]
    facts: Facts


class Sheet(Struct, frozen=True, kw_only=True):
    """All that one file says. `defaults` hold for the hosts that it names, where nothing else is said.

    `remarks` are for people: what of the file is not used, a line each.
    """

    path: str
    mentions: tuple[Mention, ...] = ()
    groups: tuple[Group, ...] = ()
    defaults: Facts = Facts()
    remarks: tuple[str, ...] = ()


def place(path: str, line: int | None) -> str:
    """Where something stands, for people.

    >>> place("hosts.ini", 3), place("inventory.py", 0)
    ('hosts.ini:3', 'inventory.py')
    """
    return f"{path}:{line}" if line else path
