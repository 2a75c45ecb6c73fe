"""The page that says what keys do."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from hostler.views.dashboard_words import HELP


class Help(ModalScreen[None]):
    """Help over the whole screen; it scrolls where there is too little room."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,escape,enter", "dismiss", show=False),
        Binding("q", "app.quit_with(0)", show=False),
    ]
    DEFAULT_CSS = """
    Help { background: ansi_default; }
    Help VerticalScroll { background: ansi_default; scrollbar-size-vertical: 1; }
    Help Static { width: auto; padding: 0 1; }
    """

    def compose(self) -> ComposeResult:
        """The page."""
        with VerticalScroll():
            yield Static(HELP, markup=False)
