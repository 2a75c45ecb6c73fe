"""How hosts are reached: the options that say so, and what they come to for a controller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hostler.cli.options import Marked, duration, group, whole
from hostler.cli.parsing import said
from hostler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hostler.model.hosts import Host
    from hostler.model.secrets import Secret
    from hostler.wiring.wanted import Wanted

#: Options that name where a secret is to be had, and how they are spelt.
SECRETS = {
    "ssh_password": "--ssh-password",
    "key_passphrase": "--key-passphrase",
    "as_password": "--as-password",
}

transport_option = click.option(
    "--transport",
    cls=Marked,
    names="the program by which hosts are reached",
    type=click.Choice(["auto", "asyncssh", "openssh", "local"]),
    default="auto",
    help="How hosts are reached: as their SSH configuration needs it (auto), by AsyncSSH, by the ssh "
    "program, or without SSH on this machine.",
)
password_option = click.option(
    "--ssh-password",
    cls=Marked,
    names="a secret",
    secret=True,
    metavar="SOURCE",
    help="The password for hosts that want one: ask, file:PATH, fd:N or env:NAME.",
)
passphrase_option = click.option(
    "--key-passphrase",
    cls=Marked,
    names="a secret",
    secret=True,
    metavar="SOURCE",
    help="What encrypted keys are opened with: ask, file:PATH, fd:N or env:NAME.",
)
strict_option = click.option(
    "--strict-host-keys",
    cls=Marked,
    names="a host-key policy",
    is_flag=True,
    help="Refuse hosts whose key is not known yet.",
)
session_key_option = click.option(
    "--session-key",
    cls=Marked,
    names="a key that hosts let in",
    metavar="DUR",
    default="0",
    help="Have hosts let in a key made for this run, for so long at a time: for when your agent goes away (no).",
)

#: -f, --connect-timeout, --transport, --ssh-password, --key-passphrase and --strict-host-keys.
reaching_options = group(
    click.option("-f", "--forks", metavar="N", default="64", help="Hosts connected to at once (64)."),
    click.option(
        "--connect-timeout", metavar="DUR", default="30s", help="Give a host this long to answer (30s)."
    ),
    transport_option,
    password_option,
    passphrase_option,
    strict_option,
)


#: Seconds that a session key may be let in for.
SHORTEST, LONGEST = 600.0, 604800.0


def session_key(options: dict[str, Any]) -> float:
    """Seconds that a session key is let in for, 0 for none. Raises UsageError."""
    text = options["session_key"]
    seconds = duration(text, "--session-key", least=0)
    if seconds and not SHORTEST <= seconds <= LONGEST:
        raise UsageError(f"--session-key {text}: must be 10m to 7d, or 0 for none")
    return seconds


def reaching(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of Wanted that are about reaching hosts. May ask on the terminal. Raises UsageError."""
    forks = whole(options["forks"], "--forks", least=1, most=10_000)
    return {
        "transport": options["transport"] if _decides(options, "transport") else None,
        **login_secrets(options),
        "strict": True if options["strict_host_keys"] else None,
        "connect_timeout": duration(options["connect_timeout"], "--connect-timeout"),
        "forks": forks if _decides(options, "forks") else None,
    }


def ways_kept(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of BatchSpec that are about reaching hosts: what others who visit the run go by."""
    changes: dict[str, Any] = {}
    if _decides(options, "transport"):
        changes["transport"] = options["transport"]
    if _decides(options, "forks"):
        changes["forks"] = whole(options["forks"], "--forks", least=1, most=10_000)
    if _decides(options, "session_key"):
        changes["session_key"] = session_key(options)
    if options["strict_host_keys"]:
        changes["strict"] = True
    if given := " ".join(flag for name, flag in SECRETS.items() if options[name] is not None):
        changes["secrets"] = given
    return changes


def _decides(options: dict[str, Any], name: str) -> bool:
    """Whether an option counts: a run that goes on keeps its own way unless a flag says otherwise."""
    return said(name) or not (options["resume"] or options["retry"])


def login_secrets(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of Wanted that open a host's door. May ask on the terminal. Raises UsageError."""
    return {
        "password": _secret(options, "ssh_password", "password for hosts"),
        "passphrase": _secret(options, "key_passphrase", "passphrase of your key"),
    }


def refuse_unreachable(hosts: Iterable[Host], how: Wanted) -> None:
    """Refuse hosts that the way to all of them can't lead to. Raises UsageError."""
    if how.transport != "local":
        return
    from hostler.transports.choosing import VARIABLE
    from hostler.transports.local import unfit

    if how.launch:
        raise UsageError("--transport local: launched hosts are reached by SSH; leave it out, or --launch")
    for host in hosts:
        if not host.var(VARIABLE) and (why := unfit(host)):
            raise UsageError(f"--transport local: {host.name}: {why}; leave it out, or name localhost")


def sources_apart(options: dict[str, Any], *, jobs_on_stdin: bool) -> None:
    """Refuse two things to be read from one descriptor: neither would get its own. Raises UsageError."""
    taken = {"0": "the jobs"} if jobs_on_stdin else {}
    for name, flag in SECRETS.items():
        number = _descriptor(options.get(name) or "")
        if number is None:
            continue
        if number in taken:
            what = "stdin" if number == "0" else f"fd {number}"
            raise UsageError(f"{flag} and {taken[number]} would both be read from {what}: give each its own")
        taken[number] = flag


def _descriptor(source: str) -> str | None:
    kind, _, name = source.partition(":")
    if kind == "file":
        name = "0" if name == "/dev/stdin" else name.removeprefix("/dev/fd/")
    return str(int(name)) if kind in ("fd", "file") and name.isascii() and name.isdigit() else None


def _secret(options: dict[str, Any], name: str, what: str) -> Secret | None:
    source, flag = options[name], SECRETS[name]
    if source is None:
        return None
    from hostler.cli.secrets import read_secret

    secret = read_secret(source, flag, what=what)
    try:
        secret.reveal().encode()
    except UnicodeEncodeError:
        raise UsageError(f"{flag}: SSH takes UTF-8 only, and that is none") from None
    return secret
