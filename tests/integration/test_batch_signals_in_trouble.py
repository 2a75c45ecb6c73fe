"""Ctrl-C, once and twice, while a batch is in trouble: paused, cut off, unheard, without room. What waits can go on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.command import Effects, Hostler, Running
from tests.command import effects as effects
from tests.faults.disks import filled
from tests.lab import Lab, wait_until

TIMES = pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.slow)])


@pytest.fixture(scope="module")
def place() -> Iterator[Lab]:
    """Two hosts that these tests may injure, and leave sound."""
    with Lab() as lab:
        lab.shared(2)
        yield lab


@pytest.fixture
def hostler(tmp_path: Path, place: Lab) -> Iterator[Hostler]:
    """The command, for one test."""
    made = Hostler(tmp_path, place)
    try:
        yield made
    finally:
        made.close()
        made("sandbox", "faults", "sandbox1", "sandbox2", "clear")


def interrupted(running: Running, times: int, *, help: Callable[[], object] = lambda: None) -> None:
    """Have it told by Ctrl-C so often, and see that it ends by that; once, with some `help` where it waits for any."""
    running.signal(signal.SIGINT)
    wait_until(lambda: "SIGINT" in running.err or running.process.poll() is not None, what="its answer")
    if times > 1:
        running.signal(signal.SIGINT)
    else:
        help()
    done = running.wait(90)
    assert done.code == 130, done.err
    assert "Traceback" not in done.err, done.err


def gone_on_with(hostler: Hostler, effects: Effects, jobs: str) -> None:
    """Go on, and see that each job is done; more than once only where that is said."""
    effects.go()
    done = hostler("batch", "--resume", "last", seconds=200)
    assert done.code in (0, 130), done.err  # the latter where all had been done before its end was asked for
    assert hostler.json("status", "last")["counts"] == {"ok": len(jobs)}
    begun = {job: effects.counts[f"begun {job}"] for job in jobs}
    made = [attempt["job"] for attempt in hostler.json("log", "last") if attempt["started"]]
    assert all(begun[job] == made.count(number) for number, job in enumerate(jobs, 1)), (begun, made)
    assert all(effects.counts[f"done {job}"] == 1 for job in jobs), effects.counts


@pytest.mark.slow
@TIMES
def test_while_it_is_paused(hostler: Hostler, effects: Effects, times: int) -> None:
    running = hostler.start("batch", "--hosts", "@sandbox", "-j", "1", *effects.waiting(*"abcd"))
    effects.wait(2, "begun")
    assert hostler("pause", "last").code == 0
    interrupted(running, times)
    assert hostler("unpause", "last").code == 0
    gone_on_with(hostler, effects, "abcd")


@TIMES
@pytest.mark.parametrize("fault", ["refuse", pytest.param("freeze", marks=pytest.mark.slow)])
@pytest.mark.timeout(300)
def test_while_its_hosts_can_not_be_reached(
    hostler: Hostler, effects: Effects, fault: str, times: int
) -> None:
    running = hostler.start("batch", "--hosts", "@sandbox", "-j", "1", *effects.waiting(*"abcd"))
    effects.wait(2, "begun")
    for name in ("sandbox1", "sandbox2"):
        assert hostler("sandbox", "faults", name, fault).code == 0
    if fault == "refuse":
        wait_until(lambda: running.err.count("refused") >= 2, what="both to be out")
    interrupted(running, times)
    assert hostler("sandbox", "faults", "sandbox1", "sandbox2", "clear").code == 0
    gone_on_with(hostler, effects, "abcd")


@TIMES
def test_while_nobody_reads_what_it_prints(hostler: Hostler, effects: Effects, times: int) -> None:
    ours, theirs = os.pipe()
    try:
        text = f"echo begun {{}} >> {effects}; head -c 300000 /dev/zero; echo done {{}} >> {effects}"
        words = ["batch", "--hosts", "@sandbox", "-j", "2", "--", text, ":::", *"abcdefgh"]
        running = hostler.start(*words, stdout=theirs)
        os.close(theirs)
        effects.wait(2, "done")
        assert os.read(ours, 10)  # it has begun to print, and its reader falls asleep

        def read() -> None:
            wait_until(lambda: "is not being read" in running.err, what="the reader to be waited for")
            while os.read(ours, 1 << 20):
                pass

        interrupted(running, times, help=read)
    finally:
        os.close(ours)
    gone_on_with(hostler, effects, "abcdefgh")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
@pytest.mark.slow
@TIMES
def test_while_its_disk_is_full(hostler: Hostler, effects: Effects, times: int) -> None:
    """It can't write down what has become of its jobs, and says so; whoever goes on asks their hosts."""
    state = hostler.folder / "state"
    state.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "hostler-test", str(state)]
    subprocess.run(words, check=True, timeout=20)
    try:
        running = hostler.start("batch", "--hosts", "@sandbox", "-j", "1", *effects.waiting(*"abcd"))
        effects.wait(2, "begun")
        with contextlib.ExitStack() as stack:
            stack.enter_context(filled(state))
            effects.go()
            wait_until(lambda: "make room on its disk" in running.err, what="the disk to be told of")
            interrupted(running, times, help=stack.close)
        gone_on_with(hostler, effects, "abcd")
    finally:
        subprocess.run(["umount", "-l", str(state)], check=True, timeout=20)
