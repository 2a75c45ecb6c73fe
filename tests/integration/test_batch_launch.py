"""Hosts launched for a run belong to it: they end with it in every way in which it can end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Effects, Hostler
from tests.command import effects as effects
from tests.lab import Lab, count_marked, wait_until

LAUNCH = ("--launch", "2", "--provider", "sandbox")


@pytest.fixture
def hostler(tmp_path: Path) -> Iterator[Hostler]:
    """A command on a machine without hosts."""
    with Lab() as lab:
        made = Hostler(tmp_path, lab)
        try:
            yield made
        finally:
            made.close()


def hosts(hostler: Hostler) -> list[str]:
    """The hosts that are there."""
    return [entry.name for entry in hostler.lab.registry.entries()]


def test_they_work_and_are_gone_afterwards(hostler: Hostler) -> None:
    done = hostler(
        "batch", *LAUNCH, "-j", "1", "--", "true {}; echo $HOSTLER_HOST; sleep 0.4", ":::", *"abcdefgh"
    )
    assert done.code == 0, done.err
    assert "launching 2 sandbox hosts" in done.err
    assert len(done.lines) == 8 and len(set(done.lines)) == 2
    assert hosts(hostler) == []


def test_after_a_signal_they_are_gone_and_the_run_goes_on_with_others(
    hostler: Hostler, effects: Effects
) -> None:
    running = hostler.start("batch", *LAUNCH, "-j", "1", *effects.waiting(*"abcd"))
    effects.wait(2, "begun")
    running.signal(signal.SIGTERM)
    done = running.wait()
    assert done.code == 143, done.err
    assert hosts(hostler) == []
    effects.go()
    resumed = hostler("batch", "--resume", "last", "--launch", "1", "--provider", "sandbox")
    assert resumed.code == 0, resumed.err
    assert {job: effects.counts[f"done {job}"] for job in "abcd"} == dict.fromkeys("abcd", 1)
    assert hosts(hostler) == []


def test_a_signal_while_they_are_launched_leaves_none(hostler: Hostler) -> None:
    running = hostler.start("batch", *LAUNCH, "--", "true", ":::", "a")
    wait_until(lambda: "launching" in running.err, what="the launch")
    running.signal(signal.SIGINT)
    done = running.wait()
    assert done.code == 130
    assert "SIGINT" in done.err and "Traceback" not in done.err
    assert hosts(hostler) == []
    assert count_marked(f"HOSTLER_SANDBOX_DIR={hostler.lab.path}") == 0


def test_a_submit_that_fails_leaves_none(hostler: Hostler) -> None:
    done = hostler("batch", *LAUNCH, "--", "echo", stdin=b"a\nb\0\n")
    assert done.code == 2 and "line 2" in done.err
    assert hosts(hostler) == []
    assert hostler.json("runs") == []


def test_kept_ones_stay_and_how_to_end_them_is_said(hostler: Hostler) -> None:
    done = hostler("batch", *LAUNCH, "--keep", "--", "true", ":::", "a")
    assert done.code == 0, done.err
    assert len(hosts(hostler)) == 2
    assert hostler("reap").out == b""
    words = done.err.splitlines()[-1].partition("hostler sandbox down")[2].split()
    assert len(words) == 2
    assert hostler("sandbox", "down", *words).code == 0
    assert hosts(hostler) == []


def test_a_killed_controllers_hosts_are_taken_up_by_the_next_and_end_with_the_run(
    hostler: Hostler, effects: Effects
) -> None:
    running = hostler.start("batch", *LAUNCH, "-j", "1", *effects.waiting(*"abcd"))
    effects.wait(2, "begun")
    running.kill()
    assert len(hosts(hostler)) == 2
    again = hostler.start("batch", "--resume", "last")
    wait_until(lambda: " jobs, 2 hosts" in again.err, what="the resume to begin")
    assert hostler("reap").out == b"" and len(hosts(hostler)) == 2
    effects.go()
    resumed = again.wait()
    assert resumed.code == 0, resumed.err
    assert effects.counts == {f"{word} {job}": 1 for word in ("begun", "done") for job in "abcd"}
    assert hosts(hostler) == []


def test_jobs_of_one_that_was_ended_go_to_the_other_without_waiting_for_their_lease(
    hostler: Hostler, effects: Effects
) -> None:
    running = hostler.start(
        "batch", *LAUNCH, "-j", "1", "--on-disconnect", "lease=1h", *effects.waiting(*"ab")
    )
    effects.wait(2, "begun")
    gone = hosts(hostler)[0]
    assert hostler("sandbox", "down", gone).code == 0
    wait_until(
        lambda: f"{gone}: its machine has ended, sandbox says; given up" in running.err, what="the word"
    )
    effects.go()
    done = running.wait()
    assert done.code == 0, done.err
    assert "2 ok" in done.err
    assert sorted(each["maybe_duplicated"] for each in hostler.json("log", "last")) == [False, False, True]
    assert sum(effects.counts[f"begun {job}"] for job in "ab") == 3
    assert hosts(hostler) == []


def test_one_that_ended_with_its_killed_controller_is_not_waited_for_by_the_next(
    hostler: Hostler, effects: Effects
) -> None:
    words = ("--launch", "1", "--provider", "sandbox", "--on-disconnect", "lease=1h")
    running = hostler.start("batch", *words, *effects.waiting("a"))
    effects.wait(1, "begun")
    running.kill()
    assert hostler("reap").code == 0 and hosts(hostler) == []
    effects.go()
    resumed = hostler("batch", "--resume", "last", "--launch", "1", "--provider", "sandbox")
    assert resumed.code == 0, resumed.err
    assert effects.counts == {"begun a": 2, "done a": 1}


def test_a_run_that_cant_be_gone_on_with_ends_those_that_it_has(hostler: Hostler, effects: Effects) -> None:
    running = hostler.start("batch", *LAUNCH, "-j", "1", *effects.waiting(*"ab"))
    effects.wait(2, "begun")
    running.kill()
    out = hostler.folder / "state" / "runs" / "1" / "out"
    out.rename(out.with_name("moved"))
    out.write_text("in its place")
    resumed = hostler("batch", "--resume", "last")
    assert resumed.code == 6 and "out" in resumed.err and "Traceback" not in resumed.err, resumed.err
    assert hosts(hostler) == []


def test_a_stop_ends_those_of_a_killed_controller(hostler: Hostler, effects: Effects) -> None:
    running = hostler.start("batch", *LAUNCH, "-j", "1", *effects.waiting(*"ab"))
    effects.wait(2, "begun")
    running.kill()
    assert hostler("stop", "last").code == 0
    assert hosts(hostler) == []


def test_a_second_signal_leaves_them_and_says_how_to_end_them(hostler: Hostler, effects: Effects) -> None:
    text = f"trap '' TERM; echo begun {{}} >> {effects}; sleep 60"
    running = hostler.start("batch", *LAUNCH, "-j", "1", "--", text, ":::", "a", "b")
    effects.wait(2, "begun")
    for _ in range(2):
        running.signal(signal.SIGINT)
        wait_until(lambda: "SIGINT" in running.err, what="the first signal to be answered")
    done = running.wait(15)
    assert done.code == 130
    assert len(hosts(hostler)) == 2
    last = done.err.splitlines()[-1]
    assert "2 hosts left running" in last
    assert hostler("reap", *last.partition("hostler reap")[2].split()).code == 0
    assert hosts(hostler) == [] and os.path.exists(effects.path)


def reaped(hostler: Hostler, line: str) -> None:
    """Nothing is left after the command at the end of this line."""
    assert hostler("reap", *line.partition("hostler reap")[2].split()).code == 0
    assert hosts(hostler) == []
    wait_until(lambda: count_marked(f"HOSTLER_SANDBOX_DIR={hostler.lab.path}") == 0, what="all to end")


def test_a_second_signal_while_they_are_launched_leaves_at_once_and_says_how_to_end_them(
    hostler: Hostler,
) -> None:
    with hostler.lab.registry.lock(seconds=10):  # the launch can't end while somebody else launches
        running = hostler.start("batch", *LAUNCH, "--", "true", ":::", "a")
        wait_until(lambda: "launching" in running.err, what="the launch")
        running.signal(signal.SIGINT)
        wait_until(lambda: "once more leaves at once" in running.err, what="the first signal to be answered")
        running.signal(signal.SIGINT)
        done = running.wait(15)
    assert done.code == 130 and "Traceback" not in done.err
    assert "SIGINT: no run was begun" in done.err
    assert "sandbox hosts may still come up: this ends them: hostler reap --run" in done.err
    reaped(hostler, done.err.splitlines()[-1])


def test_a_second_signal_in_the_middle_of_the_launch_leaves_none_that_its_words_dont_end(
    hostler: Hostler,
) -> None:
    running = hostler.start("batch", "--launch", "12", "--provider", "sandbox", "--", "true", ":::", "a")
    wait_until(lambda: any(hostler.lab.path.glob("sbx-*")), what="the first host's folder")
    running.signal(signal.SIGINT)
    running.signal(signal.SIGINT)
    done = running.wait(15)
    assert done.code == 130 and "Traceback" not in done.err
    reaped(hostler, done.err.splitlines()[-1])


def test_a_second_signal_while_they_are_ended_leaves_at_once_and_says_how_to_end_them(
    hostler: Hostler, effects: Effects
) -> None:
    running = hostler.start("batch", *LAUNCH, "-j", "1", *effects.waiting(*"ab"))
    effects.wait(2, "begun")
    with hostler.lab.registry.lock(seconds=10):  # nothing can be ended while somebody else does
        effects.go()
        wait_until(lambda: "2 ok" in running.err, what="the report")
        running.signal(signal.SIGINT)
        wait_until(lambda: "once more leaves at once" in running.err, what="the first signal to be answered")
        running.signal(signal.SIGINT)
        done = running.wait(15)
    assert done.code == 130 and "Traceback" not in done.err
    assert "2 hosts left running: this ends them: hostler reap --run" in done.err
    assert hostler.json("status", "last")["state"] == "finished"
    reaped(hostler, done.err.splitlines()[-1])
