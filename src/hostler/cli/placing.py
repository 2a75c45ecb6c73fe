"""As whom jobs run, and what they may take of a host: the options that say so, and what they come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from hostler.cli.options import Marked, group
from hostler.cli.parsing import said
from hostler.errors import UsageError

if TYPE_CHECKING:
    from hostler.model.hosts import Host

#: --user, --as and --as-password.
placing_options = group(
    click.option("--user", metavar="NAME", help="Log in as NAME where a host names no user of its own."),
    click.option("--as", "as_user", metavar="USER", help="Run jobs as USER, through sudo on each host."),
    click.option(
        "--as-password",
        cls=Marked,
        names="a secret",
        secret=True,
        metavar="SOURCE",
        help="What sudo asks for: ask, file:PATH, fd:N or env:NAME.",
    ),
)


def placing(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of BatchSpec that were given on this command line. Raises UsageError."""
    changes: dict[str, Any] = {}
    if options["as_user"] is not None:
        if options["resume"] or options["retry"]:
            raise UsageError("--as: a run that goes on keeps its account")
        changes["as_user"] = login(options["as_user"], "--as")
    return changes


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
