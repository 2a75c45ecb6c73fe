"""As whom jobs run, and what they may take of a host: the options that say so, and what they come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from hostler.cli.options import Marked, blaming, duration, group
from hostler.cli.parsing import said
from hostler.errors import UsageError

if TYPE_CHECKING:
    from hostler.model.hosts import Host

#: The least --output-limit: shorter output is handled whole.
LEAST = 64 << 10
#: What a run keeps, whoever goes on with it.
KEPT = {"as_user": "--as", "pty": "--pty", "output_limit": "--output-limit"}

as_password_option = click.option(
    "--as-password",
    cls=Marked,
    names="a secret",
    secret=True,
    metavar="SOURCE",
    help="What sudo asks for: ask, file:PATH, fd:N or env:NAME.",
)

#: --user, --as, --as-password, --pty, --output-limit, --spool-max and --spool-keep.
placing_options = group(
    click.option("--user", metavar="NAME", help="Log in as NAME where a host names no user of its own."),
    click.option("--as", "as_user", metavar="USER", help="Run jobs as USER, through sudo on each host."),
    as_password_option,
    click.option("--pty", is_flag=True, help="Give each job a terminal; both its streams become one."),
    click.option(
        "--output-limit",
        cls=Marked,
        habit="1G",
        metavar="SIZE",
        help="Keep this much of a stream, its head and its tail (1G).",
    ),
    click.option(
        "--spool-max",
        cls=Marked,
        habit="10%",
        metavar="SIZE|N%",
        help="Begin no job on a host whose disk holds this much of ours (10%).",
    ),
    click.option(
        "--spool-keep",
        cls=Marked,
        habit="7d",
        metavar="DUR",
        help="Remove from hosts what older runs left there before this (7d).",
    ),
)


def placing(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of BatchSpec that were given on this command line. Raises UsageError."""
    changes: dict[str, Any] = {}
    goes_on = bool(options["resume"] or options["retry"])
    for name, flag in KEPT.items():
        if goes_on and options[name] and said(name):
            raise UsageError(f"{flag}: a run that goes on keeps what it began with")
    if not goes_on:
        if options["as_user"] is not None:
            changes["as_user"] = login(options["as_user"], "--as")
        if options["pty"]:
            changes["pty"] = True
        if options["output_limit"] is not None:
            changes["output_limit"] = size(options["output_limit"], "--output-limit", least=LEAST)
    if options["spool_max"] is not None:
        changes["spool_max"] = share(options["spool_max"], "--spool-max")
    if options["spool_keep"] is not None:
        changes["spool_keep"] = duration(options["spool_keep"], "--spool-keep")
    return changes


def size(text: str, flag: str, *, least: int) -> int:
    """An amount of bytes. Raises UsageError.

    >>> size("1M", "--output-limit", least=1)
    1048576
    """
    from hostler.model.sizes import parse_size

    with blaming(f"{flag}:"):
        number = parse_size(text)
    if number < least:
        raise UsageError(f"{flag} {text}: must be at least {least // 1024}K")
    return number


def share(text: str, flag: str) -> float:
    """A part of what is free, up to 1, or above that an amount of bytes. Raises UsageError.

    >>> share("5%", "--spool-max"), share("1M", "--spool-max")
    (0.05, 1048576.0)
    """
    if not text.endswith("%"):
        return float(size(text, flag, least=1 << 20))
    number = text[:-1]
    if not (number.isascii() and number.isdigit() and 1 <= int(number) <= 100):
        raise UsageError(f"{flag} {text}: must be from 1% to 100%, or an amount of bytes")
    return int(number) / 100


def entrusted(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of Wanted that are secrets of this controller. May ask on the terminal. Raises UsageError."""
    source = options["as_password"]
    if source is None:
        return {}
    if options["as_user"] is None and not (options["resume"] or options["retry"]):
        if not said("as_password"):
            return {}  # a setting, for when somebody says --as
        raise UsageError("--as-password is what sudo asks for: say whom jobs run as, with --as USER")
    from hostler.cli.secrets import read_secret

    return {"as_password": read_secret(source, "--as-password", what="password for sudo")}


def housed(hosts: Sequence[Host], options: dict[str, Any]) -> list[Host]:
    """The hosts, those without a user of their own with that of --user. Raises UsageError."""
    if options["user"] is None:
        return list(hosts)
    name = login(options["user"], "--user")
    return [host if host.user else replace(host, user=name) for host in hosts]


def login(name: str, flag: str) -> str:
    """The name of an account. Raises UsageError.

    >>> login("deploy", "--as")
    'deploy'
    """
    from hostler.model.hosts import USER

    if not USER.match(name) or name.endswith("$") or len(name) > 64:
        raise UsageError(f"{flag} {name!r}: not a login name")
    return name
