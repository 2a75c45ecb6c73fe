"""The lines around a dashboard's tables: titles, keys, and the page of help. Plain texts, cut to the room there is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hostler.engine.summary import count_words, percent
from hostler.model.durations import format_duration
from hostler.views.dashboard import RunLine
from hostler.views.tables import counted
from hostler.views.text import columns, fit

#: What each key does, by where one is: the key, the word for it, and how soon it is left out where there is no room.
Key = tuple[str, str, int]
TABLE: tuple[Key, ...] = (("/", "filter", 2), ("f", "failing", 1), ("s", "slowest", 3))
ACTS: tuple[Key, ...] = (("p", "pause", 4), ("S", "stop", 5))
ALWAYS: tuple[Key, ...] = (("?", "help", 0), ("q", "leave", 0))
KEYS: dict[str, tuple[Key, ...]] = {
    "runs": (("enter", "open", 1), *TABLE, *ACTS, *ALWAYS),
    "hosts": (("enter", "its jobs", 2), ("tab", "jobs", 1), *TABLE, *ACTS, ("esc", "back", 1), *ALWAYS),
    "jobs": (
        ("enter", "output", 1), ("tab", "hosts", 1), *TABLE, ("c", "cancel", 4), *ACTS, ("esc", "back", 1), *ALWAYS,
    ),
    "output": (
        ("enter", "whole screen", 1), ("↑↓", "another job", 2), ("c", "cancel", 4), ("esc", "close", 1), *ALWAYS,
    ),
    "whole": (("↑↓←→", "move", 2), ("end", "follow", 2), ("esc", "back", 1), *ALWAYS),
    "filter": (("enter", "keep", 1), ("esc", "clear", 1)),
    "question": (("y", "yes", 0), ("n", "no", 0)),
    "help": (("esc", "back", 0), ("q", "leave", 0)),
}  # fmt: skip

HELP = """\
Moving
  ↑ ↓ pgup pgdn home end    the cursor; in a job's output, that
  enter                     open a run, a host's jobs, a job's output
  esc                       one step back
  tab                       a run's hosts, or its jobs
  [ ]                       the page before, the next page of a long table

What stands there
  f                         only what fails
  s                         what took longest first
  /                         filter: words of one kind are alternatives,
                            words of different kinds must all hold
      fail lost run ok      states, or how they begin
      n1* web =n1           hosts by name: with a star, by a part, exactly
      @web                  hosts with a tag
      17                    a job or a run by its number

Asking something of a run
  p                         pause it, or let it go on
  S                         stop it
  c                         cancel the job that the cursor is on

? closes this, q leaves. Runs go on whoever looks."""


def keys_line(where: str, width: int) -> str:
    """The keys that do something, as many as there is room for.

    >>> keys_line("question", 40), keys_line("runs", 44)
    ('y yes  n no', 'enter open  f failing  ? help  q leave')
    """
    keys = list(KEYS[where])
    while True:
        text = "  ".join(f"{key} {word}" for key, word, _ in keys)
        least = max((weight for _, _, weight in keys), default=0)
        if columns(text) <= width or not least:
            return fit(text, width)
        # Of those that matter as little, the last one goes first.
        index = max(i for i, (_, _, weight) in enumerate(keys) if weight == least)
        del keys[index]


def runs_title(runs: Sequence[RunLine], width: int) -> str:
    """The title above the table of runs.

    >>> runs_title([], 40)
    'hostler top  no runs'
    """
    work = sum(run.state in ("running", "draining") for run in runs)
    told = f"{counted(len(runs), 'run')}, {work} at work" if runs else "no runs"
    return fit(f"hostler top  {told}", width)


def run_title(run: RunLine, width: int) -> str:
    """The title above what a run's screen shows."""
    return fit(f"{run.kind} {run.number}  {run.state}  {run.command}", width)


def run_figures(run: RunLine) -> str:
    """What a run came to that nobody works on."""
    took = "" if run.ended is None else f"in {format_duration(run.length(run.ended))}"
    parts = (f"{run.done}/{run.total} {percent(run.done, run.total)}%", count_words(run.counts))
    return "  ".join(part for part in (*parts, counted(run.hosts, "host"), took) if part)


def modes_line(
    *, failing: bool, slowest: bool, filter: str, first: int, rows: int, more: bool, total: int
) -> str:
    """How what stands in the table was chosen, and which part of it that is; empty where there is nothing to say.

    >>> modes_line(failing=True, slowest=False, filter="n1*", first=1, rows=500, more=True, total=9000)
    "only failing, 'n1*', rows 1-500, ] for more"
    """
    told: list[str] = []
    if failing:
        told.append("only failing")
    if slowest:
        told.append("slowest first")
    if filter:
        told.append(repr(filter))
    if more or first > 1:
        of = "" if failing or filter or not total else f" of {total}"
        turns = [text for text, there in (("[ goes back", first > 1), ("] for more", more)) if there]
        told += [f"rows {first}-{first + rows - 1}{of}", *turns]
    return joined(told)


def joined(parts: Iterable[str]) -> str:
    """Remarks, one behind the other."""
    return ", ".join(part for part in parts if part)
