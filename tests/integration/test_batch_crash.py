"""The crash loop: the controller is killed again and again, lines are cut, and each job is done once all the same."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3

import pytest

from tests.command import ALL, Effects, Hostler, sessions
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.lab import Lab

JOBS, KILLS = 400, 8


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2])
def test_eight_kills_of_the_controller_and_each_job_is_done_once(
    hostler: Hostler, effects: Effects, ground: Lab, seed: int
) -> None:
    chance = random.Random(seed)
    text = 'echo "$2" >> "$1"; sleep 0.$((20 + $2 % 17)); echo "$2"'
    numbers = "".join(f"{number}\n" for number in range(1, JOBS + 1)).encode()
    running = hostler.start(
        "batch", *ALL, "-j", "4", "--", "sh", "-c", text, "-", str(effects), "{}", stdin=numbers
    )
    for kill in range(KILLS):
        # By what is done, not by the clock: on a slow machine the kills fall as deep into the run. Now and then
        # right at the start of a controller, before it has reached a host.
        target = (kill + chance.random()) * JOBS / (KILLS + 1)
        if kill != 3:
            effects.wait(int(target), seconds=60)
        with contextlib.suppress(OSError):
            if kill in (1, 4, 6):
                for pid in sessions(ground, ground.shared(2)[kill % 2]):
                    os.kill(pid, signal.SIGKILL)
        assert running.process.poll() is None, running.err
        running.kill()
        running = hostler.start("batch", "--resume", "last")
    done = running.wait()
    assert done.code == 0, done.err
    assert effects.counts == {str(number): 1 for number in range(1, JOBS + 1)}
    with contextlib.closing(sqlite3.connect(hostler.folder / "state" / "store.db")) as db:
        assert db.execute("SELECT state, count(*) FROM job GROUP BY state").fetchall() == [(2, JOBS)]
        assert db.execute("SELECT count(*) FROM attempt WHERE ending = 'ok'").fetchone() == (JOBS,)
        epoch, state = db.execute("SELECT epoch, state FROM run").fetchone()
        assert (
            state == "finished" and KILLS // 2 < epoch <= KILLS + 1
        )  # some are killed before they have the run
    for number in (1, JOBS // 2, JOBS):
        assert hostler("log", "last", str(number), "--stdout").out == f"{number}\n".encode()
