"""The live line says how a run stands, whatever the width; elsewhere a line comes now and then."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from hostler.engine.summary import Progress
from hostler.views.console import Console
from hostler.views.live import Live, line, out_words
from hostler.views.text import columns
from tests.unit.screens import Screen, StillClock, settle

FULL = Progress(
    number=42,
    total=1000,
    queued=124,
    running=64,
    ok=801,
    failed=9,
    lost=2,
    hosts_up=15,
    hosts_total=16,
    hosts_out=("n07",),
    rate=143.2,
    eta=192.0,
)


def test_the_line_says_all_where_there_is_room() -> None:
    assert line(FULL, width=120, colour=False) == (
        "batch 42  812/1000 81%  run 64  ok 801 fail 9 lost 2  hosts 15/16 (n07 out)  143/s  ETA 3m12s"
    )


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (90, "batch 42  812/1000 81%  run 64  ok 801 fail 9 lost 2  hosts 15/16  143/s  ETA 3m12s"),
        (80, "batch 42  812/1000 81%  run 64  ok 801 fail 9 lost 2  hosts 15/16  ETA 3m12s"),
        (70, "812/1000 81%  run 64  ok 801 fail 9 lost 2  hosts 15/16  ETA 3m12s"),
        (60, "812/1000 81%  run 64  ok 801 fail 9 lost 2  ETA 3m12s"),
        (48, "812/1000 81%  run 64  fail 9 lost 2  ETA 3m12s"),
        (40, "812/1000 81%  run 64  fail 9 lost 2"),
        (24, "812/1000  fail 9 lost 2"),
        (12, "812/1000  f…"),
    ],
)
def test_the_least_important_goes_first(width: int, shown: str) -> None:
    assert line(FULL, width=width, colour=False) == shown


@pytest.mark.parametrize("width", range(1, 140))
def test_the_line_never_gets_wider_than_the_screen(width: int) -> None:
    for progress in (
        FULL,
        replace(FULL, hosts_out=("不要回不要回", "b"), phase="stopping: waiting for 3 jobs"),
    ):
        plain = line(progress, width=width, colour=False)
        assert columns(plain) <= width
        coloured = line(progress, width=width, colour=True)
        assert re.sub(r"\x1b\[[0-9]*m", "", coloured) == plain


def test_without_colour_there_is_no_escape_sequence() -> None:
    assert "\x1b" not in line(FULL, width=120, colour=False)
    assert "\x1b" in line(FULL, width=120, colour=True)


def test_the_line_promises_nothing_before_it_knows() -> None:
    begun = Progress(number=1, total=5, queued=5, hosts_total=2, phase="connecting")
    assert line(begun, width=100, colour=False) == "batch 1  0/5 0%  run 0  ok 0  hosts 0/2  connecting"


def test_a_run_that_stops_names_no_time_of_arrival() -> None:
    stopping = replace(FULL, phase="stopping: waiting for 3 jobs")
    assert "ETA" not in line(stopping, width=200, colour=False)


def test_a_phase_cannot_drive_the_terminal() -> None:
    assert "\x1b" not in line(replace(FULL, phase="stopping\x1b[2J"), width=200, colour=False)


def test_of_many_hosts_that_are_out_two_are_named() -> None:
    assert out_words(tuple(f"n{number}" for number in range(150))) == "(n0, n1 and 148 more out)"


class Feed:
    """Figures that the test sets."""

    def __init__(self) -> None:
        self.now = Progress(number=1, total=1000)

    def __call__(self) -> Progress:
        return self.now


def plain_lines(tmp_path: Path, *, hours: float, quiet: bool = False) -> list[str]:
    """What a run of `hours` prints when stderr is a file, looked at once a second."""
    clock, feed = StillClock(), Feed()
    err = os.open(tmp_path / "err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    console = Console(err, err, terminal=(False, False), clock=clock)
    live = Live(console, feed, clock=clock, colour=True, quiet=quiet)
    seconds = int(hours * 3600)
    for second in range(seconds):
        feed.now = replace(feed.now, ok=1000 * second // seconds)
        live.tick()
        clock.time += 1
    live.end()
    console.close()
    os.close(err)
    return (tmp_path / "err").read_text().splitlines()


def test_without_a_terminal_a_short_run_prints_no_progress(tmp_path: Path) -> None:
    assert plain_lines(tmp_path, hours=9 / 3600) == []


@pytest.mark.parametrize("hours", [1 / 60, 0.5, 5, 24])
def test_without_a_terminal_progress_is_some_twenty_plain_lines_at_most(tmp_path: Path, hours: float) -> None:
    lines = plain_lines(tmp_path, hours=hours)
    assert 4 <= len(lines) <= 20
    assert all(text.startswith("batch 1  ") and "\x1b" not in text for text in lines)


def test_a_quiet_run_prints_no_progress(tmp_path: Path) -> None:
    assert plain_lines(tmp_path, hours=1, quiet=True) == []


def test_without_a_terminal_a_stop_is_said_at_once(tmp_path: Path) -> None:
    clock, feed = StillClock(), Feed()
    err = os.open(tmp_path / "err", os.O_WRONLY | os.O_CREAT)
    console = Console(err, err, terminal=(False, False), clock=clock)
    live = Live(console, feed, clock=clock, colour=False)
    live.tick()
    for left in (3, 2, 1):
        feed.now = replace(feed.now, phase=f"stopping: waiting for {left} jobs")
        live.tick()
    console.close()
    os.close(err)
    assert (tmp_path / "err").read_text() == (
        "batch 1  0/1000 0%  run 0  ok 0  hosts 0/0  stopping: waiting for 3 jobs\n"
    )


def on_a_terminal(term: str, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """What a terminal gets of three looks."""
    monkeypatch.setenv("TERM", term)
    clock, feed, screen = StillClock(), Feed(), Screen()
    console = Console(screen.fd, screen.fd, terminal=(True, True), clock=clock)
    live = Live(console, feed, clock=clock, colour=False)
    for done in (1, 2, 2):
        feed.now = replace(feed.now, ok=done)
        live.tick()
        settle(console)
        clock.time += 1
    live.end()
    console.close()
    return screen.text()


def test_on_a_terminal_the_line_is_drawn_when_it_changed_and_gone_at_the_end(monkeypatch) -> None:
    seen = on_a_terminal("xterm", monkeypatch)
    assert seen.count(b"\r\x1b[Kbatch 1") == 2
    assert seen.endswith(b"\r\x1b[K")


def test_a_dumb_terminal_gets_plain_lines(monkeypatch) -> None:
    assert b"\x1b" not in on_a_terminal("dumb", monkeypatch)
