"""The dashboard's keys: each a step to another place, or something that is asked of a run."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from hostler.views.dashboard_place import JOBS
from hostler.views.top.helping import Help
from hostler.views.top.showing import Showing

#: What no letter does while one types.
COMMANDS = ("pause", "stop", "cancel", "yes", "no", "failing", "slowest", "page")


class Top(Showing):
    """The dashboard, for whoever has a keyboard."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit_with(0)"),
        Binding("ctrl+c,ctrl+q", "quit_with(130)", priority=True),
        Binding("ctrl+z", "suspend_process", priority=True),
        Binding("question_mark", "help"),
        Binding("enter", "open"),
        Binding("escape", "back"),
        Binding("tab,shift+tab", "turn", priority=True),
        Binding("slash", "filter", priority=True),  # at once: what is typed next is no command
        Binding("f", "failing"),
        Binding("s", "slowest"),
        Binding("left_square_bracket", "page(-1)"),
        Binding("right_square_bracket", "page(1)"),
        Binding("p", "pause"),
        Binding("S", "stop"),
        Binding("c", "cancel"),
        Binding("y", "yes"),
        Binding("n", "no"),
    ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether a key may do this now: nothing is asked of runs by a letter that was meant for the filter."""
        return not (self.typing and action in COMMANDS)

    def action_quit_with(self, code: int) -> None:
        """Leave."""
        self.exit(code)

    def action_help(self) -> None:
        """Show what keys do."""
        self.push_screen(Help())

    def action_open(self) -> None:
        """Open what the cursor is on."""
        here = self.grid.here
        self.go(self.place.opened(here.key if here is not None else None))

    on_grid_chosen = action_open

    async def action_back(self) -> None:
        """One step back."""
        typing = self.typing
        if typing:
            self.turn_to(self.grid)
        if self.asking.clear() or (typing and not self.box.value):
            self.call_after_refresh(self.draw)
        else:
            self.go(self.place.filtered("") if typing else self.place.back())

    def action_turn(self) -> None:
        """A run's hosts instead of its jobs, or its jobs again."""
        if len(self.screen_stack) > 1:  # help lies over it
            return
        self.turn_to(self.grid)
        self.go(self.place.turned())

    def action_filter(self) -> None:
        """Type what is to stand there."""
        if not self.place.whole and len(self.screen_stack) == 1:
            self.box.display = True
            self.turn_to(self.box)
            self.call_after_refresh(self.draw)

    def on_input_changed(self) -> None:
        """What is typed holds at once."""
        self.go(self.place.filtered(self.box.value))

    def on_input_submitted(self) -> None:
        """What was typed stays."""
        self.turn_to(self.grid)
        self.call_after_refresh(self.draw)

    def action_failing(self) -> None:
        """Only what fails, or all again."""
        self.go(self.place.failing())

    def action_slowest(self) -> None:
        """What took longest first, or in the usual order again."""
        self.go(self.place.slowest())

    def action_page(self, pages: int) -> None:
        """The next page, or the one before."""
        self.go(self.place.paged(pages, more=self.seen is not None and self.seen.more))

    def action_pause(self) -> None:
        """Pause the run, or let it go on."""
        if (run := self.run_here) is not None:
            self.run_worker(self.asking.pause(run))

    def action_stop(self) -> None:
        """Ask whether to stop the run."""
        if (run := self.run_here) is not None:
            self.asking.stop(run)

    def action_cancel(self) -> None:
        """Ask whether to cancel the job."""
        run, here = self.run_here, self.grid.here
        if run is not None and here is not None and self.place.part == JOBS:
            self.asking.cancel(run, int(here.key))

    def action_yes(self) -> None:
        """Do what is asked."""
        self.run_worker(self.asking.yes())

    def action_no(self) -> None:
        """Don't."""
        self.asking.clear()
        self.draw()
