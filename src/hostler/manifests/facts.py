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
    """Fields that were set, tags and variables."""

    fields: dict[str, str | int] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    vars: dict[str, str] = field(default_factory=dict)


class Mention(Struct, frozen=True, kw_only=True):
    """A host named at a line, with what the line says of it."""

    name: str
    line: int
    facts: Facts


class Group(Struct, frozen=True, kw_only=True):
    """Hosts that have a name, and facts, in common."""

    name: str
    line: int
    members: Selector
    facts: Facts


class Sheet(Struct, frozen=True, kw_only=True):
    """All that one file says. `defaults` hold for the hosts that it names, where nothing else is said."""

    path: str
    mentions: tuple[Mention, ...] = ()
    groups: tuple[Group, ...] = ()
    defaults: Facts = Facts()
