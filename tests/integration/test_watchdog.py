"""There is no watchdog, and none is missed: what a frozen or killed controller leaves ends by itself, and is told of.

Hosts end their jobs when their lease is over, machines end when their fuse has burnt down, and every look at the runs
says which ones nobody works on.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import ALL, Effects, Hostler, survivors
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.lab import Lab, count_marked, wait_until

TOLD = "no sign of life for 10m"
LEASE = ("--on-disconnect", "lease=1")
LAUNCH = ("--launch", "2", "--provider", "sandbox")


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Hostler]:
    """A command on a machine without hosts; a run's hosts outlive its controller by a second."""
    with Lab() as lab:
        made = Hostler(tmp_path, lab, HOSTLER_SANDBOX_FUSE="1s")
        try:
            yield made
        finally:
            made.close()


def hosts(hostler: Hostler) -> list[str]:
    """The hosts that are there."""
    return [entry.name for entry in hostler.lab.registry.entries()]


@pytest.mark.parametrize("transport", ["asyncssh", pytest.param("openssh", marks=pytest.mark.slow)])
def test_hosts_end_the_jobs_of_a_frozen_controller_and_it_records_that_and_doubles_nothing_in_silence(
    hostler: Hostler, effects: Effects, transport: str
) -> None:
    given = ["--transport", transport, "-j", "2", *LEASE]
    running = hostler.start("batch", *ALL, *given, *effects.waiting(*"abcd"))
    effects.wait(4, "begun")
    uid = hostler.uid()
    running.signal(signal.SIGSTOP)
    wait_until(lambda: not survivors(uid), what="the end of what a frozen controller began")
    effects.go()
    running.signal(signal.SIGCONT)
    done = running.wait()
    assert done.code == 0, done.err
    made = hostler.json("log", "last")
    for job in range(1, 5):
        *before, last = [each for each in made if each["job"] == job]
        assert last["ending"] == "ok" and last["maybe_duplicated"], made
        # Who was ended is on record as ended; that it began again is said.
        assert before and {each["ending"] for each in before} <= {"interrupted", "lost", "revoked"}, made
    assert all(effects.counts[f"done {job}"] == 1 for job in "abcd")
    assert hostler.json("report", "last")["maybe_duplicated"] == 4


def test_nothing_of_a_killed_controller_s_run_survives_its_lease_and_every_look_says_that_it_is_left(
    hostler: Hostler, effects: Effects
) -> None:
    running = hostler.start("batch", *ALL, "-j", "1", *LEASE, *effects.waiting(*"abc"))
    effects.wait(2, "begun")
    uid = hostler.uid()
    running.kill()
    wait_until(lambda: not survivors(uid), what="the end of what a killed controller began")
    assert hostler.json("runs")[0]["alive"] is False
    assert "left" in hostler("runs").out.decode()
    assert "hostler batch --resume 1" in hostler("status", "last").out.decode()


def test_a_controller_that_shows_no_sign_of_life_is_told_of(hostler: Hostler, effects: Effects) -> None:
    running = hostler.start("batch", *ALL, "-j", "1", *effects.waiting("a"))
    effects.wait(1, "begun")
    assert hostler.json("runs")[0]["stalled"] is None
    running.signal(signal.SIGSTOP)
    long_ago = time.time() - 600
    os.utime(hostler.folder / "state" / "runs" / "1" / "lock", (long_ago, long_ago))
    assert hostler.json("runs")[0]["stalled"] >= 600
    assert "stalled" in hostler("runs").out.decode()
    told = hostler("status", "last").out.decode()
    assert TOLD in told and f"pid {running.process.pid}" in told
    assert "hostler batch --resume 1" in told
    follower = hostler.start("batch", "--resume", "last")
    waiting = hostler.start("wait", "last")
    wait_until(lambda: TOLD in follower.err, what="that who follows is told of it")
    wait_until(lambda: TOLD in waiting.err, what="that who waits is told of it")
    running.signal(signal.SIGCONT)
    effects.go()
    assert running.wait().code == follower.wait().code == waiting.wait().code == 0


def test_a_killed_controller_s_machines_end_by_their_fuse_with_all_that_runs_there(
    bare: Hostler, effects: Effects
) -> None:
    running = bare.start("batch", *LAUNCH, "-j", "1", *effects.waiting(*"ab"))
    effects.wait(2, "begun")
    assert len(hosts(bare)) == 2
    running.kill()
    wait_until(lambda: not hosts(bare), what="the end of machines that nobody answers for")
    assert count_marked(f"HOSTLER_SANDBOX_DIR={bare.lab.path}") == 0


@pytest.mark.slow
def test_a_frozen_controller_s_machines_end_by_their_fuse_too_and_it_goes_on_with_others(
    bare: Hostler, effects: Effects
) -> None:
    running = bare.start("batch", *LAUNCH, "-j", "1", *LEASE, *effects.waiting(*"ab"))
    effects.wait(2, "begun")
    running.signal(signal.SIGSTOP)
    wait_until(lambda: not hosts(bare), what="the end of machines that nobody answers for")
    running.signal(signal.SIGCONT)
    done = running.wait()
    assert done.code == 4, done.err
    effects.go()
    resumed = bare("batch", "--resume", "last", *LAUNCH)
    assert resumed.code == 0, resumed.err
    assert all(effects.counts[f"done {job}"] == 1 for job in "ab")


def test_reap_ends_them_sooner_and_says_what_it_ended(bare: Hostler, effects: Effects) -> None:
    running = bare.start("batch", *LAUNCH, *effects.waiting("a"), env={"HOSTLER_SANDBOX_FUSE": "1h"})
    effects.wait(1, "begun")
    names = hosts(bare)
    running.kill()
    reaped = bare("reap")
    assert reaped.code == 0, reaped.err
    assert all(name in reaped.out.decode() + reaped.err for name in names)
    assert not hosts(bare)
    assert count_marked(f"HOSTLER_SANDBOX_DIR={bare.lab.path}") == 0


@pytest.mark.slow
def test_machines_of_a_living_controller_outlast_their_fuse_by_far(bare: Hostler, effects: Effects) -> None:
    running = bare.start("batch", *LAUNCH, "-j", "1", *effects.waiting(*"ab"))
    effects.wait(2, "begun")
    time.sleep(
        6
    )  # twice as often as a keeper looks, and several fuses: what is to be seen is that nothing happens
    effects.go()
    done = running.wait()
    assert done.code == 0, done.err
    assert all(effects.counts[f"begun {job}"] == 1 for job in "ab")
