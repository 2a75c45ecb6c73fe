"""`hostler batch`: jobs from stdin, from behind `:::`, or from a file, spread over hosts."""

from __future__ import annotations

import asyncio
import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hostler.cli.options import whole
from hostler.cli.stopping import stand_in
from hostler.errors import UsageError

if TYPE_CHECKING:
    from hostler.cli.splitter import Split
    from hostler.model.hosts import Host
    from hostler.model.selectors import Selector
    from hostler.wiring import Wanted

#: The lease of --on-disconnect kill, in seconds: three keepalives, since an end of the line may never arrive.
KILL = 45.0

EXAMPLES = """\b
Examples:
  seq 10 | hostler batch --hosts 'user@host1,user@host2' -- echo hello
  hostler batch --hosts @sandbox --retries 2 -- 'gzip -t {} && echo {} ok' ::: a.gz b.gz
"""


@click.command(epilog=EXAMPLES, context_settings={"ignore_unknown_options": False})
@click.option(
    "--hosts", metavar="TARGETS", help="Where to run: names, addresses, sets, @tags: 'web[1-9]&!@old'."
)
@click.option("--hostfile", metavar="FILE", help="A file of hosts, [user@]host[:port] one a line.")
@click.option("-x", "--exclude", metavar="TARGETS", help="Hosts to leave out.")
@click.option(
    "-i", "--inventory", metavar="FILE", multiple=True, help="An inventory (YAML or plain); repeatable."
)
@click.option("-j", "--slots", metavar="N", help="Jobs at once on each host (else as many as it has cores).")
@click.option("-f", "--forks", metavar="N", default="64", help="Hosts connected to at once (64).")
@click.option("--jobs", "job_file", metavar="FILE", help="A file of jobs, one a line, instead of stdin.")
@click.option("--shell/--no-shell", default=None, help="Take the command as text for a shell, or never do.")
@click.option("--timeout", metavar="DUR", help="End an attempt after this long (30s 5m 2h 1d).")
@click.option(
    "--connect-timeout", metavar="DUR", default="30s", help="Give a host this long to answer (30s)."
)
@click.option("--retries", metavar="N", help="Try a job that fails or times out this many times more.")
@click.option(
    "--on-disconnect", metavar="WHAT", help="When a host's line is lost: lease=DUR (lease=2m) or kill."
)
@click.option("--line-buffer", is_flag=True, help="Print output line by line as it comes, not job by job.")
@click.option("--launch", metavar="N", help="Launch N hosts for this run; they end with it.")
@click.option("--provider", metavar="NAME", help="Who launches them (sandbox).")
@click.option("--keep", is_flag=True, help="Leave launched hosts running.")
@click.option("--resume", metavar="RUN", help="Go on with a run: number, uid or 'last'.")
@click.option("--retry", metavar="RUN", help="Put a run's failed jobs back and go on with it.")
@click.option("--strict-host-keys", is_flag=True, help="Refuse hosts whose key is not known yet.")
@click.option(
    "-q", "--quiet", is_flag=True, help="No progress and no report: errors, and a line if not all went well."
)
@click.option(
    "--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="Colours (auto)."
)
@click.option("-y", "--yes", is_flag=True, help="Don't ask before anything that costs money.")
@click.argument("stray", nargs=-1, metavar="[-- COMMAND] [::: ARG...]")
@click.pass_obj
def command(split: Split, /, stray: tuple[str, ...], **options: Any) -> int:
    """Spread jobs over hosts; each is done once, and a run can be resumed whatever happened.

    Jobs come from stdin (a line is one argument), from behind ':::', or from --jobs FILE. The command stands behind
    '--'; {} is replaced by the argument, which is appended where there is no {}. Several words are executed without a
    shell, one word with blanks or shell characters is text for the host's shell. Without a command each line is.
    """
    stand_in()
    if stray:
        raise UsageError(
            f"{' '.join(stray)!r} stands before '--': hosts are named with --hosts, the command behind '--', "
            "arguments behind ':::'"
        )
    if split.sources and options["job_file"]:
        raise UsageError("jobs behind ':::' and --jobs: one or the other")
    if options["resume"] and options["retry"]:
        raise UsageError("--resume and --retry: one or the other")
    if options["resume"] or options["retry"]:
        if split.command or split.sources or options["job_file"]:
            raise UsageError("a run that goes on keeps its command and jobs: leave those out")
        return _go_on(options)
    return _begin(split, options)


def _begin(split: Split, options: dict[str, Any]) -> int:
    """A new run."""
    from hostler.cli.jobsource import JobSource
    from hostler.model.runs import BatchSpec
    from hostler.model.templates import Template

    if split.command is not None and not any(split.command):
        raise UsageError("no command behind '--': name one, or leave '--' out when each job is a command")
    changes = overrides(options)
    how = wanted(options, {})
    template = Template.parse(split.command or (), shell=options["shell"])
    with closing(JobSource(split.sources, options["job_file"], template)) as source:
        hosts = [] if how.launch and not _names_hosts(options) else chosen_hosts(options)
        from hostler.cli.running import new_run

        spec = BatchSpec(template=template.to_json(), **changes)
        words = printable(" ".join(split.command)) if split.command else "(each line is a command)"
        return asyncio.run(new_run(spec=spec, command=words, hosts=hosts, source=source, wanted=how))


def _go_on(options: dict[str, Any]) -> int:
    """A run that is there already."""
    if options["shell"] is not None:
        raise UsageError("--shell: a run that goes on keeps its command")
    if options["exclude"] and not _names_hosts(options):
        raise UsageError("--exclude: name the hosts that are to join, with --hosts, --hostfile or -i")
    how = wanted(options, overrides(options), retry=bool(options["retry"]))
    hosts = chosen_hosts(options) if _names_hosts(options) else []
    from hostler.cli.running import resumed_run

    return asyncio.run(resumed_run(options["resume"] or options["retry"], hosts=hosts, wanted=how))


def _names_hosts(options: dict[str, Any]) -> bool:
    return bool(options["hosts"] or options["hostfile"] or options["inventory"])


def chosen_hosts(options: dict[str, Any]) -> list[Host]:
    """The hosts that the options name. Raises UsageError, SpecError."""
    from hostler.manifests import load_inventory, read_hostfile
    from hostler.model.hosts import Inventory
    from hostler.wiring import sandbox_hosts

    files = [Path(path) for path in options["inventory"]]
    inventory = load_inventory(files, extra=sandbox_hosts())
    text = options["hosts"]
    if options["hostfile"]:
        if text:
            raise UsageError("--hosts and --hostfile: one or the other")
        text = "^" + options["hostfile"]
    if not text:
        if not options["inventory"]:
            raise UsageError(
                "no hosts: name them with --hosts 'user@host1,user@host2', --hostfile FILE or -i FILE"
            )
        # All that the files name, and nothing that is known without them.
        named = {host.name for host in load_inventory(files)}
        inventory, text = Inventory(tuple(host for host in inventory if host.name in named)), "all"
    exclude = _targets("--exclude", options["exclude"]) if options["exclude"] else None
    hosts = list(_targets("--hosts", text).pick(inventory, files=read_hostfile, leave_out=exclude))
    if not hosts:
        raise UsageError(f"no host is left of {text!r}" + (" without those of -x" if exclude else ""))
    return hosts


def _targets(flag: str, text: str) -> Selector:
    """A target text from a flag. Raises UsageError that shows it."""
    from hostler.model.selectors import parse_targets

    try:
        return parse_targets(text)
    except UsageError as error:
        raise UsageError(f"{flag} {text!r}: {str(error).removeprefix('targets: ')}") from None


def overrides(options: dict[str, Any]) -> dict[str, Any]:
    """The parts of the spec that were given on this command line."""
    changes: dict[str, Any] = {}
    if options["slots"] is not None:
        changes["slots"] = whole(options["slots"], "--slots", least=1, most=10_000)
    if options["timeout"] is not None:
        changes["timeout"] = duration(options["timeout"], "--timeout")
    if options["retries"] is not None:
        changes["retries"] = whole(options["retries"], "--retries", least=0, most=1000)
    if options["on_disconnect"] is not None:
        changes["lease"] = lease(options["on_disconnect"])
    return changes


def wanted(options: dict[str, Any], changes: dict[str, Any], *, retry: bool = False) -> Wanted:
    """How this controller is to work."""
    from hostler.views.colours import wanted as colours_wanted
    from hostler.wiring import PROVIDERS, Wanted

    launch, name = options["launch"], options["provider"]
    if launch and not name:
        raise UsageError(f"--launch {launch}: name who launches them, with --provider {PROVIDERS[0]}")
    if name and not launch:
        raise UsageError(f"--provider {name}: say how many hosts it is to launch, with --launch N")
    if name and name not in PROVIDERS:
        raise UsageError(f"--provider {name}: there is: {', '.join(PROVIDERS)}")
    if options["keep"] and not (launch or options["resume"] or options["retry"]):
        raise UsageError("--keep is about hosts that are launched for the run, with --launch N")
    return Wanted(
        options=changes,
        launch=whole(launch, "--launch", most=500) if launch else 0,
        provider=name or PROVIDERS[0],
        keep=options["keep"],
        retry=retry,
        line_buffer=options["line_buffer"],
        quiet=options["quiet"],
        colour=colours_wanted(options["color"], terminal=_err_tty(), environ=os.environ),
        strict=True if options["strict_host_keys"] else None,
        connect_timeout=duration(options["connect_timeout"], "--connect-timeout"),
        forks=whole(options["forks"], "--forks", least=1, most=10_000),
    )


def printable(words: str) -> str:
    """Words from the command line that may hold bytes which are no UTF-8, as text that can be stored.

    >>> printable("caf\\udce9")
    'caf\\\\xe9'
    """
    return words.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def duration(text: str, flag: str) -> float:
    """A length of time from a flag, in seconds, more than none. Raises UsageError."""
    from hostler.model.durations import parse_duration

    try:
        seconds = parse_duration(text)
    except UsageError as error:
        raise UsageError(f"{flag}: {error}") from None
    if not seconds:
        raise UsageError(f"{flag} {text}: must be more than nothing")
    return seconds


def lease(text: str) -> float:
    """Seconds that a host works on with nobody listening, from --on-disconnect. Raises UsageError.

    >>> lease("lease=5m"), lease("kill")
    (300.0, 45.0)
    """
    if text == "kill":
        return KILL
    if not text.startswith("lease="):
        raise UsageError(f"--on-disconnect {text}: write lease=DUR (lease=2m is the habit) or kill")
    return max(1.0, duration(text.removeprefix("lease="), "--on-disconnect lease="))


def _err_tty() -> bool:
    try:
        return os.isatty(2)
    except OSError:
        return False
