"""`hostler run`: one command on many hosts, now; their output as it comes, and at the end a line that says how it went.

It must never fill anything into the command: what stands in braces there is the command's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hostler.cli.conditions import conditions, conditions_options
from hostler.cli.fanning import doing, doing_options, sent, showing_options, shown
from hostler.cli.options import going_on_options
from hostler.cli.parsing import Verb, said_only
from hostler.cli.placing import as_password_option, entrusted, housed, login
from hostler.cli.reaching import (
    reaching,
    reaching_options,
    refuse_unreachable,
    sources_apart,
    ways_kept,
)
from hostler.cli.seeing import seeing, seeing_options
from hostler.cli.splitter import printable
from hostler.cli.storing import store_option
from hostler.cli.targeting import chosen_hosts, picking_options
from hostler.errors import UsageError

if TYPE_CHECKING:
    from hostler.cli.splitter import Split
    from hostler.model.hosts import Host
    from hostler.wiring.wanted import Wanted

EXAMPLES = """\b
Examples:
  hostler run @sandbox -- uptime
  hostler run 'sandbox[1-2]' --timeout 10s -- 'df -h / | tail -1'
"""


@click.command(cls=Verb, epilog=EXAMPLES, context_settings={"ignore_unknown_options": False})
@picking_options
@doing_options
@showing_options
@conditions_options
@click.option("--user", metavar="NAME", help="Log in as NAME where a host names no user of its own.")
@click.option("--as", "as_user", metavar="USER", help="Run the command as USER, through sudo on each host.")
@as_password_option
@reaching_options
@seeing_options
@going_on_options
@click.argument("targets", nargs=-1, metavar="TARGETS -- COMMAND")
@click.pass_obj
@store_option
def command(split: Split, /, targets: tuple[str, ...], **options: Any) -> int:
    """Run one command on many hosts, now.

    TARGETS are names, addresses, sets and @tags in one word: 'web[1-9]&!@old'. Several words behind '--' are executed
    without a shell, one word with blanks or shell characters is text for the host's shell. What a host prints is shown
    as it comes, with its name before each line. The command ends with its line: when that is lost, or this command is
    killed, what runs on the host is ended there.
    """
    from hostler.cli.stopping import stand_in

    stand_in()
    if len(targets) > 1:
        raise UsageError(
            f"{' '.join(targets)!r} stands before '--': write targets as one word ('a,b'), the command behind '--'"
        )
    if split.sources:
        raise UsageError("run takes nothing behind ':::': that is what hostler batch is for")
    options |= {"hosts": targets[0] if targets else None, "session_key": "0"}
    if options["resume"] and options["retry"]:
        raise UsageError("--resume and --retry: one or the other")
    if options["resume"] or options["retry"]:
        if targets or split.command or options["hostfile"]:
            raise UsageError("a run that goes on keeps its hosts and its command: leave those out")
        return _go_on(options)
    return _begin(split, options)


def _begin(split: Split, options: dict[str, Any]) -> int:
    """A new fan-out."""
    from hostler.model.runs import BatchSpec
    from hostler.model.templates import Template

    words = list(split.command or ())
    if not options["script"] and not any(words):
        raise UsageError("no command: it stands behind '--': hostler run TARGETS -- COMMAND")
    if options["script"] and options["shell"]:
        raise UsageError("--script and --shell: what runs a script is said by its first line")
    template = Template.whole(words, shell=False if options["script"] else options["shell"])
    changes = {
        "lease": 0.0,
        "retry_on": "none",
        **doing(options),
        **conditions(options),
        **ways_kept(options),
    }
    if options["as_user"] is not None:
        changes["as_user"] = login(options["as_user"], "--as")
    sources_apart(options, jobs_on_stdin=options["stdin"])
    how = wanted(options)
    hosts = housed(chosen_hosts(options, flag=""), options)
    refuse_unreachable(hosts, how)
    changes |= sent(options, lease=changes["lease"])
    import asyncio

    from hostler.cli.starting import begin

    spec = BatchSpec(template=template.to_json(), fanout=True, slots=1, **changes)
    shown = [f"--script {options['script']}"] if options["script"] else []
    source = OnePerHost(template, hosts)
    said = printable(" ".join([*shown, *words]))
    return asyncio.run(begin(spec=spec, command=said, hosts=hosts, source=source, wanted=how))


def _go_on(options: dict[str, Any]) -> int:
    """A fan-out that is there already: it keeps all that is not said anew."""
    own = said_only(options)
    for name in ("script", "stdin", "as_user", "user"):
        if own[name]:
            flag = "--as" if name == "as_user" else f"--{name}"
            raise UsageError(f"{flag}: a run that goes on keeps what it began with")
    conditions(own)
    sources_apart(options, jobs_on_stdin=False)
    how = wanted(options, options={**doing(own), **ways_kept(own)}, retry=bool(options["retry"]))
    import asyncio

    from hostler.cli.running import resumed_run

    return asyncio.run(resumed_run(options["resume"] or options["retry"], hosts=[], wanted=how))


def wanted(given: dict[str, Any], /, **more: Any) -> Wanted:
    """How this controller is to work: what ends with it."""
    from hostler.wiring.wanted import Wanted

    return Wanted(**shown(given), **seeing(given), **reaching(given), **entrusted(given), **more)


class OnePerHost:
    """The jobs of a fan-out: one for each host, whose one argument is its name."""

    skipped = 0

    def __init__(self, template: Any, hosts: list[Host]) -> None:
        self._template, self._hosts = template, hosts

    def jobs(self, *, check: Any) -> Any:
        """Each with its content key; `check` is called now and then and may raise."""
        for host in self._hosts:
            check()
            args = (host.name.encode(),)
            yield args, self._template.key(args)
