"""Fan-outs that are stopped, killed and cut off: what ran is ended on its host, nothing is left, and it is told so."""

from __future__ import annotations

import os
import pty
import signal
import time

import pytest

from tests.command import PROGRAM, Effects, Hostler, sessions, survivors
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.door import Door
from tests.lab import Lab, wait_until

#: Long: `make test-all` tries these, `make test` what the shorter modules hold of the same.
pytestmark = pytest.mark.slow

BOTH, ONE = "@sandbox", "sandbox1"
#: A command that does all that it can to go on: it heeds no TERM, and has a child in a session of its own.
STUBBORN = "trap '' TERM HUP; echo begun >> {0}; setsid sleep 600 & sleep 600; echo done >> {0}"


def none_left(hostler: Hostler, *, seconds: float = 30.0) -> None:
    """Wait until nothing of the newest run lives on a host."""
    uid = hostler.uid()
    wait_until(lambda: not survivors(uid), seconds=seconds, what=f"no survivors; there are {survivors(uid)}")


def test_ctrl_c_ends_what_runs_says_for_whom_it_waits_and_leaves_the_rest(
    hostler: Hostler, effects: Effects
) -> None:
    running = hostler.start("run", BOTH, "--forks", "1", "--", STUBBORN.format(effects))
    effects.wait(1, "begun")
    running.signal(signal.SIGINT)
    done = running.wait()
    assert done.code == 130
    assert "SIGINT: ending what runs (1 still running: sandbox1; 1 have not begun)" in done.err
    assert done.err.splitlines()[-3:-1] == ["sandbox1: interrupted", "sandbox2: not run"]
    assert survivors(hostler.uid()) == {} and effects.lines == ["begun"]
    # No ladder is climbed for less: a command that ends at once is told as soon.
    resumed = hostler.start("run", "--resume", "last")
    effects.wait(2, "begun")
    resumed.signal(signal.SIGTERM)
    assert resumed.wait().code == 143 and survivors(hostler.uid()) == {}


def test_a_second_ctrl_c_leaves_at_once_and_hosts_end_the_rest(hostler: Hostler, effects: Effects) -> None:
    running = hostler.start("run", ONE, "--", STUBBORN.format(effects))
    effects.wait(1, "begun")
    running.signal(signal.SIGINT)
    wait_until(lambda: "once more leaves at once" in running.err)
    began = time.monotonic()
    running.signal(signal.SIGINT)
    done = running.wait()
    assert done.code == 130 and time.monotonic() - began < 20
    assert "left run 1 as it stands" in done.err
    none_left(hostler)


def test_nothing_runs_on_hosts_when_the_controller_was_killed(hostler: Hostler, effects: Effects) -> None:
    running = hostler.start("run", BOTH, "--", STUBBORN.format(effects))
    effects.wait(2, "begun")
    running.kill()
    none_left(hostler)
    assert "done" not in effects.counts
    done = hostler("run", "--resume", "last")
    assert done.code == 4 and "run 1: 2 lost" in done.err, done.err
    assert effects.counts == {"begun": 2}


def test_a_line_that_breaks_is_a_command_lost_and_ended(
    hostler: Hostler, effects: Effects, ground: Lab
) -> None:
    with Door(ground.shared(1)[0]) as door:
        (hostler.folder / "hosts.yaml").write_text("hosts:\n" + door.sheet())
        running = hostler.start("run", "door", "-i", "hosts.yaml", "--", STUBBORN.format(effects))
        effects.wait(1, "begun")
        door.slam()
        done = running.wait()
        assert done.code in (3, 4) and done.err.splitlines()[0].startswith(
            ("door: lost", "door: interrupted")
        )
        none_left(hostler)
    assert effects.lines == ["begun"]


def test_an_sshd_that_dies_takes_its_command_with_it(hostler: Hostler, effects: Effects, ground: Lab) -> None:
    running = hostler.start("run", ONE, "--", STUBBORN.format(effects))
    effects.wait(1, "begun")
    for pid in sessions(ground, ground.shared(2)[0]):
        os.kill(pid, signal.SIGKILL)
    assert running.wait().code in (3, 4)
    none_left(hostler)


def test_a_run_is_stopped_from_elsewhere(hostler: Hostler, effects: Effects) -> None:
    running = hostler.start("run", BOTH, "--", STUBBORN.format(effects))
    effects.wait(2, "begun")
    assert hostler("stop", "last").code == 0
    done = running.wait()
    assert done.code == 143 and done.err.splitlines()[-2] == "sandbox[1-2]: interrupted"
    assert survivors(hostler.uid()) == {}


def test_a_stop_reaches_hosts_whose_controller_is_dead(hostler: Hostler, effects: Effects) -> None:
    running = hostler.start("run", ONE, "--", STUBBORN.format(effects))
    effects.wait(1, "begun")
    running.kill()
    done = hostler("stop", "last")
    assert done.code == 0, done.err
    assert survivors(hostler.uid()) == {}


def test_a_paused_run_begins_nothing_until_it_goes_on(hostler: Hostler, effects: Effects) -> None:
    running = hostler.start(
        "run", BOTH, "--forks", "1", "--",
        f"echo begun $HOSTLER_HOST >> {effects}; while [ ! -e {effects}.go ]; do sleep 0.1; done",
    )  # fmt: skip
    effects.wait(1, "begun")
    assert hostler("pause", "last").code == 0
    effects.go()
    wait_until(lambda: hostler.json("status", "last")["counts"] == {"ok": 1, "queued": 1})
    assert effects.lines == ["begun sandbox1"]
    assert hostler("unpause", "last").code == 0
    assert running.wait().code == 0 and effects.lines == ["begun sandbox1", "begun sandbox2"]


def test_with_a_lease_what_was_begun_goes_on_without_us(hostler: Hostler, effects: Effects) -> None:
    words = ("--on-disconnect", "lease=60s")
    running = hostler.start(
        "run", ONE, *words, "--",
        f"echo begun >> {effects}; while [ ! -e {effects}.go ]; do sleep 0.1; done; echo end",
    )  # fmt: skip
    effects.wait(1, "begun")
    running.kill()
    effects.go()
    done = hostler("run", "--resume", "last")
    assert (done.code, done.out, effects.lines) == (0, b"sandbox1 | end\n", ["begun"]), done.err


def test_enter_shows_who_still_runs(hostler: Hostler, effects: Effects) -> None:
    pid, fd = pty.fork()
    if pid == 0:
        words = [
            str(PROGRAM),
            "run",
            BOTH,
            "--",
            f"echo begun >> {effects}; test $HOSTLER_JOB = 1 || sleep 600",
        ]
        os.chdir(hostler.folder)
        os.execve(PROGRAM, words, {**hostler.env, "TERM": "xterm"})
    seen = bytearray()

    def read(word: bytes) -> None:
        while word not in seen:
            seen.extend(os.read(fd, 65536))

    effects.wait(2, "begun")
    wait_until(lambda: hostler.json("status", "last")["counts"].get("ok") == 1)
    os.write(fd, b"\n")
    read(b"1 still running: sandbox2")
    os.write(fd, b"\x03")
    read(b"once more leaves at once")
    read(b"run 1: 1 ok, 1 interrupted")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    os.close(fd)


def test_more_hosts_than_descriptors(hostler: Hostler, ground: Lab) -> None:
    doors = [Door(ground.shared(1)[0]) for _ in range(24)]
    try:
        (hostler.folder / "hosts.yaml").write_text(
            "hosts:\n" + "".join(door.sheet(f"d{number}") for number, door in enumerate(doors))
        )
        hostler.within = ("sh", "-c", 'ulimit -n 28; exec "$@"', "-")
        done = hostler("run", "d[0-23]", "-i", "hosts.yaml", "-f", "4", "--", "echo $HOSTLER_HOST")
        assert done.code == 0, done.err
        assert sorted(line.split(" | ")[1] for line in done.lines) == sorted(f"d{n}" for n in range(24))
    finally:
        for door in doors:
            door.shut()
