"""The exit codes that scripts rely on: the worst over jobs, never over hosts."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.command import ALL, Effects, Hostler
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler

# 130 and 143 stand in test_batch_signals.py; 2 in test_batch_bad_input.py; 4 there and in test_batch_hosts_dying.py.


def waiting(effects: Effects) -> str:
    """A job that says that it is there, and waits for a word."""
    return f"echo {{}} >> {effects}; while [ ! -e {effects}.go ]; do sleep 0.1; done"


def test_0_when_every_job_ended_well_however_many_hosts_failed(hostler: Hostler) -> None:
    done = hostler("batch", "--hosts", "sandbox1,no-such-host.invalid", "--", "true", ":::", "a", "b")
    assert done.code == 0, done.err
    assert "no-such-host.invalid" in done.err


def test_1_when_some_failed_whatever_their_own_code_was(hostler: Hostler) -> None:
    done = hostler("batch", *ALL, "--", "sh", "-c", 'exit "$1"', "-", "{}", ":::", "0", "4", "130", "255")
    assert done.code == 1
    assert "1 ok, 3 failed" in done.err
    killed = hostler("batch", *ALL, "--", "sh", "-c", "kill -9 $$", ":::", "a")
    assert killed.code == 1 and "SIGKILL" in killed.err


def test_3_when_some_timed_out_even_if_others_failed(hostler: Hostler) -> None:
    done = hostler("batch", *ALL, "--timeout", "1", "--", "sh", "-c", "test $1 = a || sleep 60; false", "-", "{}",
                   ":::", "a", "b")  # fmt: skip
    assert done.code == 3
    assert "1 failed, 1 timed out" in done.err


def test_4_when_jobs_could_not_run_even_if_others_failed(hostler: Hostler) -> None:
    done = hostler("batch", "--hosts", "no-such-host.invalid", "--", "false", ":::", "a")
    assert done.code == 4


def test_6_when_another_controller_takes_the_run_over(hostler: Hostler, effects: Effects) -> None:
    running = hostler.start("batch", *ALL, "--", waiting(effects),
                            ":::", "a")  # fmt: skip
    effects.wait(1)
    with sqlite3.connect(hostler.folder / "state" / "store.db") as db:
        db.execute("UPDATE run SET epoch = epoch + 1")
    db.close()
    Path(f"{effects}.go").touch()
    done = running.wait()
    assert done.code == 6, done.err
    assert "Traceback" not in done.err and "run 1" in done.err


def test_6_when_the_store_is_no_store(hostler: Hostler) -> None:
    state = hostler.folder / "state"
    state.mkdir(mode=0o700)
    (state / "store.db").write_text("not a database at all, whatever its name says\n" * 100)
    hostler("batch", *ALL, "--", "true", ":::", "a").refused("store.db", code=6)
    hostler("runs").refused("store.db", code=6)


def test_6_when_the_store_breaks_under_a_run_which_can_be_gone_on_with(
    hostler: Hostler, effects: Effects
) -> None:
    running = hostler.start("batch", *ALL, "-j", "1", "--", waiting(effects),
                            ":::", *"abcd")  # fmt: skip
    effects.wait(2)
    with sqlite3.connect(hostler.folder / "state" / "store.db") as db:
        db.execute(
            "CREATE TRIGGER broken BEFORE UPDATE ON attempt BEGIN SELECT RAISE(ABORT, 'broken for a test'); END"
        )
    db.close()
    Path(f"{effects}.go").touch()
    done = running.wait()
    assert done.code == 6, done.err
    assert "hostler batch --resume 1" in done.err and "Traceback" not in done.err
    with sqlite3.connect(hostler.folder / "state" / "store.db") as db:
        db.execute("DROP TRIGGER broken")
    db.close()
    resumed = hostler("batch", "--resume", "1")
    assert resumed.code == 0, resumed.err
    assert effects.counts == dict.fromkeys("abcd", 1)
