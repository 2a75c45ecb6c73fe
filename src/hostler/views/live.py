"""A line at the bottom that says how a run stands, above it a row per running job; without a terminal, a line now and
then.

It asks for the figures when it draws, some times a second, so that a job costs it nothing. It must never print on
stdout, and never say 100% or name a time that isn't so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from hostler.clock import Clock
from hostler.engine.summary import Progress, percent
from hostler.model.durations import format_duration
from hostler.views.console import Console
from hostler.views.footer import size
from hostler.views.running import RunningJobs
from hostler.views.text import columns, fit, one_line

#: Seconds between two looks at the figures.
TICK = 0.15

#: Seconds before the first plain line; after that one each 10 %, and one whenever the time so far has doubled.
FIRST_STEP = 10.0

#: What is left out first where the line is too long.
DROPPED = ("out", "rate", "name", "hosts", "ok", "eta", "percent", "running")

RED, YELLOW, GREEN, DIM, BOLD = "31", "33", "32", "2", "1"


def parts(progress: Progress) -> list[tuple[str, str, str]]:
    """What there is to say: (which part, text, colour), in order of reading."""
    p = progress
    said = [
        ("name", f"{p.verb} {p.number}", DIM),
        ("done", f"{p.done}/{p.total}", BOLD),
        ("percent", f"{percent(p.done, p.total)}%", BOLD),
        ("running", f"run {p.running}", ""),
        ("ok", f"ok {p.ok}", GREEN),
        ("failed", f"fail {p.failed}" if p.failed else "", RED),
        ("failed", f"timeout {p.timed_out}" if p.timed_out else "", RED),
        ("failed", f"lost {p.lost}" if p.lost else "", YELLOW),
        ("failed", f"other {p.other}" if p.other else "", YELLOW),
        ("hosts", f"hosts {p.hosts_up}/{p.hosts_total}", ""),
        ("out", out_words(p.hosts_out), YELLOW),
        ("rate", f"{rate_text(p.rate)}/s" if p.rate is not None else "", ""),
        ("eta", f"ETA {format_duration(p.eta)}" if p.eta is not None and not p.phase else "", ""),
        ("phase", one_line(p.phase.encode()), YELLOW),
    ]
    return [part for part in said if part[1]]


def line(progress: Progress, *, width: int, colour: bool, named: bool = True) -> str:
    """The live line, at most `width` columns wide: the least important parts go first, then the end is cut.

    Where it is said elsewhere which run it is about, it needs not be `named`.

    >>> line(Progress(number=42, total=10, ok=9, running=1, hosts_up=1, hosts_total=1), width=40, colour=False)
    '9/10 90%  run 1  ok 9  hosts 1/1'
    """
    said = [part for part in parts(progress) if named or part[0] != "name"]
    dropped = iter(DROPPED)
    while columns(_joined(said, colour=False)) > width:
        name = next(dropped, None)
        if name is None:
            return fit(_joined(said, colour=False), width)
        said = [part for part in said if part[0] != name]
    return _joined(said, colour=colour)


def _joined(said: list[tuple[str, str, str]], *, colour: bool) -> str:
    """Parts with two blanks between them, one between those that belong together."""
    text, before = "", ""
    for name, words, shade in said:
        together = name == "percent" or name == "out" or (name == "failed" and before in ("ok", "failed"))
        text += "" if not text else " " if together else "  "
        text += f"\x1b[{shade}m{words}\x1b[0m" if colour and shade else words
        before = name
    return text


def out_words(names: tuple[str, ...]) -> str:
    """Which hosts are out, in few words.

    >>> out_words(("n07",)), out_words(("n01", "n02", "n03", "n04"))
    ('(n07 out)', '(n01, n02 and 2 more out)')
    """
    if not names:
        return ""
    shown = ", ".join(one_line(name.encode(), width=24) for name in names[:2])
    return f"({shown} and {len(names) - 2} more out)" if len(names) > 2 else f"({shown} out)"


def rate_text(rate: float) -> str:
    """Jobs a second with as many digits as mean something.

    >>> rate_text(1434.2), rate_text(14.34), rate_text(0.251)
    ('1434', '14', '0.25')
    """
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}" if rate >= 1 else f"{rate:.2g}"


class Live:
    """Keeps the live lines true. `read` gives the figures of this moment, `quiet` leaves only what can't be missed.

    `table` are the jobs that run, where they are to have rows.

    Where the console has no terminal (or a dumb one) it prints plain lines through the console instead.
    """

    def __init__(
        self,
        console: Console,
        read: Callable[[], Progress],
        *,
        clock: Clock,
        colour: bool,
        quiet: bool = False,
        table: RunningJobs | None = None,
    ) -> None:
        self._console, self._read, self._clock = console, read, clock
        self._colour, self._quiet, self._table = colour, quiet, table
        self._fits = draws(os.environ)
        self._began = clock.steady()
        self._said_at, self._said_percent, self._said_phase = 0.0, 0, ""

    async def run(self) -> None:
        """Keep it true until cancelled."""
        while True:
            self.tick()
            await self._clock.sleep(TICK)

    def tick(self) -> None:
        """Look at the figures and show them, if there is something to show."""
        if self._quiet:
            self._console.flush()
            return
        fd = self._console.stderr_terminal if self._fits else None
        if fd is None:
            self._step(self._read())
        else:
            width, height = size(fd)
            rows: list[str] = []
            if self._table is not None:
                rows = self._table.rows(
                    now=self._clock.now(), width=width, height=height, colour=self._colour
                )
            # A line that fills the last column would wrap on some terminals.
            self._console.show(*rows, line(self._read(), width=width - 1, colour=self._colour))

    def end(self) -> None:
        """Take the live lines away for good."""
        self._quiet = True
        self._console.show("")

    def _step(self, progress: Progress) -> None:
        """Print a plain line if one is due."""
        since = self._clock.steady() - self._began
        done, kind = percent(progress.done, progress.total), progress.phase.split(":")[0].split(" ")[0]
        due = since >= FIRST_STEP and (
            since >= max(FIRST_STEP, 2 * self._said_at)
            or (done >= self._said_percent + 10 and since >= self._said_at + FIRST_STEP)
        )
        if due or (kind != self._said_phase and kind == "stopping"):
            self._said_at, self._said_percent = since, done - done % 10
            self._console.note(line(progress, width=200, colour=False))
        self._said_phase = kind
        self._console.flush()


def draws(environ: Mapping[str, str]) -> bool:
    """Whether the terminal that the environment names can draw a line anew."""
    return environ.get("TERM") != "dumb"
