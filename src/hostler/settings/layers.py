"""The sources of one verb's values laid over each other: variables over the project's file over the user's.

It must never pass a key over that nobody knows, nor let a project's file say what only its user may.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from hostler.errors import UsageError
from hostler.settings.fields import Field, Taken, did_you_mean
from hostler.settings.files import File
from hostler.settings.variables import names_of, strange, variable

#: The table that speaks of every verb which has the key.
ALL = "all"

Source = Literal["env", "project", "user"]
#: The fields of every verb, by its words.
Tree = Mapping[tuple[str, ...], Mapping[str, Field]]


class Value(Struct, frozen=True, kw_only=True):
    """A value that was set, and where: `place` is file:line or the variable's name."""

    value: Taken
    source: Source
    place: str


class Layers(Struct, frozen=True, kw_only=True):
    """The environment and the files, to be asked for the values of verbs.

    `verbs` are the first words that a verb can have; `tree` gives the fields of them all, and costs so much that it is
    asked for only when something is set that the verb at hand doesn't have.
    """

    environ: Mapping[str, str]
    files: Sequence[File]
    verbs: Collection[str]
    tree: Callable[[], Tree]

    def values(
        self, words: tuple[str, ...], fields: Mapping[str, Field], *, given: Collection[str] = ()
    ) -> dict[str, Value]:
        """The values of one verb that are set, by key; `given` are those that a flag says. Raises UsageError."""
        found: dict[str, tuple[int, Value]] = dict.fromkeys(given, (0, _FLAG))
        layers = [self._of_environ(words, fields)]
        layers += [self._of_file(file, words, fields) for file in self.files]
        for rank, layer in enumerate(layers, 1):
            for key, value in layer.items():
                nearer = [found[rival][0] for rival in fields[key].rivals if rival in found]
                if key not in found and all(other == rank for other in nearer):
                    found[key] = (rank, value)
        return {key: value for key, (rank, value) in found.items() if rank}

    def strange(self, words: tuple[str, ...], fields: Mapping[str, Field]) -> tuple[list[str], list[str]]:
        """Variables of our prefix that mean nothing, and what could have been meant."""
        known = list(names_of(words, fields.values()))
        if not strange(self.environ, known):
            return [], known
        known = [name for verb, each in self.tree().items() for name in names_of(verb, each.values())]
        return strange(self.environ, known), known

    def _of_environ(self, words: tuple[str, ...], fields: Mapping[str, Field]) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for name, field in names_of(words, fields.values()).items():
            text = self.environ.get(name, "")
            if text and field.key not in found:
                try:
                    taken = field.from_text(text)
                except UsageError as error:
                    raise UsageError(f"{name}={field.shown(text)}: {error}") from None
                found[field.key] = Value(value=taken, source="env", place=name)
        return found

    def _of_file(self, file: File, words: tuple[str, ...], fields: Mapping[str, Field]) -> dict[str, Value]:
        self._tables(file)
        found = {}
        for key, value in file.tables.get(ALL, {}).items():
            self._known_to_some(file, key, own=fields)
            if key in fields and not fields[key].never:
                found[key] = _value(file, fields[key], value, ALL)
        for key, value in self._table(file, words).items():
            field = _known(file, key, fields, *words)
            _allowed(file, field, *words)
            found[key] = _value(file, field, value, *words)
        return found

    def _tables(self, file: File) -> None:
        """Refuse what stands at the top of a file and is no verb's table."""
        for name, table in file.tables.items():
            if name != ALL and name not in self.verbs:
                if not isinstance(table, dict):
                    raise file.refuse(
                        f"{name} stands in no table: write it below [{ALL}] or a verb's, [batch]", name
                    )
                raise file.refuse(f"there is no verb {name!r}{did_you_mean(name, [ALL, *self.verbs])}", name)
            if not isinstance(table, dict):
                raise file.refuse(f"{name} must be a table, [{name}]", name)

    def _table(self, file: File, words: tuple[str, ...]) -> dict[str, Any]:
        table: Any = file.tables
        for depth, word in enumerate(words):
            if depth:
                below = {verb[depth] for verb in self.tree() if verb[:depth] == words[:depth]}
                for name in table:
                    if name not in below:
                        path = ".".join(words[:depth])
                        raise file.refuse(f"[{path}] takes {', '.join(f'[{path}.{each}]' for each in sorted(below))}, "
                                          f"not {name!r}", *words[:depth], name)  # fmt: skip
            table = table.get(word, {})
            if not isinstance(table, dict):
                raise file.refuse(
                    f"{word} must be a table, [{'.'.join(words[: depth + 1])}]", *words[: depth + 1]
                )
        return dict(table)

    def _known_to_some(self, file: File, key: str, *, own: Mapping[str, Field]) -> None:
        """Refuse a key of [all] that no verb has, or that a project's file may not hold."""
        if key in own and not own[key].never:
            _allowed(file, own[key], ALL)
            return
        every = {name: field for fields in self.tree().values() for name, field in fields.items()}
        same = [fields[key] for fields in self.tree().values() if key in fields]
        settable = [field for field in same if not field.never]
        _known(file, key, {field.key: field for field in settable or same} or every, ALL)
        for field in same:
            _allowed(file, field, ALL)


_FLAG = Value(value="", source="env", place="")


def _known(file: File, key: str, fields: Mapping[str, Field], *table: str) -> Field:
    field = fields.get(key)
    if field is None:
        said = "no verb has" if table == (ALL,) else f"{' '.join(table)} has no"
        near = did_you_mean(key, [name for name, each in fields.items() if not each.never])
        raise file.refuse(f"{said} {'a ' if table == (ALL,) else ''}setting {key!r}{near}", *table, key)
    if field.never:
        raise file.refuse(f"{key} is no setting: {field.never}", *table, key)
    return field


def _allowed(file: File, field: Field, *table: str) -> None:
    if file.kind == "project" and field.names:
        raise file.refuse(
            f"{field.key} names {field.names}, which a project's file may not: say it by a flag, by "
            f"{variable(field.key, *(() if table == (ALL,) else table))}, "
            "or in your own file",
            *table, field.key,
        )  # fmt: skip


def _value(file: File, field: Field, value: object, *table: str) -> Value:
    try:
        taken = field.from_toml(value, folder=file.folder)
    except UsageError as error:
        raise file.refuse(f"{field.key} = {field.shown(value)}: {error}", *table, field.key) from None
    return Value(value=taken, source=file.kind, place=file.place(*table, field.key))
