"""`hostler batch`: jobs from stdin, from behind `:::`, or from a file, spread over hosts."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from hostler.errors import UsageError

if TYPE_CHECKING:
    from hostler.cli.splitter import Split
    from hostler.model.hosts import Host
    from hostler.model.templates import Template

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
@click.option("--line-buffer", is_flag=True, help="Print output line by line as it comes, not job by job.")
@click.option("--launch", metavar="N", help="Launch N hosts for this run; they end with it.")
@click.option("--provider", metavar="NAME", help="Who launches them (sandbox).")
@click.option("--keep", is_flag=True, help="Leave launched hosts running.")
@click.option("--resume", metavar="RUN", help="Go on with a run: number, uid or 'last'.")
@click.option("--retry", metavar="RUN", help="Put a run's failed jobs back and go on with it.")
@click.option("--strict-host-keys", is_flag=True, help="Refuse hosts whose key is not known yet.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no report; errors only.")
@click.option(
    "--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="Colours (auto)."
)
@click.option("-y", "--yes", is_flag=True, help="Don't ask before anything that costs money.")
@click.pass_obj
def command(split: Split, **options: Any) -> int:
    """Spread jobs over hosts; each is done once, and a run can be resumed whatever happened.

    Jobs come from stdin (a line is one argument), from behind ':::', or from --jobs FILE. The command stands behind
    '--'; {} is replaced by the argument, which is appended where there is no {}. Several words are executed without a
    shell, one word with blanks or shell characters is text for the host's shell. Without a command each line is.
    """
    if options["resume"] and options["retry"]:
        raise UsageError("--resume and --retry: one or the other")
    if options["resume"] or options["retry"]:
        if split.command or split.sources or options["job_file"]:
            raise UsageError("a run that goes on keeps its command and jobs: leave those out")
        return _go_on(options)
    return _begin(split, options)


def _begin(split: Split, options: dict[str, Any]) -> int:
    """A new run."""
    from hostler.model.runs import BatchSpec
    from hostler.model.templates import Template

    changes = overrides(options)
    template = Template.parse(split.command or (), shell=options["shell"])
    launch = whole(options["launch"], "--launch", most=1000) if options["launch"] else 0
    with closing(_JobSource(split, options["job_file"])) as source:
        hosts = [] if launch and not (options["hosts"] or options["hostfile"]) else chosen_hosts(options)
        from hostler.cli.running import new_run

        spec = BatchSpec(template=template.to_json(), **changes)
        words = " ".join(split.command) if split.command else "(each line is a command)"
        return asyncio.run(
            new_run(
                spec=spec,
                command=words,
                hosts=hosts,
                jobs=source.jobs(template),
                launch=launch,
                provider=options["provider"],
                keep=options["keep"],
                wanted=wanted(options, {}),
                note_skipped=lambda: source.skipped,
            )
        )


def _go_on(options: dict[str, Any]) -> int:
    """A run that is there already."""
    from hostler.cli.running import resumed_run

    hosts = chosen_hosts(options) if options["hosts"] or options["hostfile"] else []
    return asyncio.run(
        resumed_run(
            options["resume"] or options["retry"],
            hosts=hosts,
            keep=options["keep"],
            wanted=wanted(options, overrides(options), retry=bool(options["retry"])),
        )
    )


class _JobSource:
    """Where jobs are read from, as (arguments, content key) one by one."""

    def __init__(self, split: Split, file: str | None) -> None:
        self._sources, self._file = split.sources, None if split.sources else self._opened(file)
        self._name = file or "stdin"
        self.skipped = 0

    def _opened(self, file: str | None) -> BinaryIO:
        if file and file != "-":
            try:
                return Path(file).open("rb")
            except OSError as error:
                raise UsageError(f"--jobs {file}: {error.strerror}") from None
        if sys.stdin is None or os.isatty(0):
            raise UsageError(
                "no jobs: stdin is a terminal; pipe jobs in, write them behind ':::', or use --jobs FILE"
            )
        return sys.stdin.buffer

    def jobs(self, template: Template) -> Iterator[tuple[tuple[bytes, ...], bytes]]:
        """Every job with its content key."""
        from hostler.cli.splitter import jobs_from_lines, jobs_from_sources

        key = template.key
        there = len(self._sources) if self._file is None else 1
        if template.needs > there:
            raise UsageError(f"the command asks for argument {{{template.needs}}}, and each job has {there}")
        if self._file is None:
            for args in jobs_from_sources(self._sources):
                yield args, key(args)
            return
        lines = jobs_from_lines(self._file, name=self._name)
        for line in lines:
            one = (line,)
            yield one, key(one)
        self.skipped = lines.skipped

    def close(self) -> None:
        """Close the file of jobs."""
        if self._file is not None and self._file is not sys.stdin.buffer:
            self._file.close()


def chosen_hosts(options: dict[str, Any]) -> list[Host]:
    """The hosts that the options name. Raises UsageError, SpecError."""
    from hostler.manifests import load_inventory, read_hostfile
    from hostler.model.selectors import parse_targets
    from hostler.wiring import sandbox_hosts

    inventory = load_inventory([Path(path) for path in options["inventory"]], extra=sandbox_hosts())
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
        text = "all"
    hosts = list(parse_targets(text).pick(inventory, files=read_hostfile))
    if options["exclude"]:
        without = {
            host.name for host in parse_targets(options["exclude"]).pick(inventory, files=read_hostfile)
        }
        hosts = [host for host in hosts if host.name not in without]
    if not hosts:
        raise UsageError(f"no host is left of {text!r}")
    return hosts


def overrides(options: dict[str, Any]) -> dict[str, Any]:
    """The parts of the spec that were given on this command line."""
    from hostler.model.durations import parse_duration

    changes: dict[str, Any] = {}
    if options["slots"] is not None:
        changes["slots"] = whole(options["slots"], "--slots", least=1, most=10_000)
    if options["timeout"] is not None:
        changes["timeout"] = parse_duration(options["timeout"])
        if not changes["timeout"]:
            raise UsageError("--timeout 0: must be more than nothing")
    if options["retries"] is not None:
        changes["retries"] = whole(options["retries"], "--retries", least=0, most=1000)
    return changes


def wanted(options: dict[str, Any], changes: dict[str, Any], *, retry: bool = False) -> Any:
    """How this controller is to work."""
    from hostler.model.durations import parse_duration
    from hostler.wiring import Wanted

    plain = options["color"] == "never" or (
        options["color"] == "auto" and (os.environ.get("NO_COLOR") or not _err_tty())
    )
    return Wanted(
        options=changes,
        retry=retry,
        line_buffer=options["line_buffer"],
        quiet=options["quiet"],
        colour=not plain,
        strict=True if options["strict_host_keys"] else None,
        connect_timeout=max(0.1, parse_duration(options["connect_timeout"])),
        forks=whole(options["forks"], "--forks", least=1, most=10_000),
    )


def whole(text: str, flag: str, *, least: int = 1, most: int) -> int:
    """A whole number from a flag. Raises UsageError."""
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise UsageError(f"{flag} {text}: must be a whole number from {least} to {most}")
    return number


def _err_tty() -> bool:
    try:
        return os.isatty(2)
    except OSError:
        return False
