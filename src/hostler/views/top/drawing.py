"""What stands on the screen at a place: its table, and the lines above and below that, out of plain values."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from hostler.views.dashboard import jobs_table, runs_table
from hostler.views.dashboard_hosts import hosts_table
from hostler.views.dashboard_place import HOSTS, JOBS, RUNS, Place
from hostler.views.dashboard_words import joined, keys_line, modes_line, run_figures, run_title, runs_title
from hostler.views.grids import FAINT, LOOK, WRONG, Table, bar
from hostler.views.live import line
from hostler.views.top.eyes import Seen
from hostler.views.top.painting import HEAD, PLAIN, STYLES, harmless, painted, strip

#: What is said where there is nothing yet.
NO_RUNS = "there are no runs yet: hostler batch makes one, which then shows here"
LOOKING = "…"
#: Columns of the bar that says how far a run is.
BAR = 12
#: Lines of a remark.
NOTICE = 3

Parts = Sequence[tuple[str, Style]]


class Bars(Widget):
    """Some lines above or below a table."""

    DEFAULT_CSS = "Bars { height: 1; }"

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.lines: Sequence[Parts] = ()

    def show(self, lines: Sequence[Parts]) -> None:
        """Show these instead."""
        if lines != self.lines:
            self.lines = lines
            self.styles.height = max(1, len(lines))
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of it."""
        return strip(self.lines[y] if y < len(self.lines) else (), self.size.width)


def table(seen: Seen | None, place: Place, *, now: float, width: int) -> Table:
    """The table at a place; one without rows where nothing has been read of it yet."""
    if seen is None or (seen.want.place.part, seen.want.place.run) != (place.part, place.run):
        return Table((), (), LOOKING)
    if place.part == RUNS:
        if not seen.runs:
            return Table((), (), NO_RUNS)
        return runs_table(seen.runs, place.asked, now=now, width=width)
    if place.part == HOSTS:
        return hosts_table(seen.hosts, place.asked, now=now, width=width, alive=seen.alive, told=seen.told)
    return jobs_table(seen.jobs, place.asked, now=now, width=width, alive=seen.alive)


def head(seen: Seen | None, place: Place, *, width: int) -> list[Parts]:
    """The lines above it: what it is, how it stands, and what there is to know of it."""
    if place.part == RUNS or seen is None or not seen.runs:
        title = runs_title(seen.runs if seen is not None else (), width)
        return [[(title if place.part == RUNS else f"run {place.run}  {LOOKING}", HEAD)]]
    run = seen.runs[0]
    lines: list[Parts] = [[(run_title(run, width), HEAD)]]
    drawn = bar(run.done, run.bad, run.total, width=BAR).rpartition(" ")[0].rstrip()
    if seen.progress is not None:
        told = painted(line(seen.progress, width=width - BAR - 2, colour=True, named=False))
    else:
        told = [(run_figures(run), PLAIN)]
    lines.append([(f"{drawn}  ", PLAIN), *told])
    if seen.notice:
        lines += _wrapped(seen.notice, STYLES[LOOK], width)
    return lines


def foot(
    seen: Seen | None,
    place: Place,
    *,
    rows: int,
    typing: bool,
    question: str,
    answer: str,
    trouble: str,
    width: int,
) -> list[Parts]:
    """The lines below it: what went wrong, what is asked or was answered, how rows were chosen, and the keys."""
    lines: list[Parts] = []
    if trouble:
        lines += _wrapped(trouble, STYLES[WRONG], width)
    if question or answer:
        lines += _wrapped(question or answer, STYLES[LOOK] if question else HEAD, width)
    elif not place.whole:
        asked = place.asked
        modes = modes_line(
            failing=asked.failing,
            slowest=asked.slowest,
            filter="" if typing else asked.filter.text,
            first=seen.first if seen is not None and place.part == JOBS else 1,
            rows=rows,
            more=seen is not None and seen.more and place.part == JOBS,
            total=seen.runs[0].total if seen is not None and seen.runs and place.part == JOBS else 0,
        )
        if modes:
            lines.append([(joined([modes]), STYLES[FAINT])])
    where = "question" if question else "filter" if typing else place.where
    lines.append([(keys_line(where, width), STYLES[FAINT])])
    return lines


def _wrapped(text: str, style: Style, width: int) -> list[Parts]:
    """A remark in as many lines as it takes, up to NOTICE."""
    return [[(part, style)] for part in wrap(harmless(text), max(8, width))[:NOTICE]]
