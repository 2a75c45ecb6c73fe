"""The table of a run's hosts in a dashboard, as plain values: what each does and did, how its machine stands.

It must never look at a screen, a clock or a store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from hostler.engine.summary import HostFigures
from hostler.model.health import Health
from hostler.model.jobs import JobState
from hostler.model.runs import AttemptRow
from hostler.views.dashboard import STATES, Asked, nothing, some
from hostler.views.grids import FAINT, LOOK, WRONG, Row, Table, without
from hostler.views.machines import TOLD, ago
from hostler.views.tables import Column
from hostler.views.words import took

#: Columns from which on there is room for how long jobs take there.
ROOMY = 100


class HostLine(Struct, frozen=True, kw_only=True):
    """One host of a run: what it did, what is known of its machine, and its job that runs longest."""

    figures: HostFigures
    tags: tuple[str, ...] = ()
    rests_until: float | None = None
    health: Health | None = None
    longest: AttemptRow | None = None
    running: int = 0


def hosts_table(
    hosts: Iterable[HostLine],
    asked: Asked,
    *,
    now: float,
    width: int,
    alive: bool,
    told: Mapping[int, str],
) -> Table:
    """The hosts of a run, as they are given or those whose jobs take longest first; `told` is what jobs are
    or say.

    Where nobody works on the run, not `alive`, nobody knows what they do: then it is told what they were given.
    """
    heads = [Column("host", widest=24), Column("state")]
    counts = ("run" if alive else "open", "ok", "failed", "lost", "mean", "strikes", "rests")
    heads += [Column(head, right=True) for head in counts]
    heads += [Column("answered", right=True), Column("at work on", widest=None)]
    rows = []
    for host in host_rows(hosts, asked, now=now):
        figures, health = host.figures, host.health or Health()
        state, strikes = _host_state(host, now=now), health.strikes_at(now)
        rest = max(0.0, (host.rests_until or 0.0) - now)
        mean = "" if figures.mean is None else f"{figures.mean:.1f}s"
        struck = f"{strikes:.1f}" if strikes >= TOLD else ""
        answered = "" if health.answered_at is None else ago(now - health.answered_at)
        cells = (
            figures.host, state, some(host.running if alive else figures.open), some(figures.ok),
            some(figures.failed), some(figures.gone), mean, struck, ago(rest) if rest else "", answered,
            _work(host, state, told, now=now),
        )  # fmt: skip
        looks = {1: STATES.get(state, ""), 4: WRONG, 5: LOOK, 7: LOOK, 8: LOOK}
        rows.append(Row(figures.host, cells, looks | ({} if host.longest else {10: FAINT})))
    table = Table(tuple(heads), tuple(rows), "" if rows else nothing("host", asked))
    rare = {head.head: i for i, head in enumerate(heads) if head.head in ("lost", "mean", "strikes", "rests")}
    idle = [name for name, i in rare.items() if not any(row.cells[i] for row in rows)]
    return without(table, idle + ([] if width >= ROOMY else ["mean"]))


def host_rows(hosts: Iterable[HostLine], asked: Asked, *, now: float) -> list[HostLine]:
    """The hosts that stand in the table's rows, in their order."""
    shown = [host for host in hosts if _wanted_host(host, asked, now=now)]
    return sorted(shown, key=lambda host: -_slowness(host, now=now)) if asked.slowest else shown


def _host_state(host: HostLine, *, now: float) -> str:
    return "rests" if (host.rests_until or 0.0) > now and host.figures.state != "lost" else host.figures.state


def _work(host: HostLine, state: str, told: Mapping[int, str], *, now: float) -> str:
    """What a host does, or what keeps it from doing anything."""
    if host.longest is None or host.longest.started_at is None:
        return "" if state in ("up", "released") else host.figures.why.removeprefix(f"{host.figures.host}: ")
    job = host.longest.job
    more = f" and {host.running - 1} more" if host.running > 1 else ""
    return f"{job}{more}, {took(host.longest, now=now)}: {told.get(job, '')}".removesuffix(": ")


def _wanted_host(host: HostLine, asked: Asked, *, now: float) -> bool:
    figures, words = host.figures, asked.filter
    state = _host_state(host, now=now)
    wrong = bool(figures.failed or figures.gone or STATES.get(state) in (WRONG, LOOK))
    if asked.failing and not wrong:
        return False
    if words.state_words:
        held = {
            JobState.OK: figures.ok, JobState.FAILED: figures.failed, JobState.LOST: figures.gone,
            JobState.INTERRUPTED: figures.interrupted, JobState.OPEN: figures.open,
        }  # fmt: skip
        if not any(held.get(each) for each in words.states) and not state.startswith(
            tuple(words.state_words)
        ):
            return False
    return words.names_host(figures.host, host.tags, more=state)


def _slowness(host: HostLine, *, now: float) -> float:
    """What a host is to be looked at for: the mean of its jobs, or the one that runs, if that is longer."""
    since = host.longest.started_at if host.longest is not None else None
    return max(host.figures.mean or 0.0, now - since if since is not None else 0.0)
