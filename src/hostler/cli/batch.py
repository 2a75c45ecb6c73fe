"""`hostler batch`: jobs from stdin, from behind `:::`, or from a file, spread over hosts.

Each group of options has a module of its own: a decorator that adds them, and a function that reads them.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from hostler.cli.conditions import conditions, conditions_options
from hostler.cli.dryrun import dry_option, dry_run
from hostler.cli.launching import launching, launching_options
from hostler.cli.options import going_on_options
from hostler.cli.pacing import pacing, pacing_options
from hostler.cli.parsing import Verb, said_only
from hostler.cli.placing import entrusted, housed, placing, placing_options
from hostler.cli.reaching import (
    reaching,
    reaching_options,
    refuse_unreachable,
    session_key_option,
    sources_apart,
    ways_kept,
)
from hostler.cli.seeing import seeing, seeing_options
from hostler.cli.shaping import filing, shaping, shaping_options
from hostler.cli.sourcing import refuse_sourcing, sourcing, sourcing_options
from hostler.cli.splitter import printable
from hostler.cli.storing import store_option
from hostler.cli.targeting import chosen_hosts, names_hosts, targeting_options
from hostler.errors import UsageError

if TYPE_CHECKING:
    from hostler.cli.splitter import Split
    from hostler.wiring.wanted import Wanted

EXAMPLES = """\b
Examples:
  seq 10 | hostler batch --hosts 'user@host1,user@host2' -- echo hello
  hostler batch --hosts @sandbox --retries 2 -- 'gzip -t {} && echo {} ok' ::: a.gz b.gz
"""


@click.command(cls=Verb, epilog=EXAMPLES, context_settings={"ignore_unknown_options": False})
@targeting_options
@reaching_options
@session_key_option
@placing_options
@conditions_options
@sourcing_options
@pacing_options
@shaping_options
@seeing_options
@launching_options
@dry_option
@going_on_options
@click.argument("stray", nargs=-1, metavar="[-- COMMAND] [::: ARG...]")
@click.pass_obj
@store_option
def command(split: Split, /, stray: tuple[str, ...], **options: Any) -> int:
    """Spread jobs over hosts; each is done once, and a run can be resumed whatever happened.

    Jobs come from stdin (a line is one argument), from behind ':::', or from --jobs FILE. The command stands behind
    '--'; {} is replaced by the argument, which is appended where there is no {}. Several words are executed without a
    shell, one word with blanks or shell characters is text for the host's shell. Without a command each line is.
    """
    from hostler.cli.stopping import stand_in

    stand_in()
    if stray:
        raise UsageError(
            f"{' '.join(stray)!r} stands before '--': hosts are named with --hosts, the command behind '--', "
            "arguments behind ':::'"
        )
    if options["resume"] and options["retry"]:
        raise UsageError("--resume and --retry: one or the other")
    if options["resume"] or options["retry"]:
        if split.command or split.sources or options["job_file"]:
            raise UsageError("a run that goes on keeps its command and jobs: leave those out")
        if options["dry_run"]:
            raise UsageError("--dry-run is for new runs; hostler status shows what is left of one")
        return _go_on(options)
    return _begin(split, options)


def _begin(split: Split, options: dict[str, Any]) -> int:
    """A new run."""
    from hostler.cli.jobsource import JobSource
    from hostler.cli.rows import with_numbers
    from hostler.model.runs import BatchSpec
    from hostler.model.templates import Template

    if split.command is not None and not any(split.command):
        raise UsageError("no command behind '--': name one, or leave '--' out when each job is a command")
    changes = {**overrides(options), **filing(options, fresh=True)}
    sources_apart(options, jobs_on_stdin=not split.sources and options["job_file"] in (None, "-"))
    how = wanted(options)
    form = sourcing(options)
    if form.header and not split.command:
        raise UsageError("--header names columns for a command, and there is none behind '--'")
    with closing(JobSource(split.sources, options["job_file"], marks=split.marks, form=form)) as source:
        words = with_numbers(split.command or (), source.names) if form.header else split.command or ()
        template = Template.parse(words, shell=options["shell"])
        source.fill(template)
        unnamed = (how.launch or options["dry_run"]) and not names_hosts(options)
        hosts = [] if unnamed else housed(chosen_hosts(options), options)
        refuse_unreachable(hosts, how)
        if options["dry_run"]:
            return dry_run(source, template, hosts=hosts, how=how)
        import asyncio

        from hostler.cli.starting import begin

        spec = BatchSpec(template=template.to_json(), seed=form.seed, reading=form.kept(), **changes)
        shown = printable(" ".join(split.command)) if split.command else "(each line is a command)"
        return asyncio.run(begin(spec=spec, command=shown, hosts=hosts, source=source, wanted=how))


def _go_on(options: dict[str, Any]) -> int:
    """A run that is there already: it keeps its ways, which settings don't change, only flags."""
    own = said_only(options)
    refuse_sourcing(own)
    for flag in ("exclude", "limit"):
        if own[flag] and not names_hosts(own):
            raise UsageError(f"--{flag}: name the hosts that are to join, with --hosts, --hostfile or -i")
    sources_apart(options, jobs_on_stdin=False)
    how = wanted(
        options, options={**overrides(own), **filing(own, fresh=False)}, retry=bool(options["retry"])
    )
    inventory = {"inventory": options["inventory"]}
    hosts = housed(chosen_hosts(own | inventory), own) if names_hosts(own) else []
    refuse_unreachable(hosts, how)
    import asyncio

    from hostler.cli.running import resumed_run

    return asyncio.run(resumed_run(options["resume"] or options["retry"], hosts=hosts, wanted=how))


def overrides(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of BatchSpec that were given on this command line: what shapes jobs, and survives a resume."""
    return {**pacing(options), **placing(options), **conditions(options), **ways_kept(options)}


def wanted(given: dict[str, Any], /, **more: Any) -> Wanted:
    """How this controller is to work: what ends with it."""
    from hostler.wiring.wanted import Wanted

    return Wanted(
        **launching(given), **shaping(given), **seeing(given), **reaching(given), **entrusted(given), **more
    )
