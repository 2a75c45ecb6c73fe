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

from hostler.cli.options import Marked
from hostler.cli.parsing import META, flag_of, plain_default
from hostler.errors import UsageError
from hostler.settings.fields import Field
from hostler.settings.files import read_files
from hostler.settings.layers import Layers, Tree, Value

#: What options call a file or folder in their help.
PATHS = ("FILE", "DIR", "PATH", "F", "FOLDER")
#: Verbs that take no settings: they are how one finds out what is wrong with them.
WITHOUT = ("config", "completion")
#: Verbs that act on a live run: what they do to it is said each time, and only what doesn't act can be a setting.
ACTS = ("stop", "pause", "unpause", "add", "set", "cancel", "wait")
HARMLESS = ("color", "inventory", "json", "quiet")


def settle(ctx: click.Context, given: set[str]) -> dict[str, Value]:
    """The values that settings give the verb of `ctx`, by the option's name; `given` are those that flags say."""
    words = words_of(ctx)
    if words[0] in WITHOUT:
        return {}
    fields = fields_of(words, ctx.command)
    layers = layers_here(os.environ)
    odd, known = layers.strange(words, fields)
    if odd:
        from hostler.settings.variables import remark

        click.echo(f"hostler: {remark(odd, known)}", err=True)
    keys = {field.key for field in fields.values() if field.name in given}
    return {fields[key].name: value for key, value in layers.values(words, fields, given=keys).items()}


def layers_here(environ: Mapping[str, str]) -> Layers:
    """The sources of settings of this process. Raises UsageError for a file that can't be used."""
    from hostler.cli.verbs import VERBS

    return Layers(
        environ=environ,
        files=read_files(environ),
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
