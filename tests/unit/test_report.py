"""The report reads well for one job and for a million, and is never more cheerful than the run was."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from msgspec.structs import replace

from hostler.engine.alike import Failure, clusters
from hostler.engine.summary import HostFigures, Summary
from hostler.model.jobs import Ending, JobState
from hostler.model.runs import AttemptRow
from hostler.views.report import Findings, Slow, report
from hostler.views.tables import Column, table
from hostler.views.text import columns
from hostler.views.words import ending_words, took

S = JobState
WELL = Summary(number=42, state="finished", counts={S.OK: 1000}, elapsed=12.3)
HOST = HostFigures(host="n1", state="released", ok=500, busy=50.0, slots=8)


def shown(
    summary: Summary, findings: Findings | None = None, *, width: int = 100, colour: bool = False
) -> str:
    return report(summary, findings or Findings(), width=width, colour=colour)


def bad(count: int, *, job: int = 1, host: str = "n07", how: str = "exit 1", says: str = "") -> list[Failure]:
    return [Failure(job=job + i, host=host, how=how, last_line=says) for i in range(count)]


def test_a_run_that_went_well_is_said_in_few_lines() -> None:
    assert shown(WELL, Findings(hosts=[HOST, replace(HOST, host="n2")])) == (
        "batch 42 finished: 1000 jobs on 2 hosts in 12s, 81/s\n"
        "  1000 ok\n"
        "\n"
        "hosts:\n"
        "  host  attempts   ok  mean  busy\n"
        "  n1         500  500  0.1s   51%\n"
        "  n2         500  500  0.1s   51%\n"
    )


def test_one_job_is_one_job() -> None:
    assert shown(Summary(number=1, state="finished", counts={S.OK: 1}, elapsed=0.31)) == (
        "batch 1 finished: 1 job in 0.3s\n  1 ok\n"
    )


def test_failures_that_look_alike_are_told_once_with_what_they_said() -> None:
    failures = clusters(
        [
            *bad(38, says="No space left on device"),
            *bad(2, job=100, host="n01", how="timeout"),
            *bad(1, job=200, host="n01", how="SIGSEGV", says="7 of 9 done"),
        ]
    )
    summary = replace(WELL, counts={S.OK: 959, S.FAILED: 39, S.TIMEOUT: 2})
    assert shown(summary, Findings(failures=failures)) == (
        "batch 42 finished: 1000 jobs in 12s, 81/s\n"
        "  959 ok, 39 failed, 2 timed out\n"
        "\n"
        "41 jobs ended badly:\n"
        "  38 × exit 1 on n07 (jobs 1, 2, 3, 4, 5 and 33 more)\n"
        "       No space left on device\n"
        "   2 × timeout, no output, on n01 (jobs 100, 101)\n"
        "   1 × SIGSEGV on n01 (job 200)\n"
        "       7 of 9 done\n"
        "\n"
        "look closer:  hostler log 42 1\n"
        "try again:    hostler batch --retry 42\n"
    )


def test_a_job_that_never_ran_is_no_example_where_another_one_did() -> None:
    unrun = [replace(each, ran=False) for each in bad(3, job=1, host="no host", how="cancelled")]
    summary = replace(WELL, counts={S.OK: 996, S.CANCELLED: 4})
    mixed = clusters([*unrun, *bad(1, job=9, how="cancelled", says="half way")])
    assert "look closer:  hostler log 42 9\n" in shown(summary, Findings(failures=mixed))
    assert "look closer:  hostler log 42 1\n" in shown(summary, Findings(failures=clusters(unrun)))


def test_failures_that_differ_in_numbers_are_marked_as_alike() -> None:
    failures = clusters(Failure(job=n, host="n1", how="exit 1", last_line=f"{n}.png: broken") for n in (7, 8))
    text = shown(replace(WELL, counts={S.FAILED: 2}), Findings(failures=failures))
    assert "      7.png: broken (and the like)\n" in text


def test_of_many_kinds_of_failure_ten_are_shown_and_the_rest_counted() -> None:
    failures = clusters(f for kind in range(25) for f in bad(2, job=kind * 10 + 1, says="x" * (kind + 1)))
    text = shown(replace(WELL, counts={S.FAILED: 50}), Findings(failures=failures))
    assert text.count(" × ") == 10
    assert "  and 30 more of 15 other kinds\n" in text


def test_it_says_when_not_all_failures_were_looked_at() -> None:
    text = shown(
        replace(WELL, counts={S.FAILED: 9000}), Findings(failures=clusters(bad(2000)), looked_at=2000)
    )
    assert "9000 jobs ended badly (what the first 2000 of them say):\n" in text


def test_a_stopped_run_says_what_is_left_and_how_to_go_on() -> None:
    summary = Summary(number=7, state="stopped", counts={S.OK: 40, S.QUEUED: 60}, elapsed=10.0, signal=2)
    text = shown(summary)
    assert text.startswith(
        "batch 7 stopped by SIGINT: 40 of 100 jobs done in 10s, 4.0/s\n  40 ok, 60 not run\n"
    )
    assert text.endswith("go on (60 jobs left):  hostler batch --resume 7\n")


def test_slow_jobs_are_named_where_there_are_enough_jobs_to_compare() -> None:
    slow = [Slow(job=n, host="n1", elapsed=100.0 / n, command="convert " + "x" * 500) for n in range(1, 9)]
    text = shown(WELL, Findings(slowest=slow), width=60)
    assert text.count("convert xxx") == 5
    assert "    1  1m40s  n1    convert xxxxxxx" in text
    assert "slowest" not in shown(replace(WELL, counts={S.OK: 5}), Findings(slowest=slow))


def test_two_hundred_hosts_are_shown_by_their_troubles() -> None:
    hosts = [HostFigures(host=f"n{n:03}", state="released", ok=100, busy=10.0) for n in range(200)]
    hosts[50] = replace(hosts[50], failed=3)
    hosts[120] = replace(hosts[120], state="lost", why="n120: connection refused", ok=0, busy=0.0)
    text = shown(WELL, Findings(hosts=hosts))
    table_text = text[text.index("hosts:") :].split("\n\n")[0].splitlines()
    assert table_text == [
        "hosts:",
        "  host          attempts     ok  failed  mean  state",
        "  n120                 0      0                lost",
        "  n050               103    100       3  97ms",
        "  (198 others)     19800  19800          0.1s",
    ]
    assert "1 host out:\n  n120: connection refused\n" in text


def test_hosts_lost_for_one_reason_are_told_together() -> None:
    hosts = [HostFigures(host=f"n{n}", state="lost", why=f"n{n}: no route to host") for n in range(8)]
    hosts.append(HostFigures(host="web", state="out", why=""))
    text = shown(WELL, Findings(hosts=hosts))
    assert "9 hosts out:\n  n0, n1, n2, n3, n4 and 3 more: no route to host\n  web: no reason known\n" in text


def test_a_job_that_may_have_run_twice_is_never_passed_over() -> None:
    text = shown(WELL, Findings(repeated=[3, 9], repeated_count=2))
    assert "2 jobs may have had their effects twice (jobs 3, 9): " in text
    assert "1 job may have had its effects twice (job 3): " in shown(
        WELL, Findings(repeated=[3], repeated_count=1)
    )


@pytest.mark.parametrize("width", [30, 80, 200])
@pytest.mark.parametrize("colour", [True, False])
def test_no_line_is_wider_than_the_screen(width: int, colour: bool) -> None:
    findings = Findings(
        failures=clusters(bad(3, says="不" * 300)),
        slowest=[Slow(job=1, host="h" * 100, elapsed=1.0, command="不要" * 100)] * 6,
        hosts=[replace(HOST, host="long" * 50, failed=3, state="lost", why="because " * 50)],
    )
    text = shown(replace(WELL, counts={S.OK: 997, S.FAILED: 3}), findings, width=width, colour=colour)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    fixed = ("batch 42", "look closer", "try again")
    assert [line for line in plain.splitlines() if columns(line) > width and not line.startswith(fixed)] == []


def test_in_colour_and_in_plain_the_words_are_the_same() -> None:
    findings = Findings(
        hosts=[HOST, replace(HOST, host="n2 [bold]x[/bold]", failed=1)], failures=clusters(bad(1))
    )
    summary = replace(WELL, counts={S.OK: 999, S.FAILED: 1})
    coloured = shown(summary, findings, colour=True)
    assert "\x1b[" in coloured
    words = re.sub(r"\x1b\[[0-9;]*m", "", coloured).split()
    assert words == shown(summary, findings).split()


def test_where_room_is_missing_the_long_column_gives_way() -> None:
    heads = [Column("run", right=True), Column("command", widest=None), Column("state")]
    assert table(heads, [("1", "x" * 100, "finished")], width=40, colour=False) == (
        "  run  command                  state\n    1  " + "x" * 22 + "…  finished\n"
    )


def test_a_report_costs_no_rich() -> None:
    code = "import sys, hostler.views.report, hostler.views.live; print('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_table_without_rows_is_nothing() -> None:
    assert table([Column("a")], [], width=80, colour=False) == ""


ATTEMPT = AttemptRow(
    job=1,
    n=1,
    worker="n1",
    open=False,
    dispatched_at=100.0,
    started_at=101.0,
    ended_at=111.0,
    ending="ok",
    code=0,
    signal=None,
    elapsed=9.5,
    file=None,
    offset=None,
    out=None,
    err=None,
    indexed=False,
    detail="",
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "ok"),
        ({"ending": "exit", "code": 255}, "exit 255"),
        ({"ending": "signal", "code": None, "signal": 9}, "SIGKILL"),
        ({"ending": "signal", "code": None, "signal": 250}, "signal 250"),
        ({"ending": "timeout"}, "timeout"),
        ({"ending": "lost", "detail": "n1 was rebooted\x1b[2J"}, "lost: n1 was rebooted^[[2J"),
        ({"ending": None, "ended_at": None}, "running"),
        ({"ending": None, "ended_at": None, "started_at": None}, "sent"),
    ],
)
def test_every_ending_has_its_words(changes: dict, words: str) -> None:
    assert ending_words(replace(ATTEMPT, **changes)) == words


def test_no_ending_is_without_words() -> None:
    for ending in Ending:
        assert ending_words(replace(ATTEMPT, ending=ending.value))


def test_how_long_an_attempt_took_is_not_guessed() -> None:
    assert took(ATTEMPT, now=500.0) == "9.5s"
    assert took(replace(ATTEMPT, elapsed=None), now=500.0) == "?"
    running = replace(ATTEMPT, elapsed=None, ended_at=None)
    assert took(running, now=500.0) == "6m39s"
    assert took(running, now=50.0) == "0s"
    assert took(replace(running, started_at=None), now=500.0) == "-"
