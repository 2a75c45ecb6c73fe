"""What a second terminal sees of a batch at work, and what the first one shows while it works; on real hosts."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import termios
import threading
import time
from collections import Counter

import pytest

from tests.command import ALL, Effects, Hostler
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.lab import wait_until
from tests.unit.glass import Glass

#: A job that prints, waits for a word, and prints again; $1 is the effects' file, $2 the job.
TALKING = (
    'echo "first of $2"; echo "begun $2" >> "$1"; i=0; '
    'while [ ! -e "$1.go" ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done; echo "last of $2"'
)


def talking(effects: Effects, *jobs: str) -> list[str]:
    return ["--", "sh", "-c", TALKING, "-", str(effects.path), "{}", ":::", *jobs]


def test_a_second_terminal_follows_a_job_while_it_runs(hostler: Hostler, effects: Effects) -> None:
    batch = hostler.start("batch", *ALL, "-j", "1", "-q", *talking(effects, "a"))
    effects.wait(1, "begun")
    wait_until(lambda: hostler("status", "last").code == 0, what="a run in the store")
    follower = hostler.start("log", "last", "1", "-f")
    events = hostler.start("events", "-f", "--jsonl")
    wait_until(lambda: b"first of a\n" in follower.out, what="what the job has printed so far")
    assert batch.process.poll() is None
    told = hostler("explain", "last", "1").out.decode()
    assert re.search(r"now +it has run on sandbox[12] for ", told)
    effects.go()
    assert batch.wait().code == 0
    done = follower.wait()
    assert (done.code, done.out) == (0, b"first of a\nlast of a\n")
    assert re.search(r"hostler: job 1 attempt 1, on sandbox[12]: ok after ", done.err)
    types = [json.loads(line)["type"] for line in events.wait().lines]
    assert types[0] == "run.accepted" and types[-1] == "run.finished"
    assert hostler("report", "last").out.startswith(b"batch 1 finished: 1 job on 1 host")


def test_when_the_owner_is_killed_its_followers_say_so_and_end(hostler: Hostler, effects: Effects) -> None:
    batch = hostler.start("batch", *ALL, "-j", "1", "-q", *talking(effects, "a"))
    effects.wait(1, "begun")
    follower = hostler.start("log", "last", "1", "-f")
    wait_until(lambda: b"first of a\n" in follower.out)
    batch.kill()
    done = follower.wait()
    assert (done.code, done.out) == (0, b"first of a\n")
    assert done.err.endswith("this goes on with it: hostler batch --resume 1\n")
    effects.go()
    assert hostler("batch", "--resume", "last").code == 0
    assert hostler("log", "last", "1", "-f").out == b"first of a\nlast of a\n"


def test_a_hosts_file_tells_of_a_job_while_it_runs(hostler: Hostler, effects: Effects) -> None:
    batch = hostler.start("batch", *ALL, "--worker-logs", *talking(effects, "a"))
    folder = hostler.folder / "state" / "runs" / "1" / "workers"

    def told() -> bytes:
        return b"".join(path.read_bytes() for path in folder.glob("*.log"))

    wait_until(lambda: told().endswith(b"\nfirst of a\n"))
    assert b" begins " in told() and b" ends " not in told()
    effects.go()
    assert batch.wait().code == 0
    assert [line.split(b" ")[3:4] for line in told().splitlines() if line.startswith(b"== ")] == [
        [b"begins"],
        [b"ends"],
    ]
    assert b"first of a\nlast of a\n" in told()


def test_a_killed_controllers_worker_files_are_completed_and_hold_nothing_twice(
    hostler: Hostler, effects: Effects
) -> None:
    words = ["--", "sh", "-c", 'sleep 0.05; echo "out $1"; echo "$1" >> "$0"', str(effects.path), "{}", ":::"]
    jobs = [str(number) for number in range(1, 41)]
    batch = hostler.start("batch", *ALL, "-j", "2", "-q", "--worker-logs", *words, *jobs)
    folder = hostler.folder / "state" / "runs" / "1" / "workers"
    wait_until(lambda: b"== job" in b"".join(path.read_bytes() for path in folder.glob("*.log")))
    batch.kill()
    before = {path.name: path.read_bytes() for path in folder.glob("*.log")}
    assert hostler("batch", "--resume", "last", "--worker-logs").code == 0
    after = {path.name: path.read_bytes() for path in folder.glob("*.log")}
    assert all(after[name].startswith(text) for name, text in before.items())
    lines = b"".join(after.values()).decode().splitlines()
    assert set(after) == {"sandbox1.log", "sandbox2.log"}
    counts = Counter(line for line in lines if line.startswith("out "))
    said = [line.split() for line in lines if line.startswith("== job ")]
    told = {
        (each["job"], each["attempt"]) for each in hostler.json("log", "last") if each["ending"] != "revoked"
    }
    for word in ("begins", "ends"):
        assert sorted(each[2] for each in said if each[3] == word) == sorted(f"{job}/{n}" for job, n in told)
    assert all(counts[f"out {job}"] >= 1 for job in jobs)


class Terminal:
    """A terminal of so many columns and rows with a command at work in it, and what one sees."""

    def __init__(self, hostler: Hostler, *words: str, width: int, height: int) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.glass, self._ours = Glass(width, height), ours
        self._lock, self._left = threading.Lock(), b""
        self.running = hostler.start(
            *words, stdin=None, stdout=theirs, stderr=theirs, env={"TERM": "xterm-256color", "NO_COLOR": "1"}
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:
                return
            with self._lock:
                # A sequence may be cut anywhere: what has no end yet waits for it.
                data = self._left + data
                cut = data.rfind(b"\x1b")
                whole = cut < 0 or re.match(rb"\x1b\[[0-9;]*[A-Za-z]", data[cut:])
                self._left, data = (b"", data) if whole else (data[cut:], data[:cut])
                self.glass.feed(data)

    @property
    def screen(self) -> list[str]:
        """What one sees now."""
        with self._lock:
            return self.glass.screen

    def end(self) -> list[str]:
        """All that was printed, once the command has ended."""
        self.running.process.wait(60)
        self._reader.join()
        os.close(self._ours)
        return self.glass.all


@pytest.mark.parametrize(
    ("width", "height"),
    [
        (80, 24),
        (120, 30),
        pytest.param(60, 24, marks=pytest.mark.slow),
        pytest.param(200, 50, marks=pytest.mark.slow),
    ],
)
def test_the_screen_of_a_batch_at_work(hostler: Hostler, effects: Effects, width: int, height: int) -> None:
    terminal = Terminal(
        hostler, "batch", *ALL, "-j", "2", *talking(effects, "a", "b", "c"), width=width, height=height
    )
    effects.wait(3, "begun")

    def rows() -> list[str]:
        return [row for row in terminal.screen if re.match(r" +[123]  sandbox[12] +[0-9.]+s  ", row)]

    wait_until(
        lambda: len(rows()) == 3 and all("first of" in row for row in rows()), what=str(terminal.screen)
    )
    screen = terminal.screen
    assert screen[0] == "batch 1: 3 jobs, 2 hosts"
    assert re.match(r"(batch 1  )?0/3 0%  run 3  ok 0  hosts 2/2", [row for row in screen if row][-1])
    assert all(("sh -c" in row) == (width >= 100) for row in rows())
    effects.go()
    printed = terminal.end()
    assert sorted(line for line in printed if "of" in line and line.startswith(("first", "last"))) == [
        *(f"first of {job}" for job in "abc"), *(f"last of {job}" for job in "abc")
    ]  # fmt: skip
    assert not [row for row in printed if re.match(r" +[123]  sandbox[12] +[0-9.]+s  ", row)]
    assert any(line.startswith("batch 1 finished: 3 jobs on 2 hosts") for line in printed)


@pytest.mark.parametrize("choice", ["line", pytest.param("none", marks=pytest.mark.slow)])
def test_the_table_can_be_left_out(hostler: Hostler, choice: str) -> None:
    words = ["batch", *ALL, "--progress", choice, "--", "sleep", ":::", "1.8", "1.9"]
    terminal = Terminal(hostler, *words, width=80, height=24)
    seen: set[str] = set()
    while terminal.running.process.poll() is None:
        seen.update(terminal.screen)
        time.sleep(0.02)
    terminal.end()
    assert not [row for row in seen if "sandbox" in row and "sleep" in row and row[:2] == "  "]
    assert any(" run 2" in row for row in seen) is (choice == "line")


def test_what_a_second_int_says_stands_on_lines_of_its_own(hostler: Hostler, effects: Effects) -> None:
    stubborn = 'trap "" TERM; echo begun >> "$1"; while [ ! -e "$1.go" ]; do sleep 0.1; done'
    terminal = Terminal(
        hostler, "batch", *ALL, "-j", "1", "--", "sh", "-c", stubborn, "-", str(effects), ":::", "a", "b",
        width=160, height=24,
    )  # fmt: skip
    try:
        effects.wait(2, "begun")
        terminal.running.signal(signal.SIGINT)
        wait_until(
            lambda: any("stopping: waiting for 2 jobs to end" in row for row in terminal.screen),
            what="the bottom line",
        )
        terminal.running.signal(signal.SIGINT)
        printed = terminal.end()
    finally:
        effects.go()
    said = [line for line in printed if "may still run" in line or "left batch 1" in line]
    assert len(said) == 3 and all(line.startswith("hostler: ") for line in said), printed
    assert not any("stopping" in line for line in printed), printed
