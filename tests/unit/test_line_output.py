"""Lines that running jobs print leave at once, and many of them together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hostler.engine.hands import Try
from hostler.model.jobs import Queued
from hostler.views.console import REDRAW, Console
from hostler.views.showing import LineOutput, Printer
from tests.unit.screens import Screen, StillClock, settle

HELD = Try(Queued(1, (b"x",), 0, 0), 1, 1, 1)


class Soon:
    """What was asked to be done later, done when the test says so."""

    def __init__(self) -> None:
        self.due: list[tuple[float, Callable[[], None]]] = []

    def __call__(self, seconds: float, call: Callable[[], None]) -> None:
        self.due.append((seconds, call))

    def come(self) -> None:
        due, self.due = self.due, []
        for _, call in due:
            call()


@pytest.fixture
def out(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    fd = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    yield fd, tmp_path / "out"
    os.close(fd)


def lines(console: Console, soon: Soon) -> LineOutput:
    return LineOutput(Printer(console, read=lambda ref, stream: ()), console, later=soon)


def test_a_line_leaves_within_a_few_hundredths_of_a_second_though_nothing_else_happens(out) -> None:
    fd, path = out
    console, soon = Console(fd, fd, terminal=(False, False)), Soon()
    lines(console, soon).piece(HELD, 1, b"one\n")
    assert [seconds <= 0.05 for seconds, _ in soon.due] == [True]
    soon.come()
    settle(console)
    assert path.read_bytes() == b"one\n"
    assert not soon.due


def test_lines_that_come_together_leave_together(out) -> None:
    fd, path = out
    console, soon = Console(fd, fd, terminal=(False, False)), Soon()
    output = lines(console, soon)
    for number in range(100):
        output.piece(HELD, 1, b"%d\n" % number)
    assert len(soon.due) == 1
    soon.come()
    output.piece(HELD, 1, b"the next one\n")
    assert len(soon.due) == 1
    soon.come()
    settle(console)
    assert path.read_bytes().splitlines()[-2:] == [b"99", b"the next one"]


def test_above_live_lines_a_line_waits_for_their_next_drawing_and_no_longer() -> None:
    screen, clock, soon = Screen(), StillClock(), Soon()
    console = Console(screen.fd, screen.fd, terminal=(True, True), clock=clock)
    console.show("1/2 50%")
    settle(console)
    lines(console, soon).piece(HELD, 1, b"one\n")
    soon.come()
    waits = (console.gathered > 0, len(soon.due))
    clock.time += REDRAW
    soon.come()
    left = (console.gathered > 0, len(soon.due))
    console.close()
    assert b"one" in screen.text()
    assert waits == (True, 1)
    assert left == (False, 0)
