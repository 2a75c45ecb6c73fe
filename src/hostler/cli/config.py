"""`hostler config show`: every setting with its value, and where that comes from."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

from hostler.cli.options import colour_option
from hostler.cli.parsing import VerbGroup
from hostler.cli.saying import say

if TYPE_CHECKING:
    from hostler.settings.fields import Field
    from hostler.settings.layers import Value


@click.group(
    cls=VerbGroup,
    name="config",
    epilog="\b\nExamples:\n  hostler config show\n  hostler config show batch --json",
)
def command() -> None:
    """Look at settings: they stand in ./hostler.toml, in the user's file, and in HOSTLER_* variables."""


@command.command(epilog="\b\nExamples:\n  hostler config show batch\n  hostler config show --json")
@click.argument("verb", metavar="[VERB]...", nargs=-1)
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object: files, variables, and a list of settings."
)
@colour_option
def show(verb: tuple[str, ...], as_json: bool, color: str) -> None:
    """Show what each setting is for VERB, or for every verb: from a file, a variable, or by default.

    Both files are read and checked whole. A setting's key is its flag's long name; a flag wins over all of them.
    """
    from hostler.cli.settling import layers_here, refuse_verb, tree
    from hostler.settings.files import user_path
    from hostler.settings.variables import FIXED, names_of, remark, strange

    every = tree()
    if verb and not any(words[: len(verb)] == verb for words in every):
        refuse_verb(verb, every)
    layers = layers_here(os.environ)
    set_ = {words: layers.values(words, fields) for words, fields in every.items()}
    rows = [
        _facts(words, field, set_[words].get(field.key))
        for words, fields in every.items()
        if words[: len(verb)] == verb
        for field in fields.values()
        if not field.never
    ]
    there = {file.kind: file for file in layers.files}
    files = [
        {"kind": kind, "path": str(path), "read": kind in there}
        for kind, path in (("project", os.path.abspath("hostler.toml")), ("user", user_path(os.environ)))
    ]
    variables = {name: os.environ[name] for name in FIXED if name in os.environ}
    known = [name for words, fields in every.items() for name in names_of(words, fields.values())]
    if odd := strange(os.environ, known):
        say(remark(odd, known))
    if as_json:
        click.echo(json.dumps({"files": files, "variables": variables, "settings": rows}, indent=2))
    else:
        click.echo(_screen(rows, files, variables, color=color), nl=False)


def _facts(words: tuple[str, ...], field: Field, value: Value | None) -> dict[str, Any]:
    """What scripts are told of one setting."""
    taken = value.value if value else field.default
    return {
        "verb": " ".join(words),
        "key": field.key,
        "value": field.masked(taken),
        "source": value.source if value else "default",
        "place": value.place if value else None,
    }


def _screen(
    rows: list[dict[str, Any]], files: list[dict[str, Any]], variables: dict[str, str], *, color: str
) -> str:
    from hostler.cli.looking import colour_of, columns_of
    from hostler.views.tables import Column, table
    from hostler.views.text import one_line

    heads = [Column("verb"), Column("setting"), Column("value", widest=None), Column("from", widest=None)]
    lines = [
        (row["verb"], row["key"], one_line(_words(row["value"]).encode()), row["place"] or row["source"])
        for row in rows
    ]
    text = table(heads, lines, width=columns_of(1), colour=colour_of(1, color))
    notes = [f"{file['path']}{'' if file['read'] else ' (not there)'}" for file in files]
    notes += [f"{name}={value}" for name, value in variables.items()]
    return text + "\n" + "".join(f"  {one_line(note.encode('utf-8', 'surrogateescape'))}\n" for note in notes)


def _words(value: object) -> str:
    """A value for people."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
