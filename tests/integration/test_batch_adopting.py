"""A run taken up long after its controller died: what its hosts did meanwhile is found, whatever the clock says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.command import ALL, Done, Effects, Hostler, survivors
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.lab import wait_until

#: hostler on a machine whose clocks are so many seconds ahead of where they were when it was last used.
LATER = """
import sys, time
from hostler import clock

ahead = float(sys.argv.pop(1))
clock.SystemClock.now = lambda self: time.time() + ahead
clock.SystemClock.steady = lambda self: time.monotonic() + ahead
from hostler.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def later(hostler: Hostler, seconds: float, *words: str) -> Done:
    """Run a command so many seconds later, as its own clocks have it."""
    paths = os.pathsep.join(path for path in sys.path if path)
    answer = subprocess.run(
        [sys.executable, "-c", LATER, str(seconds), *words],
        env={**hostler.env, "PYTHONPATH": paths},
        cwd=hostler.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Done(code=answer.returncode, out=answer.stdout, err=answer.stderr.decode())


def test_a_detached_batch_is_adopted_an_hour_after_its_controller_died(
    hostler: Hostler, effects: Effects
) -> None:
    running = hostler.start("batch", *ALL, "-j", "1", "--on-disconnect", "detach", *effects.waiting(*"abcd"))
    effects.wait(2, "begun")
    running.kill()
    uid = hostler.uid()
    effects.go()
    wait_until(lambda: not survivors(uid), what="what was sent to be done with nobody there")
    alone = len([line for line in effects.lines if line.startswith("done")])
    assert alone >= 2
    resumed = later(hostler, 3600.0, "batch", "--resume", "last")
    assert resumed.code == 0, resumed.err
    assert effects.counts == {f"{word} {job}": 1 for word in ("begun", "done") for job in "abcd"}
    assert sorted(resumed.lines) == [*"abcd"]
    assert all(each["attempt"] == 1 and each["ending"] == "ok" for each in hostler.json("log", "last"))


@pytest.mark.slow
def test_a_detached_batch_still_at_work_is_followed_by_who_adopts_it(
    hostler: Hostler, effects: Effects
) -> None:
    first = hostler.start("batch", *ALL, "-j", "1", "--on-disconnect", "detach", *effects.waiting("a", "b"))
    effects.wait(2, "begun")
    first.kill()
    assert len(survivors(hostler.uid())) >= 2
    effects.go()
    resumed = later(hostler, 86_400.0, "batch", "--resume", "last")
    assert (resumed.code, sorted(resumed.lines)) == (0, ["a", "b"]), resumed.err


@pytest.mark.slow
def test_a_lease_that_ended_meanwhile_is_told_and_its_job_marked_as_maybe_repeated(
    hostler: Hostler, effects: Effects
) -> None:
    running = hostler.start(
        "batch", "--hosts", "sandbox1", "-j", "1", "--on-disconnect", "lease=2s", *effects.waiting("a", "b")
    )
    effects.wait(1, "begun")
    uid = hostler.uid()
    running.kill()
    wait_until(lambda: not survivors(uid), what="the lease to end what ran")
    effects.go()
    resumed = later(hostler, 3600.0, "batch", "--resume", "last")
    assert resumed.code == 0, resumed.err
    assert effects.counts == {"begun a": 2, "done a": 1, "begun b": 1, "done b": 1}
    told = [(each["job"], each["attempt"], each["ending"]) for each in hostler.json("log", "last")]
    assert told == [(1, 1, "interrupted"), (1, 2, "ok"), (2, 1, "ok")]
    assert [each["maybe_duplicated"] for each in hostler.json("log", "last")] == [False, True, False]
    assert "1 job may have had its effects twice (job 1)" in resumed.err


@pytest.mark.slow
def test_int_ends_a_detached_batch_all_the_same(hostler: Hostler, effects: Effects) -> None:
    running = hostler.start("batch", *ALL, "-j", "1", "--on-disconnect", "detach", *effects.waiting("a", "b"))
    effects.wait(2, "begun")
    running.signal(signal.SIGINT)
    assert running.wait().code == 130
    assert not survivors(hostler.uid())
