"""`hostler add RUN`: more jobs, or more hosts, for a run that is there already."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from hostler.cli.parsing import Verb
from hostler.cli.stopping import stand_in
from hostler.cli.storing import store_option
from hostler.cli.targeting import chosen_hosts, names_hosts, targeting_options
from hostler.errors import UsageError

if TYPE_CHECKING:
    from hostler.cli.asking import Jobs
    from hostler.cli.splitter import Split
    from hostler.model.requests import Wish
    from hostler.model.runs import RunRow
    from hostler.stores.store import RowStore

EXAMPLES = """\b
Examples:
  hostler add last ::: d.gz e.gz
  hostler add 42 --hosts 'user@host3,user@host4'
"""


@click.command(cls=Verb, epilog=EXAMPLES)
@targeting_options
@click.option("--jobs", "job_file", metavar="FILE", help="A file of jobs, one a line, instead of stdin.")
@click.argument("name", metavar="RUN")
@click.argument("stray", nargs=-1, metavar="[::: ARG...]")
@click.pass_obj
@store_option
def command(split: Split, /, name: str, stray: tuple[str, ...], **options: Any) -> int:
    """Add jobs for the run's own command, or hosts, or both.

    Jobs come from behind ':::', from --jobs FILE, or, where no hosts are named, from stdin. They are read as the run's
    own were: cut by its --colsep or --words, ended by NUL with its -0; a header is not given again. A run that nobody
    works on, or that has finished, keeps them for 'hostler batch --resume'. RUN is a run's number, the first letters
    of its uid, or 'last'.
    """
    from hostler.cli.asking import ask
    from hostler.cli.jobsource import NO_JOBS, JobSource
    from hostler.cli.rows import Form
    from hostler.model.hosts import refuse_twins
    from hostler.model.requests import Add
    from hostler.model.templates import Template
    from hostler.stores.reads.batch import spec, workers

    stand_in()
    if stray:
        raise UsageError(f"{' '.join(stray)!r} stands before ':::': arguments of jobs stand behind it")
    if split.command is not None:
        raise UsageError("the run keeps its command: leave out '--' and what is behind it")
    hosts = tuple(chosen_hosts(options)) if names_hosts(options) else ()
    wanted = bool(split.sources or options["job_file"] or not hosts)
    sources: list[JobSource] = []  # one at most, made when the run has said how its lines are cut
    with ExitStack() as stack:

        def make(store: RowStore, row: RunRow) -> Wish | str:
            plan = spec(store.reader, row.number)
            if plan.fanout:
                raise UsageError(
                    f"run {row.number} is one command on the hosts that it began with: run another"
                )
            if wanted:
                form = Form.of_kept(plan.reading)
                sources.append(JobSource(split.sources, options["job_file"], marks=split.marks, form=form))
                stack.callback(sources[0].close)
                sources[0].fill(Template.from_json(plan.template))
            refuse_twins(hosts, enrolled=[each.host for each in workers(store.reader, row.number)])
            return Add(hosts=hosts)

        def jobs() -> Jobs:
            job = None
            for source in sources:
                for job in source.jobs(check=lambda: None):
                    yield job
            if wanted and job is None:
                raise UsageError(NO_JOBS)

        return ask(name, make, jobs=jobs)
