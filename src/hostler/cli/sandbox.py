"""`hostler sandbox`: real SSH hosts on this machine, begun, listed and ended by hand."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hostler.cli import faults
from hostler.cli.options import Marked, colour_option
from hostler.cli.parsing import VerbGroup
from hostler.cli.saying import say

if TYPE_CHECKING:
    from hostler.providers.sandbox_files import Entry

UP_SECONDS = 30.0
DOWN_SECONDS = 30.0


@click.group(
    cls=VerbGroup,
    name="sandbox",
    epilog="\b\nExamples:\n  hostler sandbox up 2\n  hostler sandbox down",
)
def command() -> None:
    """Real SSH hosts on this machine, for trying and rehearsing.

    Each is an SSH server on a loopback address of its own, and is in every inventory as @sandbox and sandboxN.
    Ending one ends every process that was begun through it.
    """


@command.command(
    epilog="\b\nExamples:\n  hostler sandbox up 2\n  hostler sandbox up 10 --lifetime 1h --hosts-file hosts.txt"
)
@click.argument("count", metavar="N", type=int)
@click.option(
    "--hosts-file",
    cls=Marked,
    names="a file that is written",
    metavar="F",
    type=click.Path(dir_okay=False),
    help="Write the hosts to F as well.",
)
@click.option(
    "--lifetime", metavar="DUR", help="End them after this time, whoever still uses them (30s, 5m, 2h, 1d)."
)
def up(count: int, hosts_file: str | None, lifetime: str | None) -> None:
    """Begin N hosts and print one user@address:port a line."""
    import secrets

    from hostler.clock import SystemClock
    from hostler.errors import UsageError
    from hostler.model.durations import parse_duration
    from hostler.providers.sandbox_files import Registry
    from hostler.providers.sandbox_make import Launch
    from hostler.providers.sandbox_sshd import choose, home
    from hostler.providers.sandbox_start import start

    seconds = None if lifetime is None else parse_duration(lifetime)
    if seconds is not None and seconds < 1:
        raise UsageError(f"--lifetime {lifetime}: must be at least 1s")
    if hosts_file:
        _check_writable(Path(hosts_file))
    server = choose()
    if server.why:
        say(f"AsyncSSH servers instead of sshd: {server.why}")
    launch = Launch(
        run=None,
        token=secrets.token_hex(16),
        now=SystemClock().now(),
        lifetime=seconds,
        server=server,
        environment=home(),
    )
    records = start(Registry(), count, launch=launch, seconds=UP_SECONDS + count)
    text = "".join(f"{record.host.endpoint}\n" for record in records)
    if hosts_file:
        _write_hosts(Path(hosts_file), text)
    click.echo(text, nl=False)
    say(f"up: {_named([record.name for record in records])}")


@command.command(epilog="\b\nExamples:\n  hostler sandbox down\n  hostler sandbox down sandbox1 sandbox3")
@click.argument("names", metavar="[NAME]...", nargs=-1)
def down(names: tuple[str, ...]) -> None:
    """End sandbox hosts, with every process begun through them.

    Without names: all but those of a run whose controller is at work; these are ended by name, or with their run.
    """
    from hostler.providers.sandbox_end import end, in_use
    from hostler.providers.sandbox_files import Registry

    registry = Registry()
    there = registry.entries()
    known = {word for entry in there for word in (entry.name, entry.id)}
    if names:
        ended = end(registry, lambda entry: entry.name in names or entry.id in names, seconds=DOWN_SECONDS)
        for name in names:
            if name not in known:
                say(f"{name}: no such sandbox host (see: hostler sandbox list)")
    else:
        ended = end(registry, lambda entry: not in_use(entry), seconds=DOWN_SECONDS)
        kept = [entry.name for entry in there if in_use(entry)]
        if kept:
            say(f"left to their runs, which are at work: {_named(kept)}")
    say(f"ended: {_named([entry.name for entry in ended])}")
    if any(name not in known for name in names):
        raise SystemExit(2)


@command.command(name="list", epilog="\b\nExamples:\n  hostler sandbox list\n  hostler sandbox list --json")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON list of objects; times are seconds since the epoch."
)
@colour_option
def list_(as_json: bool, color: str) -> None:
    """Show the sandbox hosts of this account, those of runs too."""
    from hostler.cli.looking import colour_of, columns_of
    from hostler.clock import SystemClock
    from hostler.providers.sandbox_files import Registry
    from hostler.views.tables import Column, table

    entries = Registry().entries()
    if as_json:
        click.echo(json.dumps([facts(entry) for entry in entries], indent=2))
        return
    now = SystemClock().now()
    heads = [Column(head, widest=None) for head in ("host", "endpoint", "state", "fault", "ends in", "run")]
    rows = [_row(entry, now) for entry in entries]
    click.echo(table(heads, rows, width=columns_of(1), colour=colour_of(1, color)), nl=False)
    if not entries:
        say("no sandbox hosts; `hostler sandbox up 2` begins two")


def facts(entry: Entry) -> dict[str, object]:
    """What scripts are told of one host."""
    from hostler.providers.sandbox_faults import standing

    record = entry.record
    fault = standing(entry.folder)
    told: dict[str, object] = {"name": entry.name, "id": entry.id, "state": _state(entry)}
    if record:
        told |= {
            "endpoint": record.host.endpoint,
            "user": record.user,
            "address": record.address,
            "port": record.port,
            "identity": record.identity,
            "host_key": record.host_key,
            "run_uid": record.run,
            "fault": fault.name if fault else None,
            "fault_until": fault.until if fault else None,
            "started": record.started,
            "expires": record.expires,
            "pid": record.keeper.pid if record.keeper else None,
        }
    return told


command.add_command(faults.command, "faults")


def _named(names: list[str]) -> str:
    if len(names) > 6:
        return f"{len(names)} hosts, {names[0]} .. {names[-1]}"
    return ", ".join(names) or "nothing"


def _state(entry: Entry) -> str:
    if entry.up:
        return "up"
    return "starting" if entry.record and entry.record.keeper is None else "dead"


def _row(entry: Entry, now: float) -> tuple[str, ...]:
    from hostler.model.durations import format_duration
    from hostler.providers.sandbox_faults import standing

    record = entry.record
    if record is None:
        return (entry.name, "", "dead", "", "", "")
    left = record.instance.left(now)
    ends = "" if left is None else format_duration(left)
    fault = faults.tell(standing(entry.folder), now)
    return (entry.name, record.host.endpoint, _state(entry), fault, ends, record.run or "")


def _check_writable(path: Path) -> None:
    """Refuse a hosts file before anything is begun for it."""
    from hostler.errors import UsageError

    folder = path.absolute().parent
    target = path if path.exists() else folder
    if not folder.is_dir() or not os.access(target, os.W_OK):
        raise UsageError(f"--hosts-file {path}: can't be written; give a path in a folder that you may write")


def _write_hosts(path: Path, text: str) -> None:
    """Write the hosts file: whole, or not at all where it is an ordinary file."""
    from hostler.errors import UsageError

    try:
        if path.exists() and not path.is_file():  # a pipe or a terminal: nothing to rename over
            path.write_text(text)
            return
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with open(draft, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        sys.stdout.write(text)  # the hosts are up: they must not stay unknown
        raise UsageError(
            f"--hosts-file {path}: {error.strerror}; the hosts are up, `hostler sandbox down` ends them"
        ) from None
