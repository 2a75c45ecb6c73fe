"""The dashboard on a terminal: what stands there, and when it looks again. What keys do is in `app`.

It asks its Eyes for what it shows and never decides anything about a run, nor how much may be read for it: they do.
"""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial

from textual import work
from textual.app import App, ComposeResult
from textual.widget import Widget
from textual.widgets import Input

from hostler.clock import Clock, SystemClock
from hostler.errors import HostlerError
from hostler.model.durations import format_duration
from hostler.views.dashboard import RunLine
from hostler.views.dashboard_place import HOSTS, JOBS, RUNS, Place
from hostler.views.top.asking import Asking
from hostler.views.top.drawing import Bars, foot, head, table
from hostler.views.top.eyes import Ask, Eyes, Seen, Want
from hostler.views.top.grid import Grid
from hostler.views.top.pane import Pane
from hostler.views.top.reading import Aside

#: Seconds between two looks, and between two at a job's output.
TICK, OUTPUT = 0.25, 0.15
#: Seconds until a store that can't be read is tried again; between two drawings of what only grows older.
AGAIN, AGEING = 2.0, 1.0
#: Seconds after which it is told that a store does not answer.
SILENT = 3.0


class Showing(App[int]):
    """The dashboard; it begins with `run`, or with the table of all."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: ansi_default; color: ansi_default; }
    #box { height: 1; border: none; padding: 0 1; background: ansi_default; color: ansi_default; display: none; }
    """

    def __init__(self, eyes: Eyes, ask: Ask, *, run: int | None = None, clock: Clock | None = None) -> None:
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self._eyes, self._clock, self._reads = eyes, clock or SystemClock(), Aside()
        self.asking = Asking(ask, changed=self.draw)
        self.place = Place() if run is None else Place(part=JOBS, run=run)
        self.seen: Seen | None = None
        self.trouble = ""
        self._since: float | None = None  # when the look began that goes on
        self._again = asyncio.Event()
        self.grid, self.pane = Grid(id="grid"), Pane(id="pane")
        self.head, self.foot = Bars(id="head"), Bars(id="foot")
        self.box = Input(placeholder="fail, n1*, @tag, 17", id="box", compact=True)

    def compose(self) -> ComposeResult:
        """What stands on the screen, from top to bottom."""
        yield from (self.head, self.box, self.grid, self.pane, self.foot)

    def on_mount(self) -> None:
        """Begin to look."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.exit, 128 + signal.SIGTERM)
        # Of a terminal that is gone nothing can be put back, nor anything said there.
        loop.add_signal_handler(signal.SIGHUP, os._exit, 128 + signal.SIGHUP)
        self.app_resume_signal.subscribe(self, self._resumed)
        self.turn_to(self.grid)
        self.set_interval(AGEING, self.draw)
        self._look()
        self._follow()
        self.draw()

    def on_unmount(self) -> None:
        """Look no more."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().remove_signal_handler(number)
        self._reads.end(self._eyes.close)
        self.asking.end()

    # -- looking ------------------------------------------------------------------------------------------------------

    @property
    def want(self) -> Want:
        """What is to be read: what stands here, and commands and last lines of what is in view."""
        keys = [row.key for row in self.grid.in_view]
        jobs = tuple(key for key in keys if isinstance(key, int)) if self.place.part == JOBS else ()
        if self.place.part == HOSTS and self.seen is not None:
            at_work = {
                host.figures.host: host.longest.job for host in self.seen.hosts if host.longest is not None
            }
            jobs = tuple(at_work[key] for key in keys if key in at_work)
        return Want(place=self.place, shown=jobs)

    @work
    async def _look(self) -> None:
        """Look again and again; at once where a key asks for something else."""
        while True:
            self._again.clear()
            pause, self._since = TICK, self._clock.steady()
            try:
                seen = await self._reads.do(partial(self._eyes.look, self.want))
            except HostlerError as error:
                self.trouble, pause = f"trying again: {error}", AGAIN
                self.draw()
            else:
                self._take(seen)
            self._since = None
            try:
                async with asyncio.timeout(pause):
                    await self._again.wait()
            except TimeoutError:
                continue

    def _take(self, seen: Seen | None) -> None:
        """Draw what was seen, unless one has gone elsewhere meanwhile."""
        news = seen is not None and seen.want.place.table == self.place.table
        if news or self.trouble:
            before, self.trouble = self.seen, ""
            self.seen = seen if news else before
            anew = news and (before is None or before.want.place.table != self.place.table)
            self.draw(anew=anew)
            if anew:
                self._again.set()  # by now it is known what is in view

    @work
    async def _follow(self) -> None:
        """Look again and again at the output that is shown."""
        while True:
            place, wait, begun = self.place, OUTPUT, self._clock.steady()
            try:
                if place.output is None or place.run is None:
                    await self._reads.do(self._eyes.unfollow)
                else:
                    said = await self._reads.do(partial(self._eyes.follow, place.run, place.output))
                    if self.place.output == place.output:
                        self.pane.take(said)
                        if said.more:
                            wait = min(
                                OUTPUT, self._clock.steady() - begun
                            )  # and as long for everything else
            except HostlerError as error:
                self.pane.tell(str(error))
                wait = AGAIN
            await asyncio.sleep(wait)

    # -- drawing ------------------------------------------------------------------------------------------------------

    def draw(self, *, anew: bool = False) -> None:
        """Draw what is known by now; `anew` with the cursor on the first row."""
        if not self.grid.is_mounted:
            return
        width, now = self.size.width, self._clock.now()
        rows = table(self.seen, self.place, now=now, width=width - 2)
        self.grid.fill(rows, anew=anew, stay=self.place.output is not None)
        self.head.show(head(self._here, self.place, width=width))
        self.foot.show(
            foot(
                self._here, self.place, rows=len(self.grid.table.rows), typing=self.typing,
                question=self.asking.question, answer=self.asking.answer,
                trouble=self.trouble or self._silence, width=width,
            )
        )  # fmt: skip
        self.box.display = self.typing
        self.grid.display, self.pane.display = not self.place.whole, self.place.output is not None

    @property
    def typing(self) -> bool:
        """Whether keys are letters of the filter."""
        return self.screen_stack[0].focused is self.box

    def turn_to(self, widget: Widget) -> None:
        """Have the very next key go there: one typed early must not be taken for another's."""
        self.screen_stack[0].set_focus(widget)

    @property
    def _silence(self) -> str:
        """What to say of a store that does not answer."""
        waited = 0.0 if self._since is None else self._clock.steady() - self._since
        return f"the store has not answered for {format_duration(waited)}" if waited > SILENT else ""

    @property
    def _here(self) -> Seen | None:
        """What was seen of this place, or of another page or choice of the same table."""
        seen = self.seen
        same = seen is not None and (seen.want.place.part, seen.want.place.run) == (
            self.place.part,
            self.place.run,
        )
        return seen if same else None

    def _resumed(self, _: App[int]) -> None:
        """The terminal is ours again, and nothing of what stood there."""
        for each in (self.head, self.grid, self.pane, self.foot):
            self.call_later(each.refresh)

    def on_resize(self) -> None:
        """There is more room, or less."""
        self.call_after_refresh(self.draw)

    def on_grid_moved(self) -> None:
        """Other rows are in view, and maybe another job's output is wanted."""
        self._again.set()
        here = self.grid.here
        if here is not None and self.place.output not in (None, here.key):
            self.go(self.place.beside(here.key))

    def go(self, place: Place) -> None:
        """Be at another place."""
        before, self.place = self.place, place
        if place.output != before.output:
            self.pane.begin()
        if self.box.value.lower().split() != place.asked.filter.text.split():
            self.box.value = place.asked.filter.text
        if not self.typing:
            self.turn_to(self.pane if place.whole else self.grid)
        self._again.set()
        self.draw(anew=(place.part, place.run) != (before.part, before.run))

    @property
    def run_here(self) -> RunLine | None:
        """The run that is asked something of."""
        here, seen = self.grid.here, self._here
        if seen is None or self.place.part != RUNS:
            return seen.runs[0] if seen is not None and seen.runs else None
        return next((run for run in seen.runs if here is not None and run.number == here.key), None)
