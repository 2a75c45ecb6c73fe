"""What a run came to, for people: counts, failures, slow jobs, hosts, and the exact next command.

It is made of plain values, so that the end of a batch, `status` and tests draw the same screen. It must read well
for one job and for a million, on two hosts and on two hundred, and must never call well what isn't.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from hostler.engine.alike import Cluster
from hostler.engine.summary import HostFigures, Summary
from hostler.model.commands import to_type
from hostler.model.durations import format_duration
from hostler.model.jobs import JobState
from hostler.views.tables import Column, counted, listed, table
from hostler.views.text import fit
from hostler.views.words import signal_name

#: How many kinds of failure, jobs and hosts are named; the rest is counted. So many hosts fit on a screen; where
#: there are more, only so many of those with trouble are shown.
KINDS, NAMES, HOSTS, TROUBLED = 10, 5, 32, 12

#: States of hosts that get no jobs, of which people are told why.
BAD = ("lost", "out", "retired")

RED, GREEN, BOLD, PLAIN = "31", "32", "1", "0"


class Slow(Struct, frozen=True, kw_only=True):
    """An attempt that took long: its job and number, host, seconds, and command as one harmless line."""

    job: int
    n: int = 1
    host: str
    elapsed: float
    command: str


class Findings(Struct, frozen=True, kw_only=True):
    """What a report tells beside the summary.

    `failures` come most first, `commands` holds those of the jobs that are named first; `looked_at` is how many bad
    jobs they were made of, when not all were. `repeated` are jobs of which an attempt may have run twice,
    `repeated_count` how many there are. `left` says of each host what it may still do, `ends` is the command that
    ends it.
    """

    failures: Sequence[Cluster] = ()
    commands: Mapping[int, str] = field(default_factory=dict)
    looked_at: int | None = None
    slowest: Sequence[Slow] = ()
    hosts: Sequence[HostFigures] = ()
    repeated: Sequence[int] = ()
    repeated_count: int = 0
    left: Sequence[str] = ()
    ends: str = ""


def report(summary: Summary, findings: Findings, *, width: int, colour: bool) -> str:
    """The final report, whole lines of at most `width` columns; `colour` when a terminal shows it."""
    blocks = [
        headline(summary, findings.hosts, colour=colour),
        failures_block(summary, findings, width=width),
        slowest_block(summary, findings.slowest, width=width, colour=colour),
        hosts_block(findings.hosts, elapsed=summary.elapsed, width=width, colour=colour),
        lost_block(findings.hosts, width=width),
        repeated_block(findings),
        left_block(findings, width=width),
        next_block(summary, findings, colour=colour),
    ]
    return "\n".join(block for block in blocks if block)


def headline(summary: Summary, hosts: Sequence[HostFigures], *, colour: bool) -> str:
    """One line: how it ended, how many jobs, how long, on how many hosts; and one with the counts."""
    well = summary.total == summary.counts.get(JobState.OK, 0)
    shade = RED if summary.bad else GREEN if well else PLAIN
    how = "left after" if summary.state.startswith("left") else "stopped by"
    state = f"{how} {signal_name(summary.signal)}" if summary.signal else summary.state
    jobs = (
        counted(summary.total, "job")
        if summary.done == summary.total
        else (f"{summary.done} of {counted(summary.total, 'job')} done")
    )
    took = f" in {format_duration(summary.elapsed)}" if summary.elapsed is not None else ""
    rate = f", {rate_words(summary.rate)}" if summary.rate is not None and summary.done > 1 else ""
    used = sum(1 for host in hosts if host.ended or host.open)
    where = f" on {counted(used, 'host')}" if used else ""
    first = f"{summary.verb} {summary.number} {state}: {jobs}{where}{took}{rate}"
    return f"{painted(first, BOLD, colour)}\n  {painted(summary.words, shade, colour)}\n"


def failures_block(summary: Summary, findings: Findings, *, width: int) -> str:
    """Bad jobs, those that look alike put together."""
    if not findings.failures:
        return ""
    looked = findings.looked_at
    part = f" (what the first {looked} of them say)" if looked is not None and looked < summary.bad else ""
    lines = [f"{counted(summary.bad, 'job')} ended badly{part}:\n"]
    digits = len(str(findings.failures[0].count))
    for cluster in findings.failures[:KINDS]:
        jobs = (
            f"job{'' if cluster.count == 1 else 's'} {listed(cluster.jobs, shown=NAMES, total=cluster.count)}"
        )
        where = f"on {listed(cluster.hosts, shown=3, total=cluster.host_count)}"
        how = cluster.how if cluster.last_line else f"{cluster.how}, no output,"
        lines.append(fit(f"  {cluster.count:>{digits}} × {how} {where} ({jobs})", width) + "\n")
        if cluster.last_line:
            said = cluster.last_line if cluster.exact else f"{cluster.last_line} (and the like)"
            lines.append(fit(f"  {'':{digits}}   {said}", width) + "\n")
        if command := findings.commands.get(cluster.jobs[0], ""):
            lines.append(fit(f"  {'':{digits}}   by: {command}", width) + "\n")
    rest = findings.failures[KINDS:]
    if rest:
        lines.append(
            f"  and {sum(cluster.count for cluster in rest)} more of {counted(len(rest), 'other kind')}\n"
        )
    return "".join(lines)


def slowest_block(summary: Summary, slowest: Sequence[Slow], *, width: int, colour: bool) -> str:
    """The jobs that took longest; nothing where all jobs would be in it."""
    if summary.done <= NAMES or not slowest:
        return ""
    heads = (
        Column("job", right=True),
        Column("took", right=True),
        Column("host"),
        Column("command", widest=None),
    )
    rows = [
        (
            str(slow.job) if slow.n == 1 else f"{slow.job}/{slow.n}",
            format_duration(slow.elapsed),
            slow.host,
            slow.command,
        )
        for slow in slowest[:NAMES]
    ]
    return "slowest:\n" + table(heads, rows, width=width, colour=colour)


def hosts_block(hosts: Sequence[HostFigures], *, elapsed: float | None, width: int, colour: bool) -> str:
    """What each host did. Of many, those with trouble are shown and the others are put in one row."""
    if not hosts:
        return ""
    shown, others = list(hosts), []
    if len(hosts) > HOSTS:
        ranked = sorted(hosts, key=lambda host: (host.state not in BAD, -host.gone, -host.failed))
        shown = [host for host in ranked[:TROUBLED] if host.failed or host.gone or host.state in BAD]
        rest = {id(host) for host in shown}
        others = [host for host in hosts if id(host) not in rest]
    heads = [Column("host", widest=32), Column("attempts", right=True), Column("ok", right=True)]
    heads += [Column("failed", right=True), Column("lost", right=True), Column("interrupted", right=True)]
    heads += [Column("mean", right=True)]
    heads += [Column("busy", right=True), Column("state")]
    rows = [_host_row(host, elapsed) for host in shown]
    if others:
        rows.append(_host_row(_together(others), elapsed))
    # A column in which nothing stands says nothing.
    used = [
        i for i, head in enumerate(heads) if head.head in ("host", "attempts") or any(row[i] for row in rows)
    ]
    kept = [[row[i] for i in used] for row in rows]
    return "hosts:\n" + table([heads[i] for i in used], kept, width=width, colour=colour)


def _host_row(host: HostFigures, elapsed: float | None) -> tuple[str, ...]:
    share = host.share(elapsed)
    return (
        host.host,
        str(host.ended + host.open),
        str(host.ok),
        str(host.failed) if host.failed else "",
        str(host.gone) if host.gone else "",
        str(host.interrupted) if host.interrupted else "",
        format_duration(host.mean) if host.mean is not None else "",
        f"{share:.0%}" if share is not None else "",
        host.state if host.state not in ("up", "released", "") else "",
    )


def _together(hosts: Sequence[HostFigures]) -> HostFigures:
    slots = [host.slots for host in hosts if host.slots is not None]
    return HostFigures(
        host=f"({len(hosts)} others)",
        state="",
        ok=sum(host.ok for host in hosts),
        failed=sum(host.failed for host in hosts),
        gone=sum(host.gone for host in hosts),
        interrupted=sum(host.interrupted for host in hosts),
        open=sum(host.open for host in hosts),
        busy=sum(host.busy for host in hosts),
        slots=sum(slots) if len(slots) == len(hosts) else None,
    )


def lost_block(hosts: Sequence[HostFigures], *, width: int) -> str:
    """The hosts that were given up, and why, those with one reason together."""
    reasons: dict[str, list[str]] = {}
    for host in hosts:
        if host.state in BAD:
            reasons.setdefault(host.why.removeprefix(host.host + ": ") or "no reason known", []).append(
                host.host
            )
    if not reasons:
        return ""
    lines = [f"{counted(sum(map(len, reasons.values())), 'host')} out:\n"]
    ordered = sorted(reasons.items(), key=lambda item: -len(item[1]))
    for why, names in ordered[:KINDS]:
        text = f"{listed(names, shown=NAMES)}: {why}"  # whole: what to do about it stands at its end
        wrapped = textwrap.wrap(
            text, width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
        )
        lines += [fit(line, width) + "\n" for line in wrapped]
    if len(ordered) > KINDS:
        lines.append(f"  and {sum(len(names) for _, names in ordered[KINDS:])} more\n")
    return "".join(lines)


def repeated_block(findings: Findings) -> str:
    """The jobs that may have had their effects twice."""
    count = findings.repeated_count
    if not count:
        return ""
    jobs = listed(findings.repeated, shown=NAMES, total=count)
    which = f"job{'s' if count > 1 else ''} {jobs}"
    words = "an attempt was ended or lost part-way, and another followed"
    return f"{counted(count, 'job')} may have had {'their' if count > 1 else 'its'} effects twice ({which}): {words}\n"


def left_block(findings: Findings, *, width: int) -> str:
    """What may still run on hosts that could not be reached."""
    if not findings.left:
        return ""
    lines = [f"  {line}" for line in findings.left[:HOSTS]]
    if (more := len(findings.left) - HOSTS) > 0:
        lines.append(f"  and {counted(more, 'more host')}")
    return "".join(fit(line, width) + "\n" for line in ("left behind:", *lines))


def next_block(summary: Summary, findings: Findings, *, colour: bool) -> str:
    """The exact commands that lead on; nothing where all is well."""
    steps = []
    if findings.failures:
        ran = (cluster.example for cluster in findings.failures if cluster.example is not None)
        job = next(ran, findings.failures[0].jobs[0])
        steps.append(("look closer:", to_type(f"log {summary.number} {job}")))
    if summary.next_command is not None:
        left = summary.total - summary.done
        word = f"go on ({counted(left, 'job')} left):" if left else "try again:"
        steps.append((word, summary.next_command))
    if findings.ends:
        steps.append(("end what still runs:", findings.ends))
    wide = max((len(word) for word, _ in steps), default=0)
    return "".join(f"{word:<{wide}}  {painted(command, BOLD, colour)}\n" for word, command in steps)


def rate_words(rate: float) -> str:
    """Jobs a second, or a minute or an hour where that is less than one."""
    for seconds, unit in ((1, "s"), (60, "min")):
        if rate * seconds >= 1:
            return f"{rate * seconds:.{0 if rate * seconds >= 10 else 1}f}/{unit}"
    return f"{rate * 3600:.1f}/h"


def painted(text: str, shade: str, colour: bool) -> str:
    """`text` in a colour, where there are colours."""
    return f"\x1b[{shade}m{text}\x1b[0m" if colour else text
