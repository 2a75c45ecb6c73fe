"""What holds for the words of every verb: nothing is said twice, nothing is left empty, and settings fill the rest.

Every verb is a Verb, so that no option has to see to it. It must never change what a flag says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource

from hostler.cli.options import META, flag_of, plain_default


class Verb(click.Command):
    """A verb, which reads its words by the rules of this module."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words, and have settings fill in for what they don't say. Raises click.UsageError."""
        if not ctx.resilient_parsing:
            given = _given(self, ctx, args)
            if not _asks_for_help(given):
                from hostler.cli.settling import settle

                values = ctx.meta[META] = settle(ctx, {parameter.name or "" for parameter in given})
                ctx.default_map = {name: value.value for name, value in values.items()}
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Do it; a slip in what a setting says is told with where it stands."""
        from hostler.errors import UsageError

        try:
            return super().invoke(ctx)
        except UsageError as error:
            from hostler.cli.settling import blamed

            raise blamed(error, ctx) from error


class VerbGroup(click.Group):
    """Verbs that share a first word: `sandbox up`, `sandbox down`."""

    command_class = Verb


def said(name: str) -> bool:
    """Whether this command line says the option `name` itself, and not some setting or the default."""
    ctx = click.get_current_context(silent=True)
    return ctx is None or ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE


def said_only(options: dict[str, Any]) -> dict[str, Any]:
    """The options as they would be if there were no settings: for what must not be changed by them unasked."""
    ctx = click.get_current_context(silent=True)
    set_ = ctx.meta.get(META, {}) if ctx is not None else {}
    plain = {}
    for parameter in ctx.command.params if ctx is not None else ():
        if parameter.name in set_ and isinstance(parameter, click.Option):
            plain[parameter.name] = plain_default(parameter)
    return {**options, **plain}


def _asks_for_help(given: Sequence[click.Parameter]) -> bool:
    return any(parameter.is_eager and not parameter.expose_value for parameter in given)


def _given(command: click.Command, ctx: click.Context, args: Sequence[str]) -> list[click.Parameter]:
    """What stands on the command line. Raises click.UsageError for what is said twice or left empty."""
    try:
        values, _, order = command.make_parser(ctx).parse_args(args=list(args))
    except click.UsageError as error:
        error.ctx = error.ctx or ctx  # so that it points to the verb's own help
        raise
    options = [parameter for parameter in order if isinstance(parameter, click.Option)]
    if _asks_for_help(options):
        return order
    count = Counter(option.name for option in options)
    for option in options:
        several = count[option.name] > 1 and not option.multiple and not option.count
        others = [other for other in options if other.name == option.name and other is not option]
        if several and others:
            raise click.UsageError(f"{flag_of(option)} and {flag_of(others[0])}: one or the other", ctx)
        if several and (not option.is_flag or option.secondary_opts):
            both = f" or {option.secondary_opts[0]}" if option.secondary_opts else ""
            raise click.UsageError(f"{flag_of(option)}{both} is said twice; say it once", ctx)
        value = values.get(option.name or "")
        if value == "" or (isinstance(value, list | tuple) and "" in value):
            what = option.metavar or "value"
            raise click.UsageError(
                f"{flag_of(option)} '': there is no {what} in it; leave the flag out if none is meant", ctx
            )
    return order
