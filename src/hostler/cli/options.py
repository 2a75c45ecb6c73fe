"""Options that several verbs share, so that they are spelt and refused alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from hostler.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


def colour_option(command: F) -> F:
    """--color, as `color`: auto, always or never."""
    return click.option(
        "--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="Colours (auto)."
    )(command)


def whole(text: str, flag: str, *, least: int = 1, most: int) -> int:
    """A whole number from the command line. Raises UsageError.

    >>> whole("3", "-n", most=10)
    3
    """
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1
    if not least <= number <= most:
        raise UsageError(f"{flag} {text}: must be a whole number from {least} to {most}")
    return number
