"""`hostler runs`: the runs of this account, newest first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from hostler.cli.options import colour_option, whole
from hostler.cli.parsing import Verb
from hostler.cli.saying import say
from hostler.cli.storing import store_option

if TYPE_CHECKING:
    from hostler.model.runs import RunRow


@click.command(cls=Verb, epilog="\b\nExamples:\n  hostler runs\n  hostler runs -n 100 --json")
@click.option("-n", "--limit", metavar="N", default="20", help="How many runs (20).")
@click.option("--json", "as_json", is_flag=True, help="One JSON list; times are seconds since the epoch.")
@colour_option
@store_option
def command(limit: str, as_json: bool, color: str) -> None:
    """List the runs, newest first."""
    count = whole(limit, "--limit", most=1_000_000)
    from hostler.cli import looking
    from hostler.stores.reads.batch import NO_RUNS
    from hostler.stores.reads.runs import has_owner, runs, stalled

    with looking.opened() as reader:
        found = runs(reader, limit=count) if reader else []
        rows = [(row, has_owner(reader, row.number), stalled(reader, row.number)) for row in found if reader]
        if as_json:
            told = [facts(row, alive=alive, stalled=silent) for row, alive, silent in rows]
            click.echo(json.dumps(told, indent=2))
        elif not rows:
            say(NO_RUNS)
        else:
            click.echo(listing(rows, colour=looking.colour_of(1, color)), nl=False)


def facts(row: RunRow, *, alive: bool, stalled: float | None) -> dict[str, Any]:
    """What scripts are told of one run; `stalled` is for how many seconds its owner has shown no life."""
    return {
        "number": row.number,
        "uid": row.uid,
        "kind": row.kind,
        "state": row.state,
        "alive": alive,
        "stalled": stalled,
        "paused": row.paused,
        "draining": row.draining and alive,
        "owner": row.owner if alive else None,
        "created": row.created,
        "started": row.started,
        "finished": row.finished,
        "exit_code": row.exit_code,
        "command": row.command,
        "jobs": sum(row.counts.values()),
        "counts": row.counts,
    }


def listing(rows: list[tuple[RunRow, bool, float | None]], *, colour: bool) -> str:
    """The runs as people read them."""
    from hostler.cli.looking import by_state, columns_of, state_word
    from hostler.engine.summary import Summary
    from hostler.model.jobs import JobState
    from hostler.views.tables import Column, table
    from hostler.views.text import one_line
    from hostler.views.words import when

    heads = [Column("run", right=True), Column("state"), Column("started"), Column("exit", right=True)]
    heads += [Column(head, right=True) for head in ("jobs", "ok", "bad", "left")]
    heads.append(Column("command", widest=None))
    lines = []
    for row, alive, stalled in rows:
        result = Summary(number=row.number, state=row.state, counts=by_state(row.counts), verb=row.verb)
        counts = (result.total, result.counts.get(JobState.OK, 0), result.bad, result.total - result.done)
        lines.append(
            (
                str(row.number),
                state_word(row, alive=alive, stalled=stalled),
                when(row.started or row.created),
                "" if row.exit_code is None else str(row.exit_code),
                *(str(count or "") for count in counts),
                one_line(row.command.encode("utf-8", "surrogateescape"), width=200),
            )
        )
    return table(heads, lines, width=columns_of(1), colour=colour)
