"""YAML as a tree of texts that know their lines.

Built from ruamel.yaml's events and nothing further: no tag is ever resolved, so no document can make an object.
Depth, size after aliases, and duplicate keys are checked while it grows. What a text means (a number, a name) is
for the reader of the tree to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from msgspec import Struct

from hostler.errors import SpecError

DEEPEST = 16
MOST_NODES = 1_000_000
_NULLS = ("", "~", "null", "Null", "NULL")


class Sealed(str):
    """A text that its tag says is encrypted: that there is one is all that is known of it."""

    __slots__ = ()


class Node(Struct, frozen=True):
    """One value of a document: a text, nothing, a list, or a mapping from keys to (line of the key, value).

    `size` counts the values in it, aliases written out.
    """

    line: int
    value: str | list[Node] | dict[str, tuple[int, Node]] | None
    size: int = 1

    @property
    def kind(self) -> str:
        """What it is, for people."""
        match self.value:
            case str():
                return "a text"
            case list():
                return "a list"
            case dict():
                return "a mapping"
        return "nothing"


def read_tree(path: str, text: str, *, sealed: str = "") -> Node:
    """Read one YAML document; texts with the tag `sealed` become Sealed, and no other tag may stand there.

    Raises SpecError on bad YAML, tags like !!python/object, duplicate keys, more than 16 levels, more than a
    million values, and more than one document.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.reader import ReaderError

    try:
        return _Growing(path, YAML(typ="safe", pure=True).parse(text), sealed).document()
    except MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        raise SpecError(
            path, mark.line + 1 if mark else None, f"not YAML: {wrong.problem or wrong.context}"
        ) from None
    except ReaderError as wrong:
        position = wrong.position if isinstance(wrong.position, int) else 0
        why = f"not YAML: the character {text[position : position + 1]!r} can't stand in it"
        raise SpecError(path, text.count("\n", 0, position) + 1, why) from None
    except (YAMLError, ValueError, OverflowError) as wrong:
        raise SpecError(
            path, None, f"not YAML: {str(wrong).splitlines()[0] if str(wrong) else 'unreadable'}"
        ) from None


class _Growing:
    """The tree as far as its events have come."""

    def __init__(self, path: str, events: Iterator[Any], sealed: str) -> None:
        self._path, self._events, self._sealed = path, events, sealed
        self._anchors: dict[str, Node | None] = {}
        self._size = 0

    def document(self) -> Node:
        root: Node | None = None
        for event in self._events:
            match type(event).__name__:
                case "StreamStartEvent" | "StreamEndEvent" | "DocumentStartEvent" | "DocumentEndEvent":
                    pass
                case _ if root is not None:
                    self._refuse(event, "a second document begins here; one is read")
                case _:
                    root = self._node(event, 1)
        return root or Node(1, None)

    def _node(self, event: Any, depth: int) -> Node:
        kind = type(event).__name__
        if kind == "AliasEvent":
            node = self._anchors.get(event.anchor)
            if node is None:
                self._refuse(event, f"the alias *{event.anchor} has no finished anchor above it")
            self._count(event, node.size)
            return node
        hidden = kind == "ScalarEvent" and event.tag is not None and event.tag == self._sealed
        if event.tag is not None and not hidden:
            self._refuse(
                event, f"tags such as {str(event.tag).replace('tag:yaml.org,2002:', '!!')} are not used here"
            )
        if depth > DEEPEST:
            self._refuse(event, f"nested deeper than {DEEPEST} levels")
        self._count(event, 1)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        line = event.start_mark.line + 1
        if kind == "ScalarEvent":
            plain_null = event.style is None and event.value in _NULLS
            node = Node(line, Sealed() if hidden else None if plain_null else event.value)
        elif kind == "SequenceStartEvent":
            items = [self._node(inner, depth + 1) for inner in self._until("SequenceEndEvent")]
            node = Node(line, items, 1 + sum(item.size for item in items))
        else:
            entries = self._entries(depth)
            node = Node(line, entries, 1 + sum(value.size for _, value in entries.values()))
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _entries(self, depth: int) -> dict[str, tuple[int, Node]]:
        entries: dict[str, tuple[int, Node]] = {}
        for event in self._until("MappingEndEvent"):
            key = self._node(event, depth + 1)
            if not isinstance(key.value, str):
                self._refuse(event, f"a key must be a text, this is {key.kind}")
            line = event.start_mark.line + 1
            if key.value in entries:
                raise SpecError(
                    self._path, line, f"{key.value!r} stands here again, after line {entries[key.value][0]}"
                )
            entries[key.value] = (line, self._node(next(self._events), depth + 1))
        return entries

    def _until(self, end: str) -> Iterator[Any]:
        for event in self._events:
            if type(event).__name__ == end:
                return
            yield event

    def _count(self, event: Any, more: int) -> None:
        self._size += more
        if self._size > MOST_NODES:
            self._refuse(event, f"more than {MOST_NODES:,} values, its aliases written out")

    def _refuse(self, event: Any, why: str) -> NoReturn:
        raise SpecError(self._path, event.start_mark.line + 1, why)
