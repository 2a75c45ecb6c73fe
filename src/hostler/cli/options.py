"""Options that several verbs share, so that they are spelt and refused alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from hostler.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

#: Where a context keeps what the settings said, as {name of the option: settings.layers.Value}.
META = "hostler.settings"


def group(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, in the order in which the help is to show them."""

    def decorated(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


def colour_option(command: F) -> F:
    """--color, as `color`: auto, always or never."""
    return click.option(
        "--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="Colours (auto)."
    )(command)


def flag_of(option: click.Parameter) -> str:
    """An option's name as people should write it: the long one."""
    return max(option.opts, key=len)


def plain_default(option: click.Option) -> Any:
    """What an option is when nobody says anything."""
    default = option.to_info_dict()["default"]
    if default is None and option.multiple:
        return ()
    return default


@contextmanager
def blaming(what: str) -> Iterator[None]:
    """Say of a slip found within the block what it is a slip of: a flag, with its colon where one belongs.

    >>> with blaming("--timeout:"): raise UsageError("'x' is no length of time")
    Traceback (most recent call last):
    hostler.errors.UsageError: --timeout: 'x' is no length of time
    """
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{what} {error}") from None


def whole(text: str, flag: str, *, least: int = 1, most: int) -> int:
    """A whole number from the command line. Raises UsageError.

    >>> whole("3", "-n", most=10)
    3
    """
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1
    if not least <= number <= most:
        raise UsageError(f"{flag} {text}: must be a whole number from {least} to {most}")
    return number


def duration(text: str, flag: str, *, least: float | None = None) -> float:
    """A length of time from a flag, in seconds, more than none unless `least` is 0. Raises UsageError.

    >>> duration("2m", "--timeout")
    120.0
    """
    from hostler.model.durations import parse_duration

    with blaming(f"{flag}:"):
        seconds = parse_duration(text)
    if not seconds and least is None:
        raise UsageError(f"{flag} {text}: must be more than nothing")
    return seconds


class Marked(click.Option):
    """An option of which settings have to know more: `click.option("--retry", cls=Marked, never="it names a run")`.

    `names` is what a project's settings file may not choose with it (a program, a key), `never` why it is no setting
    at all; of `rivals`, keys of settings, only the one said nearest to the command line holds. A `secret` is told by
    where it is to be had, and its value is never shown. `habit` is what holds when nobody says anything, where that is
    no default of the option itself. Of what `assigns`, NAME=VALUE, the value is never shown; of a
    store's `url` no password. Of values that name files `literals` are none.
    """

    def __init__(
        self,
        *words: Any,
        names: str = "",
        never: str = "",
        rivals: tuple[str, ...] = (),
        secret: bool = False,
        habit: str | None = None,
        assigns: bool = False,
        url: bool = False,
        literals: tuple[str, ...] = (),
        **more: Any,
    ) -> None:
        super().__init__(*words, **more)
        self.names, self.never, self.rivals, self.secret = names, never, rivals, secret
        self.habit, self.assigns, self.url, self.literals = habit, assigns, url, literals


#: --resume and --retry: going on with a run that is there.
going_on_options = group(
    click.option(
        "--resume",
        cls=Marked,
        never="it names one run",
        metavar="RUN",
        help="Go on with a run: number, uid or 'last'.",
    ),
    click.option(
        "--retry",
        cls=Marked,
        never="it names one run",
        metavar="RUN",
        help="Put a run's failed jobs back and go on with it.",
    ),
)
