"""The live table: a row per running job, beneath what is printed, whatever the size of the window."""

from __future__ import annotations

import os
import random

import pytest
from msgspec.structs import replace

from hostler.model.events import (
    AttemptDispatched,
    AttemptEnded,
    AttemptStarted,
    HostConnected,
    HostOut,
    RunFinished,
)
from hostler.model.jobs import Ending, JobState
from hostler.model.runs import OpenAttempt
from hostler.views.console import Console
from hostler.views.footer import Footer, wraps_anew
from hostler.views.running import KEPT, RunningJobs
from hostler.views.text import columns
from tests.unit.glass import Glass
from tests.unit.screens import Screen, StillClock, settle


def dispatched(job: int, *, n: int = 1, worker: int = 1) -> AttemptDispatched:
    return AttemptDispatched(at=0.0, job=job, n=n, worker=worker, serial=job)


def ended(job: int, *, n: int = 1) -> AttemptEnded:
    return AttemptEnded(at=9.0, job=job, n=n, ending=Ending.OK, then=JobState.OK, tries=0)


def table(count: int, *, hosts: int = 2) -> RunningJobs:
    """So many jobs at work, the first since 0 s, each later one begun 0.1 s later."""
    jobs = RunningJobs()
    jobs.names = {number: f"web{number}" for number in range(1, hosts + 1)}
    jobs.command = lambda worker, job: f"make part{job}"
    for job in range(1, count + 1):
        worker = 1 + job % hosts
        jobs.saw([dispatched(job, worker=worker), AttemptStarted(at=job / 10, job=job, n=1)])
    return jobs


def shown(jobs: RunningJobs, *, now: float = 100.0, width: int = 80, height: int = 24) -> list[str]:
    return jobs.rows(now=now, width=width, height=height, colour=False)


def numbers(rows: list[str]) -> list[int]:
    return [int(row.split()[0]) for row in rows if row.split()[0].isdigit()]


def test_a_row_tells_job_host_time_and_the_last_line() -> None:
    jobs = table(2)
    jobs.piece(1, 1, 1, b"compiling\nlinking")
    jobs.piece(1, 1, 2, b" main\n\n")
    assert shown(jobs) == ["  1  web2  1m40s  linking main", "  2  web1  1m40s  make part2"]


def test_a_wide_window_tells_the_command_beside_the_last_line() -> None:
    jobs = table(2)
    jobs.piece(1, 1, 1, b"linking\n")
    assert shown(jobs, width=120) == ["  1  web2  1m40s  make part1  linking", "  2  web1  1m40s  make part2"]


def test_a_progress_bar_shows_as_far_as_it_is_and_colours_are_left_out() -> None:
    jobs = table(1)
    jobs.piece(1, 1, 1, b"\r 10%\r 20%\r\x1b[32m 30%\x1b[0m")
    assert shown(jobs) == ["  1  web2  1m40s  30%"]


def test_a_row_never_drives_the_terminal() -> None:
    jobs = table(1)
    jobs.piece(1, 1, 1, b"\x1b]0;owned\x07\x9b2J\x1b7\x00here")
    (row,) = shown(jobs)
    assert row.endswith("<9B>2J^[7^@here")


def test_a_job_has_its_row_only_after_a_second_and_none_when_it_has_ended() -> None:
    jobs = table(1)
    assert shown(jobs, now=1.0) == []
    assert numbers(shown(jobs, now=1.2)) == [1]
    jobs.saw([ended(1)])
    assert shown(jobs) == []
    jobs.piece(1, 1, 1, b"too late\n")
    assert shown(jobs) == []


def test_attempts_that_were_sent_but_have_not_started_have_no_row() -> None:
    jobs = table(0)
    jobs.saw([dispatched(1)])
    assert shown(jobs) == []


def test_a_job_whose_host_does_not_answer_is_marked_until_it_does() -> None:
    jobs = table(1)
    jobs.piece(1, 1, 1, b"half way\n")
    jobs.saw([HostOut(at=50.0, worker=2, why="the line broke")])
    assert shown(jobs) == ["  1  web2 (out)  1m40s  half way"]
    jobs.saw([HostConnected(at=60.0, worker=2, spool="s", boot="b")])
    assert shown(jobs) == ["  1  web2  1m40s  half way"]


def test_what_an_earlier_controller_has_left_has_its_rows_too() -> None:
    jobs = table(0)
    started = OpenAttempt(
        job=1, n=2, worker=1, serial=1, args=(), tries=0, started=True, dispatched_at=10.0, started_at=40.0
    )
    jobs.load([started, replace(started, job=2, n=1, serial=2, started=False, started_at=None)])
    assert shown(jobs) == ["  1  web1  1m00s  make part1"]
    jobs.saw([AttemptStarted(at=90.0, job=2, n=1)])
    assert shown(jobs) == ["  1  web1  1m00s  make part1", "  2  web1    10s  make part2"]


def test_rows_keep_their_places_while_jobs_come_and_go() -> None:
    jobs = table(8)
    assert numbers(shown(jobs, height=10)) == [1, 2, 3, 4]
    jobs.saw([ended(2)])
    assert numbers(shown(jobs, height=10)) == [1, 5, 3, 4]
    jobs.saw([ended(1), ended(4)])
    assert numbers(shown(jobs, height=10)) == [6, 5, 3, 7, 8]
    jobs.saw([ended(6), ended(3)])
    assert numbers(shown(jobs, height=10)) == [5, 7, 8]


@pytest.mark.parametrize(
    ("height", "rows"), [(1, 0), (2, 0), (4, 0), (5, 1), (6, 2), (10, 5), (24, 12), (60, 30), (200, 40)]
)
def test_the_table_leaves_half_of_the_window_and_counts_the_rest(height: int, rows: int) -> None:
    lines = shown(table(40), height=height)
    assert len(lines) == rows
    told = len(numbers(lines))
    if rows and told < 40:
        assert lines[-1] == f"  and {40 - told} more that run"


@pytest.mark.parametrize("width", [1, 2, 10, 20, 30, 60, 80, 120, 200])
def test_no_row_fills_the_window_s_width(width: int) -> None:
    jobs = table(30, hosts=12)
    jobs.names = dict.fromkeys(range(13), "不要回" * 9)
    jobs.piece(3, 1, 1, b"word " * 100 + b"\n")
    jobs.piece(4, 1, 1, "不要回".encode() * 60)
    plain = jobs.rows(now=100.0, width=width, height=40, colour=False)
    assert all(columns(row) < max(2, width) for row in plain)


def test_of_each_job_only_the_end_of_its_output_is_held() -> None:
    jobs = table(1)
    for _ in range(100):
        jobs.piece(1, 1, 1, b"x" * 65536)
        jobs.piece(1, 1, 1, b"y" * 100)
    assert len(jobs._running[1, 1].tail) == KEPT


def test_nothing_is_held_of_jobs_that_have_ended() -> None:
    jobs = table(50)
    shown(jobs)
    jobs.saw([ended(job) for job in range(1, 51)])
    jobs.saw([dispatched(60), ended(60), RunFinished(at=9.0, state="finished", exit_code=0)])
    assert (jobs._running, jobs._sent, shown(jobs), jobs._places) == ({}, {}, [], [])


# -- on the screen ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_what_was_printed_stays_whatever_is_drawn_beneath_it(seed: int) -> None:
    chance = random.Random(seed)
    width, height = chance.choice([(80, 24), (20, 6), (60, 2), (40, 1)])
    clock, screen = StillClock(), Screen()
    console = Console(screen.fd, screen.fd, terminal=(True, True), clock=clock)
    printed = []
    for number in range(200):
        clock.time += chance.choice([0.0, 0.05, 0.2])
        if chance.random() < 0.5:
            printed.append(f"line {number}")
            console.job_output(printed[-1].encode())
            console.flush()
        else:
            rows = [f"row {number}.{row}" for row in range(chance.randrange(max(1, height // 2)))]
            console.show(*rows, f"bottom {number}")
        settle(console)
    console.close()
    glass = Glass(width, height)
    glass.feed(screen.text())
    assert glass.all == [*printed, ""]


def test_lines_of_a_window_made_narrower_are_taken_away_with_what_they_broke_into(monkeypatch) -> None:
    glass, footer = Glass(40, 20), Footer(-1, environ={"TERM": "xterm-256color"})
    glass.feed(b"printed\n")
    footer.want(["a" * 39, "b" * 10, "\x1b[1m" + "c" * 30 + "\x1b[0m"])
    monkeypatch.setattr(os, "get_terminal_size", lambda fd: os.terminal_size((glass.width, glass.height)))
    glass.feed(footer.draw())
    glass.narrower(15)
    footer.want(["d" * 10])
    glass.feed(footer.draw())
    assert glass.screen == ["printed", "d" * 10]
    glass.feed(footer.erase())
    assert glass.screen == ["printed", ""]


def test_on_a_terminal_that_cuts_lines_no_more_is_taken_away_than_was_drawn(monkeypatch) -> None:
    footer = Footer(-1, environ={"TERM": "linux"})
    footer.want(["a" * 39, "b"])
    footer.draw()
    monkeypatch.setattr(os, "get_terminal_size", lambda fd: os.terminal_size((10, 10)))
    assert footer.erase() == b"\r\x1b[1A\x1b[J"


@pytest.mark.parametrize(
    ("environ", "anew"),
    [({"STY": "1"}, False), ({"XTERM_VERSION": "XTerm(379)"}, False), ({"TMUX": "x", "STY": "1"}, True)],
)
def test_it_is_known_which_terminals_break_lines_anew(environ: dict[str, str], anew: bool) -> None:
    assert wraps_anew(environ) is anew
