"""How machines have behaved, for people: the table of `hostler hosts`, and the same in words.

Made of plain values and the moment at which they are told. What nobody knows is left out or shown as "-".
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

from msgspec import Struct

from hostler.model.durations import format_duration
from hostler.model.health import Fault, Health
from hostler.model.hosts import Host
from hostler.views.tables import Column, table
from hostler.views.text import one_line

#: Strikes that are told of, rounded; fewer are as good as forgotten.
TOLD = 0.1
#: Seconds by which a clock may be wrong before anybody is told: a round trip is in it.
SKEWED = 2.0
#: Columns from which on there is room for all that is told.
ROOMY = 140
#: What each fault makes of a host that has not yet shown that it is well.
NEXT = {
    Fault.UNREACHABLE: "not reached since",
    Fault.REFUSED: "on probation",
    Fault.LOST: "on probation",
}


class Listed(Struct, frozen=True, kw_only=True):
    """A host and what is known of its machine, `run` being the last one that met it; None where nothing is.

    `host` is None where only an earlier run knew it.
    """

    name: str
    endpoint: str
    tags: tuple[str, ...] = ()
    host: Host | None = None
    health: Health | None = None
    run: int | None = None


def standing(health: Health | None, *, now: float) -> str:
    """How a machine stands, in a few words.

    >>> standing(Health().struck(0.0, Fault.LOST, "it was rebooted"), now=0.0)
    'on probation'
    """
    if health is None:
        return "not known yet"
    if health.probation_at(now):
        return NEXT.get(Fault(health.fault), "on probation")
    return "well" if health.answered_at is not None else "forgiven"


def hosts_table(hosts: Sequence[Listed], *, now: float, width: int, colour: bool) -> str:
    """The hosts, a line each, with what their machines are known for."""
    heads = [
        Column("host", widest=32), Column("endpoint", widest=36), Column("state"), Column("strikes", right=True),
        Column("answered", right=True), Column("connect", right=True), Column("clock", right=True),
        Column("free", right=True), Column("load", right=True), Column("tags", widest=24), Column("why", widest=None),
    ]  # fmt: skip
    rows = [_row(each, now=now) for each in hosts]
    used = [i for i in range(len(heads)) if i < 3 or any(row[i] not in ("", "-") for row in rows)]
    if width < ROOMY and len(heads) - 1 in used:
        used = [i for i in used if heads[i].head != "tags"]  # why it was struck is worth more than its tags
    return table(
        [heads[i] for i in used], [[row[i] for i in used] for row in rows], width=width, colour=colour
    )


def _row(each: Listed, *, now: float) -> list[str]:
    health = each.health or Health()
    strikes = health.strikes_at(now)
    why = health.why if strikes >= TOLD else ""
    return [
        one_line(each.name.encode()),
        one_line(each.endpoint.encode()),
        standing(each.health, now=now),
        f"{strikes:.1f}" if strikes >= TOLD else "-",
        "-" if health.answered_at is None else ago(now - health.answered_at),
        "-" if health.took is None else format_duration(health.took),
        clock(health.skew),
        "-" if health.free is None else amount(health.free),
        "-" if health.load is None else f"{health.load:.1f}/{health.cpus or '?'}",
        ",".join(each.tags),
        one_line(why.removeprefix(f"{each.name}: ").encode("utf-8", "surrogateescape")),
    ]


def health_words(health: Health, *, now: float) -> list[str]:
    """What is known of a machine over all runs, in sentences; the most telling first."""
    lines = []
    strikes = health.strikes_at(now)
    if strikes >= TOLD:
        struck = ago(now - health.struck_at)
        lines.append(
            f"strikes over all runs: {strikes:.1f} (they fade), the last one {struck} ago: {health.why}"
        )
    if health.probation_at(now) and health.fault != Fault.UNREACHABLE:
        lines.append("it is on probation: one job at a time, until one has shown that it is well")
    told = []
    if health.took is not None:
        told.append(f"a line to it takes {format_duration(health.took)}")
    if health.free is not None:
        told.append(f"{amount(health.free)} free on the disk of its spool")
    if health.load is not None:
        told.append(f"load {health.load:.1f}" + (f" on {health.cpus} cores" if health.cpus else ""))
    if health.skew is not None and abs(health.skew) >= SKEWED:
        told.append(
            f"its clock is {format_duration(abs(health.skew))} {'ahead' if health.skew > 0 else 'behind'}"
        )
    if told and health.answered_at is not None:
        lines.append(f"when it answered last, {ago(now - health.answered_at)} ago: {', '.join(told)}")
    return lines


def health_facts(health: Health | None, *, now: float) -> dict[str, Any] | None:
    """The same for programs: seconds, bytes, seconds since the epoch."""
    if health is None:
        return None
    return {
        "state": standing(health, now=now),
        "strikes": round(health.strikes_at(now), 3),
        "struck_at": health.struck_at or None,
        "fault": health.fault or None,
        "why": health.why or None,
        "probation": health.probation_at(now),
        "answered_at": health.answered_at,
        "connect_seconds": health.took,
        "clock_skew_seconds": health.skew,
        "free_bytes": health.free,
        "load": health.load,
        "cpus": health.cpus,
    }


def ago(seconds: float) -> str:
    """How long ago, in one short word; a moment to come (clocks differ) is now.

    >>> ago(-3.0), ago(90.0)
    ('0s', '1m30s')
    """
    return format_duration(max(0.0, float(int(seconds))))


def indented(text: str, *, width: int | None) -> list[str]:
    """A sentence in as many lines as it takes, the first one indented by two; None takes one.

    >>> indented("it is well", width=None)
    ['  it is well']
    """
    if width is None:
        return [f"  {text}"]
    return wrap(text, max(20, width), initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def clock(skew: float | None) -> str:
    """How wrong a clock is; "ok" when the difference may be the round trip's.

    >>> clock(None), clock(0.3), clock(-90.0), clock(5.0)
    ('-', 'ok', '-1m30s', '+5.0s')
    """
    if skew is None:
        return "-"
    if abs(skew) < SKEWED:
        return "ok"
    return ("+" if skew > 0 else "") + format_duration(skew)


def amount(size: int) -> str:
    """Bytes as people read them.

    >>> amount(512), amount(82335494144)
    ('512 B', '77 GiB')
    """
    number, units = float(size), ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while number >= 1024 and len(units) > 1:
        number /= 1024
        units.pop(0)
    return f"{number:.0f} {units[0]}" if number >= 10 or units[0] == "B" else f"{number:.1f} {units[0]}"
