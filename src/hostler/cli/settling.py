"""Settings as the verbs have them: what may be set is read off the commands themselves, so that it can't drift.

It must never be imported before a verb runs, nor read anything for a verb that only shows its help.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import NoReturn

import click

from hostler.cli.options import META, Marked, flag_of, plain_default
from hostler.cli.saying import say
from hostler.errors import SpecError, UsageError
from hostler.settings.fields import Field
from hostler.settings.files import NAME, read_files
from hostler.settings.layers import Layers, Tree, Value

#: What options call a file or folder in their help.
PATHS = ("FILE", "DIR", "PATH", "F", "FOLDER")
#: Verbs that take no settings: they are how one finds out what is wrong with them.
WITHOUT = ("config", "completion")
#: Verbs that act on a live run: what they do to it is said each time, and only what doesn't act can be a setting.
ACTS = ("stop", "pause", "unpause", "add", "set", "cancel", "wait")
#: Verbs that end things or look at them: no file of whatever folder we stand in may keep anybody from that.
UNHINDERED = {
    *((verb,) for verb in ("stop", "cancel", "status", "runs", "log", "top", "wait", "reap")),
    ("sandbox", "down"),
}
HARMLESS = ("color", "inventory", "json", "quiet", "store")
#: What a verb that visits a run's hosts takes from what is set for `batch`: it goes through the same doors.
OF_BATCH = ("ssh-password", "key-passphrase", "as-password")


def settle(ctx: click.Context, given: set[str]) -> dict[str, Value]:
    """The values that settings give the verb of `ctx`, by the option's name; `given` are those that flags say."""
    words = words_of(ctx)
    if words[0] in WITHOUT:
        return {}
    fields = fields_of(words, ctx.command)
    layers = _usable(words, fields)
    odd, known = layers.strange(words, fields)
    if odd:
        from hostler.settings.variables import remark

        say(remark(odd, known))
    keys = {field.key for field in fields.values() if field.name in given}
    found = layers.values(words, fields, given=keys)
    if words[0] in ACTS and any(key in fields for key in OF_BATCH):
        found |= _of_batch(ctx, layers, given=keys)
    return {fields[key].name: value for key, value in found.items() if key in fields}


def _of_batch(ctx: click.Context, layers: Layers, *, given: set[str]) -> dict[str, Value]:
    """What is set for `batch` about secrets, and not said here."""
    from hostler.cli.verbs import group

    batch = group.get_command(ctx, "batch")
    assert batch is not None
    found = layers.values(("batch",), fields_of(("batch",), batch), given=given)
    return {key: value for key, value in found.items() if key in OF_BATCH}


def _usable(words: tuple[str, ...], fields: Mapping[str, Field]) -> Layers:
    """The sources of settings for a verb; one of UNHINDERED does without a project's file that can't be used."""
    if words not in UNHINDERED:
        return layers_here(os.environ)
    from hostler.cli.saying import say

    try:
        layers = layers_here(os.environ)
        layers.values(words, fields)
        if words[0] in ACTS and any("batch" in file.tables for file in layers.files):
            layers.values(("batch",), tree()["batch",])
    except SpecError as error:
        if error.path != NAME:
            raise
        say(f"settings of this folder are ignored: {error}")
        return layers_here(os.environ, project=False)
    return layers


def layers_here(environ: Mapping[str, str], *, project: bool = True) -> Layers:
    """The sources of settings of this process. Raises UsageError for a file that can't be used."""
    from hostler.cli.verbs import VERBS

    return Layers(
        environ=environ,
        files=read_files(environ, project=project),
        verbs=[verb for verb in VERBS if verb not in WITHOUT],
        tree=tree,
    )


def words_of(ctx: click.Context) -> tuple[str, ...]:
    """The words of the verb at hand: `("sandbox", "up")`."""
    return tuple(ctx.command_path.split()[1:])


@cache
def tree() -> Tree:
    """The fields of every verb that takes settings. It imports them all."""
    from hostler.cli.verbs import VERBS, group

    ctx = click.Context(group, info_name="hostler")
    commands = ((verb, group.get_command(ctx, verb)) for verb in VERBS if verb not in WITHOUT)
    return {
        words: fields_of(words, command)
        for verb, top in commands
        if top is not None
        for words, command in _beneath((verb,), top)
    }


def _beneath(
    words: tuple[str, ...], command: click.Command
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield words, command
        return
    for name, below in command.commands.items():
        yield from _beneath((*words, name), below)


def fields_of(words: tuple[str, ...], command: click.Command) -> dict[str, Field]:
    """What may be set for a verb, by key: its long flags."""
    acts = words[0] in ACTS
    options = [
        option for option in command.params if isinstance(option, click.Option) and option.expose_value
    ]
    shared = {option.name for option in options if sum(other.name == option.name for other in options) > 1}
    return {
        field.key: field
        for option in options
        if flag_of(option).startswith("--")
        for field in [_field(option, acts=acts, shared=option.name in shared)]
    }


def refuse_verb(words: tuple[str, ...], known: Iterable[tuple[str, ...]]) -> NoReturn:
    """Refuse words that are no verb's, or the name of one that takes no settings."""
    from hostler.settings.fields import did_you_mean

    name = " ".join(words)
    if words[0] in WITHOUT:
        raise UsageError(f"{words[0]} takes no settings")
    raise UsageError(f"there is no verb {name!r}{did_you_mean(name, map(' '.join, known))}")


def _field(option: click.Option, *, acts: bool, shared: bool) -> Field:
    marked = option if isinstance(option, Marked) else None
    never = marked.never if marked else ""
    if acts and flag_of(option).removeprefix("--") not in HARMLESS:
        never = never or "what is done to a run is said each time"
    if shared or (option.is_flag and not option.is_bool_flag):
        never = never or "it chooses among several flags"
    return Field(
        key=flag_of(option).removeprefix("--"),
        name=option.name or "",
        what=option.metavar or "",
        flag=option.is_flag,
        path=option.metavar in PATHS,
        many=option.multiple,
        secret=bool(marked and marked.secret),
        choices=tuple(map(str, option.type.choices)) if isinstance(option.type, click.Choice) else (),
        names=marked.names if marked else "",
        never=never,
        rivals=marked.rivals if marked else (),
        default=marked.habit if marked and marked.habit else plain_default(option),
        assigns=bool(marked and marked.assigns),
        url=bool(marked and marked.url),
        literals=("-", *(marked.literals if marked else ())),
    )


def blamed(error: UsageError, ctx: click.Context) -> UsageError:
    """The complaint of a verb about an option, with the place that says it if that is a setting."""
    text = str(error)
    values: Mapping[str, Value] = ctx.meta.get(META, {})
    for option in ctx.command.params:
        value = values.get(option.name or "")
        if value is not None and re.search(rf"{re.escape(flag_of(option))}(?![\w-])", text):
            return UsageError(f"{text} ({flag_of(option)} comes from {value.place})")
    return error
