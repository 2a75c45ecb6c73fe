"""What put, get and sync share: their options, their hosts, the live line, and the table at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hostler.cli.options import colour_option, group
from hostler.cli.reaching import reaching, reaching_options, refuse_unreachable, sources_apart
from hostler.cli.saying import say
from hostler.cli.targeting import chosen_hosts, exclude_option, inventory_option, limit_option
from hostler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from hostler.model.hosts import Host
    from hostler.model.trees import Copied
    from hostler.ports import Transport
    from hostler.wiring.wanted import Wanted
    from hostler.work.copying.copies import One, Planned
    from hostler.work.copying.running import Progress

#: The hosts of a verb whose TARGETS stand first.
hosts_options = group(
    exclude_option,
    limit_option,
    inventory_option,
    click.option("--user", metavar="NAME", help="Log in as NAME where a host names no user of its own."),
    reaching_options,
)

#: What all three know.
comparing_options = group(
    click.option(
        "-c", "--checksum", is_flag=True, help="Compare files by content (SHA-256), not size and time."
    ),
    click.option(
        "-n", "--dry-run", is_flag=True, help="Say what would change on each host, and change nothing."
    ),
    click.option("--diff", is_flag=True, help="With --dry-run: how the text of small files would change."),
    click.option(
        "--fsync/--no-fsync", default=True, help="Have files safe from a power cut before they count (yes)."
    ),
    click.option("--json", "as_json", is_flag=True, help="One JSON list, an object per host."),
    click.option(
        "-q", "--quiet", is_flag=True, help="No live line, and a table only where something failed."
    ),
    colour_option,
)


def hosts_and_way(targets: str, options: dict[str, Any]) -> tuple[list[Host], Wanted]:
    """The hosts that are meant, and how they are reached. Raises UsageError."""
    from hostler.cli.placing import housed
    from hostler.wiring.wanted import Wanted

    sources_apart(options, jobs_on_stdin=False)
    if options["diff"] and not options["dry_run"]:
        raise UsageError("--diff shows what --dry-run would change: say both")
    how = Wanted(**reaching({**options, "resume": None, "retry": None, "as_password": None}))
    try:
        chosen = chosen_hosts({**options, "hosts": targets, "hostfile": None}, flag="")
    except UsageError as error:
        raise UsageError(str(error).removeprefix("--hosts ")) from None
    hosts = housed(chosen, options)
    refuse_unreachable(hosts, how)
    return hosts, how


def run(
    verb: str,
    hosts: Sequence[Host],
    how: Wanted,
    options: dict[str, Any],
    make: Callable[[Transport, Callable[[Planned], None]], Coroutine[Any, Any, One]],
) -> int:
    """Do `make`'s part for every host, show it, and say what became of it; the exit code."""
    import asyncio

    from hostler.model.trees import exit_code

    planned: list[Planned] = []
    results = asyncio.run(_run(verb, hosts, how, options, make, planned))
    if options["as_json"]:
        _print_json(results, planned)
    elif options["dry_run"]:
        _print_plans(hosts, results, planned)
    else:
        _print_table(results, options)
    return exit_code(results)


async def _run(
    verb: str,
    hosts: Sequence[Host],
    how: Wanted,
    options: dict[str, Any],
    make: Callable[[Transport, Callable[[Planned], None]], Coroutine[Any, Any, One]],
    planned: list[Planned],
) -> list[Copied]:
    import asyncio
    from contextlib import suppress

    from hostler.clock import SystemClock
    from hostler.model.runs import BatchSpec
    from hostler.stores.folder import state_dir
    from hostler.views.console import Console
    from hostler.wiring.reaching import limited, ways
    from hostler.work.copying.running import Progress, each_host

    clock = SystemClock()
    console = Console.of_process(clock=clock)
    choosing = ways(state_dir(), wanted=how, say=lambda text: console.urge(f"hostler: {text}"))
    transport = limited(choosing, wanted=how)
    progress = Progress(hosts)
    try:
        one = await make(transport, planned.append)
        drawing = asyncio.create_task(_draw(verb, console, progress, quiet=options["quiet"]))
        try:
            return await each_host(
                hosts, one, progress=progress, clock=clock, forks=how.forks or BatchSpec().forks
            )
        finally:
            drawing.cancel()
            with suppress(asyncio.CancelledError):
                await drawing
    finally:
        console.close()
        await transport.close()


async def _draw(verb: str, console: Any, progress: Progress, *, quiet: bool) -> None:
    """Keep the live line true until cancelled; each host that fails is named when it does."""
    import os

    from hostler.clock import SystemClock
    from hostler.views.copies import Figures, live_line, shown
    from hostler.views.footer import size
    from hostler.views.live import TICK, draws

    clock, told = SystemClock(), 0
    began, fits = clock.steady(), draws(os.environ)
    while True:
        for each in progress.results[told:]:
            if each.error and len(progress.hosts) > 1:
                console.note(f"hostler: {shown(each.host)}: {shown(each.error)}")
        told = len(progress.results)
        going = list(progress.hosts.values())
        done = sum(each.done() for each in going)
        figures = Figures(
            verb=verb, hosts=len(going), over=told, bad=sum(not each.well for each in progress.results),
            files=sum(each.placed for each in going), files_total=sum(each.files for each in going), done=done,
            total=sum(each.total for each in going), rate=done / max(0.5, clock.steady() - began),
        )  # fmt: skip
        fd = console.stderr_terminal if fits and not quiet else None
        if fd is not None:
            console.show(live_line(figures, width=size(fd)[0] - 1))
        else:
            console.flush()
        await clock.sleep(TICK)


def _print_json(results: Sequence[Copied], planned: Sequence[Planned]) -> None:
    import json

    from hostler.views.copies import plan_lines, result_facts

    plans = {each.host: each for each in planned}
    facts = []
    for each in results:
        one = result_facts(each)
        if each.host in plans:
            one["changes"] = [line for _, line in plan_lines(plans[each.host].plan)]
        facts.append(one)
    click.echo(json.dumps(facts, indent=2))


def _print_plans(hosts: Sequence[Host], results: Sequence[Copied], planned: Sequence[Planned]) -> None:
    from hostler.views.copies import plan_text

    plans = {each.host: each for each in planned}
    for result in results:
        if (each := plans.get(result.host)) is not None:
            text = plan_text(each.host, each.root, each.plan, each.texts, result.failures)
            click.echo(text, nl=False)
        else:
            say(f"{result.host}: {result.error}")


def _print_table(results: Sequence[Copied], options: dict[str, Any]) -> None:
    from hostler.cli.looking import colour_of, columns_of
    from hostler.views.copies import results_text

    if len(results) == 1 and results[0].error:
        say(f"{results[0].host}: {results[0].error}")
        return
    if options["quiet"] and all(each.well for each in results):
        return
    text = results_text(results, width=columns_of(2), colour=colour_of(2, options["color"]))
    click.echo(text, nl=False, err=True)
