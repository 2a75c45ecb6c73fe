"""Signals in every phase of a batch: what ran is ended, what has not run waits, and going on does each job once."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import sqlite3
import time
from collections import Counter
from pathlib import Path

import pytest

from hostler.model.jobs import JobState
from tests.command import ALL, Effects, Hostler, Running, survivors
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.door import Door, inventory
from tests.lab import Lab, wait_until

#: A job that leaves its mark when it is through, or another one when it is told to end: $1 effects, $2 job, $3 seconds.
MARKED = """trap 'echo "cut $2" >> "$1"; exit 1' TERM; echo "begun $2" >> "$1"
i=0; while [ ! -e "$1.go" ] && [ $i -lt $3 ]; do sleep 0.1; i=$((i+1)); done; echo "done $2" >> "$1\""""


def begin(hostler: Hostler, effects: Effects, *words: str, jobs: int, tenths: int) -> Running:
    """A batch of jobs that take so many tenths of a second, or until `effects`.go is there."""
    numbers = "".join(f"{number}\n" for number in range(1, jobs + 1))
    return hostler.start(
        "batch",
        *words,
        "--",
        "sh",
        "-c",
        MARKED,
        "-",
        str(effects),
        "{}",
        str(tenths),
        stdin=numbers.encode(),
    )


def completed(hostler: Hostler, effects: Effects, *, jobs: int) -> None:
    """Go on with the run and see that every job was done, once; that one was cut before is told by its own mark."""
    Path(f"{effects}.go").touch()
    resumed = hostler("batch", "--resume", "last")
    assert resumed.code == 0, resumed.err
    counts = effects.counts
    for number in range(1, jobs + 1):
        assert counts[f"done {number}"] == 1, (number, counts)
        assert counts[f"begun {number}"] == 1 + bool(counts[f"cut {number}"]), (number, counts)
    assert hostler.json("status", "last")["counts"] == {"ok": jobs}


def test_int_while_a_silent_host_is_waited_for_ends_at_once_and_all_jobs_wait(
    hostler: Hostler, effects: Effects, ground: Lab, tmp_path: Path
) -> None:
    with Door(ground.shared(2)[0], silent=True) as door:
        (tmp_path / "doors.yaml").write_text(inventory(door))
        running = begin(hostler, effects, "-i", "doors.yaml", jobs=3, tenths=1)
        wait_until(lambda: door.comers and "batch 1: " in running.err, what="a connection, and the run")
        began = time.monotonic()
        running.signal(signal.SIGINT)
        done = running.wait(20)
        assert time.monotonic() - began < 10
        assert done.code == 130
        assert "0 of 3 jobs done" in done.err and "hostler batch --resume 1" in done.err
        assert "3 not run" in done.err
        door.silent = False
        completed(hostler, effects, jobs=3)


@pytest.mark.slow
def test_int_while_a_host_is_silent_leaves_what_it_holds_and_says_so_everywhere(
    hostler: Hostler, effects: Effects, ground: Lab
) -> None:
    with Door(ground.shared(2)[0]) as door:
        (hostler.folder / "doors.yaml").write_text(inventory(door))
        words = ["-i", "doors.yaml", "-j", "1", "--connect-timeout", "1"]
        running = begin(hostler, effects, *words, jobs=3, tenths=600)
        effects.wait(1, "begun")
        wait_until(lambda: hostler.json("status", "last")["open"][0]["started"] is not None)
        uid = hostler.uid()
        door.silent = True
        door.slam()
        running.signal(signal.SIGINT)
        done = running.wait(30)
        assert done.code == 130
        assert "  door1: job" in done.err and "may still run there, until the lease ends (" in done.err
        assert "left after SIGINT" in done.err and done.err.endswith("end what still runs:  hostler stop 1\n")
        assert survivors(uid)
        status = hostler.json("status", "last")
        assert (status["state"], status["exit_code"]) == ("left", 130) and status["counts"]["open"]
        assert b"may still run" in hostler("status", "last").out
        assert b"hostler stop 1" in hostler("report", "last").out
        assert hostler("wait", "last").code == 130
        door.silent = False
        stopped = hostler("stop", "last")
        assert stopped.code == 0, stopped.err
        assert not survivors(uid)
        assert hostler.json("status", "last")["state"] == "stopped"
        completed(hostler, effects, jobs=3)


def test_int_in_the_middle_of_many_short_jobs(hostler: Hostler, effects: Effects) -> None:
    running = begin(hostler, effects, *ALL, jobs=300, tenths=0)
    effects.wait(20, "done")
    running.signal(signal.SIGINT)
    done = running.wait()
    assert done.code == 130, done.err
    assert not survivors(hostler.uid())
    assert hostler.json("status", "last")["counts"].get("open") is None
    completed(hostler, effects, jobs=300)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_ends_what_runs_and_leaves_the_rest(
    hostler: Hostler, effects: Effects, number: signal.Signals
) -> None:
    running = begin(hostler, effects, *ALL, "-j", "2", jobs=8, tenths=600)
    effects.wait(4, "begun")
    uid = hostler.uid()
    running.signal(number)
    done = running.wait()
    assert done.code == 128 + number
    assert not survivors(uid)
    begun = {line.removeprefix("begun ") for line in effects.lines if line.startswith("begun")}
    assert len(begun) == 4 and effects.counts == Counter(
        f"{word} {job}" for word in ("begun", "cut") for job in begun
    )
    assert f"{number.name}: ending" in done.err
    assert "0 of 8 jobs done" in done.err and "8 not run" in done.err
    assert done.err.rstrip().endswith("hostler batch --resume 1")
    status = hostler.json("status", "last")
    assert (status["state"], status["counts"], status["exit_code"]) == (
        "stopped",
        {"queued": 8},
        128 + number,
    )
    completed(hostler, effects, jobs=8)


def test_int_when_only_the_last_jobs_still_run(hostler: Hostler, effects: Effects) -> None:
    text = MARKED.replace('"$3"', '"$3"').replace("-lt $3", "-lt $(($2 > 4 ? $3 : 0))")
    numbers = "".join(f"{number}\n" for number in range(1, 7)).encode()
    running = hostler.start(
        "batch", *ALL, "-j", "4", "--", "sh", "-c", text, "-", str(effects), "{}", "600", stdin=numbers
    )
    effects.wait(4, "done")
    effects.wait(6, "begun")
    running.signal(signal.SIGINT)
    done = running.wait()
    assert done.code == 130
    assert "4 of 6 jobs done" in done.err and "4 ok, 2 not run" in done.err
    completed(hostler, effects, jobs=6)


@pytest.mark.slow
def test_a_job_that_does_not_heed_term_is_killed_after_the_grace(hostler: Hostler, effects: Effects) -> None:
    text = f"trap '' TERM INT HUP; echo begun {{}} >> {effects}; sleep 300; sleep 300"
    running = hostler.start("batch", *ALL, "--", text, ":::", "a", "b")
    effects.wait(2)
    running.signal(signal.SIGINT)
    assert running.wait().code == 130
    assert not survivors(hostler.uid())


def test_a_second_int_leaves_at_once_and_says_what_may_still_run(hostler: Hostler, effects: Effects) -> None:
    stubborn = MARKED.replace("; exit 1", "")
    running = hostler.start(
        "batch", *ALL, "-j", "1", "--", "sh", "-c", stubborn, "-", str(effects), "{}", "600", ":::", *"abcd"
    )
    effects.wait(2, "begun")
    there = sorted(name.split("/")[1] for name in set(survivors(hostler.uid()).values()))
    with contextlib.closing(sqlite3.connect(hostler.folder / "state" / "store.db")) as db:
        # What runs is killed in five seconds: no command of ours is begun meanwhile, which takes as long under load.
        running.signal(signal.SIGINT)
        wait_until(lambda: "SIGINT" in running.err, what="the first signal to be answered")
        states = "SELECT count(*) FROM job WHERE state = ?"
        given_back = [(int(JobState.QUEUED), 2), (int(JobState.OPEN), 2)]
        wait_until(
            lambda: all(db.execute(states, (state,)).fetchone()[0] == count for state, count in given_back),
            what="what has not begun",
        )
        running.signal(signal.SIGINT)
    done = running.wait(10)
    assert done.code == 130
    said = done.err.splitlines()
    told = [
        re.search(r"sandbox[12]: job (\d) may still run there, until the lease ends$", line) for line in said
    ]
    assert sorted(found[1] for found in told if found) == there, done.err
    assert said[-1].endswith("hostler batch --resume 1") and "hostler stop 1; " in said[-1]
    assert "Warning" not in done.err and "Traceback" not in done.err
    Path(f"{effects}.go").touch()
    resumed = hostler("batch", "--resume", "last")
    assert resumed.code == 0, resumed.err
    counts = effects.counts
    assert all(counts[f"begun {job}"] <= 1 + bool(counts[f"cut {job}"]) for job in "abcd"), counts
    assert all(counts[f"done {job}"] >= 1 for job in "abcd"), counts


def test_hup_leaves_the_run_going(hostler: Hostler, effects: Effects) -> None:
    running = begin(hostler, effects, *ALL, jobs=4, tenths=600)
    effects.wait(2, "begun")
    running.signal(signal.SIGHUP)
    running.signal(signal.SIGHUP)
    Path(f"{effects}.go").touch()
    done = running.wait()
    assert (done.code, len(effects.counts)) == (0, 8), done.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_jobs_are_still_being_read_begins_no_run(
    hostler: Hostler, number: signal.Signals
) -> None:
    read, write = os.pipe()
    try:
        running = hostler.start("batch", *ALL, "--", "echo", stdin=read)
        os.write(write, b"a\nb\n")
        wait_until(lambda: (hostler.folder / "state" / "store.db").exists(), what="the store")
        time.sleep(0.3)
        running.signal(number)
        done = running.wait(10)
    finally:
        os.close(read)
        os.close(write)
    assert done.code == 128 + number
    assert done.err == f"hostler: {number.name}: no run was begun\n"
    assert hostler.json("runs") == []


def test_a_terminal_that_is_closed_leaves_the_run_going(hostler: Hostler, effects: Effects) -> None:
    ours, theirs = pty.openpty()
    running = hostler.start("batch", *ALL, *effects.waiting("a", "b"), stdout=theirs, stderr=theirs)
    os.close(theirs)
    effects.wait(2, "begun")
    os.close(ours)
    running.signal(signal.SIGHUP)
    effects.go()
    done = running.wait()
    assert (done.code, effects.counts["done a"], effects.counts["done b"]) == (0, 1, 1)
    assert hostler.json("status", "last")["counts"] == {"ok": 2}


def closed_early(hostler: Hostler, effects: Effects, *words: str) -> Running:
    """A batch whose reader has seen enough after the first line."""
    read, write = os.pipe()
    text = f"echo begun {{}} >> {effects}; echo {{}}; sleep 0.2; echo done {{}} >> {effects}"
    running = hostler.start("batch", *ALL, "-j", "1", *words, "--", text, ":::", *"abcdefgh", stdout=write)
    os.close(write)
    assert os.read(read, 2)
    os.close(read)
    return running


def test_stdout_closed_ends_the_printing_and_not_the_run(hostler: Hostler, effects: Effects) -> None:
    done = closed_early(hostler, effects).wait()
    assert done.code == 0, done.err
    assert sum(line.startswith("done") for line in effects.lines) == 8
    said = [line for line in done.err.splitlines() if "stdout was closed" in line]
    assert said == [
        "hostler: stdout was closed: no more output is printed, the run goes on (see: hostler log 1)"
    ]
    assert "Traceback" not in done.err and "BrokenPipe" not in done.err


def test_stdout_closed_stops_the_run_where_that_is_the_habit(hostler: Hostler, effects: Effects) -> None:
    done = closed_early(hostler, effects, "--stop-on-pipe").wait()
    assert done.code == 128 + signal.SIGPIPE, done.err
    assert "stdout was closed: the run is stopped" in done.err
    status = hostler.json("status", "last")
    assert status["state"] == "stopped" and status["counts"]["queued"] > 0
    assert not survivors(hostler.uid())
    resumed = hostler("batch", "--resume", "last")
    assert resumed.code == 0, resumed.err
    # A job may be ended between its last word and its exit; then it is made again, and that is said.
    repeated = hostler.json("report", "last")["maybe_duplicated"]
    done_again = [effects.counts[f"done {job}"] for job in "abcdefgh"]
    assert min(done_again) == 1 and sum(done_again) - len(done_again) <= repeated, (done_again, repeated)


def test_hup_while_a_stop_is_under_way_changes_nothing(hostler: Hostler, effects: Effects) -> None:
    running = begin(hostler, effects, *ALL, "-j", "1", jobs=4, tenths=600)
    effects.wait(2, "begun")
    running.signal(signal.SIGTERM)
    running.signal(signal.SIGHUP)
    done = running.wait()
    assert done.code == 143 and not survivors(hostler.uid())
    completed(hostler, effects, jobs=4)


def test_two_ints_while_a_silent_host_is_waited_for_leave_at_once_and_nothing_behind(
    hostler: Hostler, effects: Effects, ground: Lab, tmp_path: Path
) -> None:
    with Door(ground.shared(2)[0], silent=True) as door:
        (tmp_path / "doors.yaml").write_text(inventory(door))
        running = begin(hostler, effects, "-i", "doors.yaml", jobs=3, tenths=1)
        wait_until(lambda: door.comers and "batch 1: " in running.err, what="a connection, and the run")
        running.signal(signal.SIGINT)
        running.signal(signal.SIGINT)
        done = running.wait(10)
    assert done.code == 130
    assert "may still run" not in done.err and "Traceback" not in done.err
    assert hostler.json("status", "last")["counts"] == {"queued": 3}


def test_who_waits_for_a_run_is_interrupted_alone(hostler: Hostler, effects: Effects) -> None:
    running = begin(hostler, effects, *ALL, "-j", "1", jobs=2, tenths=600)
    effects.wait(2, "begun")
    waiting = hostler.start("wait", "last")
    libraries = Path(f"/proc/{waiting.process.pid}/maps")
    wait_until(
        lambda: "_asyncio." in libraries.read_text(errors="replace"), what="the loop in which it waits"
    )
    waiting.signal(signal.SIGINT)
    done = waiting.wait(10)
    assert done.code == 130 and "Traceback" not in done.err
    Path(f"{effects}.go").touch()
    assert running.wait().code == 0


def test_int_while_jobs_are_still_read_begins_no_run_though_hosts_were_called(
    hostler: Hostler, ground: Lab, tmp_path: Path
) -> None:
    ours, theirs = os.pipe()
    with Door(ground.shared(2)[0]) as door:
        (tmp_path / "doors.yaml").write_text(inventory(door))
        running = hostler.start("batch", "-i", "doors.yaml", "--", "true", stdin=ours)
        wait_until(lambda: door.comers, what="a connection")
        running.signal(signal.SIGINT)
        done = running.wait(20)
    os.close(ours)
    os.close(theirs)
    assert done.code == 130
    assert "no run was begun" in done.err and "Traceback" not in done.err
    assert hostler.json("runs") == []
