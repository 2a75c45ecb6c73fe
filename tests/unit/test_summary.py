"""What a run comes to: exit codes, counts, pace, and failures that look alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostler.engine.alike import Failure, clusters
from hostler.engine.summary import (
    HostFigures,
    Pace,
    Progress,
    Summary,
    count_words,
    exit_code,
    percent,
)
from hostler.model.jobs import JobState

S = JobState


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ({}, 0),
        ({S.OK: 10}, 0),
        ({S.OK: 10, S.FAILED: 0}, 0),
        ({S.OK: 9, S.FAILED: 1}, 1),
        ({S.FAILED: 9, S.TIMEOUT: 1}, 3),
        ({S.OK: 1, S.INTERRUPTED: 1}, 3),
        ({S.OK: 1, S.KILL_FAILED: 1}, 3),
        ({S.OK: 1, S.CANCELLED: 1}, 3),
        ({S.TIMEOUT: 5, S.LOST: 1}, 4),
        ({S.OK: 5, S.QUEUED: 1}, 4),
        ({S.OK: 5, S.OPEN: 1}, 4),
    ],
)
def test_the_exit_code_is_the_worst_over_the_jobs(counts: dict[JobState, int], code: int) -> None:
    assert exit_code(counts) == code


def test_what_stopped_the_run_comes_before_what_its_jobs_did() -> None:
    bad = {S.FAILED: 1, S.LOST: 1, S.QUEUED: 7}
    assert exit_code(bad, halted=True) == 5
    assert exit_code(bad, halted=True, broken=True) == 6
    assert exit_code(bad, halted=True, broken=True, signal=2) == 130
    assert exit_code({S.OK: 1}, signal=15) == 143


@given(st.dictionaries(st.sampled_from(list(S)), st.integers(0, 10**6)))
def test_only_a_run_whose_jobs_all_ended_well_exits_0(counts: dict[JobState, int]) -> None:
    well = sum(counts.values()) == counts.get(S.OK, 0)
    assert (exit_code(counts) == 0) is well


def test_every_state_is_counted_in_words() -> None:
    words = count_words(dict.fromkeys(S, 3))
    assert words.count("3 ") == len(S)
    assert words.startswith("3 ok, 3 failed, 3 timed out, 3 lost")
    assert count_words({}) == "no jobs"


def test_a_run_with_jobs_left_is_resumed_and_one_with_bad_jobs_retried() -> None:
    def after(**counts: int) -> str | None:
        by_state = {JobState[name]: count for name, count in counts.items()}
        return Summary(number=7, state="finished", counts=by_state).next_command

    assert after(OK=3) is None
    assert after(OK=3, FAILED=1, QUEUED=1) == "hostler batch --resume 7"
    assert after(OK=3, FAILED=1) == "hostler batch --retry 7"
    assert after(OK=3, CANCELLED=1) is None


def test_the_rate_of_a_run_is_over_its_whole_time() -> None:
    summary = Summary(number=1, state="finished", counts={S.OK: 90, S.FAILED: 10, S.QUEUED: 5}, elapsed=20.0)
    assert (summary.rate, summary.done, summary.bad, summary.total) == (5.0, 100, 10, 105)
    assert Summary(number=1, state="stopped", counts={S.QUEUED: 5}, elapsed=20.0).rate is None
    assert Summary(number=1, state="finished", counts={S.OK: 5}).rate is None


@given(st.integers(0, 10**7), st.integers(1, 10**7))
def test_a_hundred_percent_means_all(done: int, total: int) -> None:
    done = min(done, total)
    assert (percent(done, total) == 100) is (done == total)


def test_progress_counts_every_ended_job_as_done() -> None:
    assert Progress(number=1, total=20, ok=1, failed=2, timed_out=3, lost=4, other=5, running=5).done == 15


def test_pace_is_unknown_until_a_job_has_ended() -> None:
    pace = Pace.begin(100.0, 500)
    assert (pace.rate, pace.eta(10)) == (None, None)
    assert pace.seen(160.0, 500).rate is None


def test_pace_counts_only_what_this_controller_saw() -> None:
    assert Pace.begin(0.0, 900).seen(10.0, 910).rate == 1.0


def test_pace_forgets_the_slow_beginning() -> None:
    pace = Pace.begin(0.0, 0)
    for second in range(1, 61):
        pace = pace.seen(float(second), second)
    for second in range(61, 121):
        pace = pace.seen(float(second), 60 + (second - 60) * 100)
    assert pace.rate == pytest.approx(100, rel=0.05)


def test_pace_looks_further_back_when_jobs_are_rare() -> None:
    pace = Pace.begin(0.0, 0)
    for ten_minutes in range(1, 11):
        pace = pace.seen(ten_minutes * 600.0, ten_minutes)
    assert pace.eta(6) == pytest.approx(3600)


def test_pace_falls_while_nothing_ends() -> None:
    pace = Pace.begin(0.0, 0).seen(10.0, 100)
    assert (pace.seen(20.0, 100).rate, pace.seen(100.0, 100).rate) == (5.0, 1.0)


def test_pace_begins_anew_when_jobs_are_put_back() -> None:
    pace = Pace.begin(0.0, 0).seen(10.0, 100).seen(11.0, 40)
    assert pace.rate is None


@given(st.lists(st.tuples(st.floats(0.001, 100), st.integers(0, 1000)), max_size=300))
def test_pace_stays_small(steps: list[tuple[float, int]]) -> None:
    pace, now, done = Pace.begin(0.0, 0), 0.0, 0
    for seconds, ended in steps:
        now, done = now + seconds, done + ended
        pace = pace.seen(now, done)
        assert len(pace.marks) < 90
        assert pace.rate is None or pace.rate > 0


def test_a_host_s_share_is_known_only_with_its_slots() -> None:
    figures = HostFigures(host="n1", state="up", ok=8, failed=2, busy=50.0, slots=4)
    assert (figures.ended, figures.mean, figures.share(25.0)) == (10, 5.0, 0.5)
    assert HostFigures(host="n1", state="up", busy=50.0).share(25.0) is None
    assert HostFigures(host="n1", state="up").mean is None


def failure(job: int, host: str, last_line: str, how: str = "exit 1") -> Failure:
    return Failure(job=job, host=host, how=how, last_line=last_line)


def test_failures_that_say_the_same_are_one_and_the_most_come_first() -> None:
    full = [failure(job, "n07", "No space left on device") for job in range(100, 138)]
    other = [failure(3, "n01", "", "exit 2"), failure(4, "n02", "", "exit 2"), failure(5, "n01", "boom")]
    found = clusters([*other, *full], jobs_shown=3)
    assert [(c.how, c.last_line, c.exact, c.count, c.hosts, c.jobs) for c in found] == [
        ("exit 1", "No space left on device", True, 38, ("n07",), (100, 101, 102)),
        ("exit 2", "", True, 2, ("n01", "n02"), (3, 4)),
        ("exit 1", "boom", True, 1, ("n01",), (5,)),
    ]


def test_failures_that_differ_in_numbers_only_are_one_that_says_so() -> None:
    [found] = clusters(failure(job, f"n{job}", f"out/{job}.png: disk full") for job in range(7, 107))
    assert (found.last_line, found.exact, found.count) == ("out/7.png: disk full", False, 100)
    assert (found.host_count, len(found.hosts)) == (100, 5)


def test_a_million_different_failures_are_counted_without_keeping_each() -> None:
    found = clusters((failure(n, "n1", "no " + "x" * n) for n in range(1, 1001)), kinds=10)
    assert len(found) == 11
    assert (found[0].how, found[0].count, found[0].exact) == ("exit 1", 990, False)
