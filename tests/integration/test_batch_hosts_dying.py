"""Hosts and lines that die while jobs run: the others do the work, and nothing is called well that isn't."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import ALL, Effects, Hostler, sessions
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.door import Door, inventory
from tests.lab import Lab, wait_until

#: Given up soon after it is gone.
LEASE = ("--on-disconnect", "lease=1")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Hostler]:
    """A command with two hosts of its own, which the test may end."""
    with Lab() as lab:
        lab.shared(2)
        made = Hostler(tmp_path, lab)
        try:
            yield made
        finally:
            made.close()


@pytest.mark.slow
def test_jobs_of_a_host_that_dies_go_to_the_other(own: Hostler, effects: Effects) -> None:
    running = own.start("batch", *ALL, "-j", "2", *LEASE, *effects.waiting(*"abcdef"))
    effects.wait(4, "begun")
    own.lab.end(own.lab.shared(2)[0])
    effects.go()
    done = running.wait()
    assert done.code == 0, done.err
    assert all(effects.counts[f"done {job}"] >= 1 for job in "abcdef")
    assert "sandbox1" in done.err and "6 ok" in done.err
    endings = {each["ending"] for each in own.json("log", "last") if each["host"] == "sandbox1"}
    assert "lost" in endings


@pytest.mark.slow
def test_all_hosts_dying_ends_the_run_with_its_jobs_waiting(own: Hostler, effects: Effects) -> None:
    running = own.start("batch", *ALL, "-j", "1", *LEASE, *effects.waiting(*"abcd"))
    effects.wait(2, "begun")
    own.lab.end(*own.lab.shared(2))
    done = running.wait(90)
    assert done.code == 4, done.err
    assert "4 not run" in done.err and "hostler batch --resume 1" in done.err
    assert all(f"sandbox{number}: connection refused" in done.err for number in (1, 2))


def test_cut_lines_cost_no_job_and_repeat_none(hostler: Hostler, ground: Lab, effects: Effects) -> None:
    text = f"echo {{}} >> {effects}; sleep 0.05; echo {{}}"
    running = hostler.start("batch", *ALL, "-j", "2", "--", text, ":::", *map(str, range(120)))
    for count in (10, 60):
        effects.wait(count)
        for host in ground.shared(2):
            for pid in sessions(ground, host):
                os.kill(pid, signal.SIGKILL)
    done = running.wait()
    assert done.code == 0, done.err
    assert effects.counts == {str(number): 1 for number in range(120)}
    assert sorted(done.lines, key=int) == [str(number) for number in range(120)]


@pytest.mark.slow  # three keepalives must stay unanswered
def test_a_line_on_which_nothing_is_heard_any_more_is_given_up_and_its_jobs_go_on(
    hostler: Hostler, ground: Lab, effects: Effects
) -> None:
    with Door(ground.shared(2)[0]) as door:
        (hostler.folder / "doors.yaml").write_text(inventory(door))
        running = hostler.start("batch", "-i", "doors.yaml", "-j", "2", *effects.waiting(*"abcd"))
        effects.wait(2, "begun")
        door.frozen.set()
        wait_until(lambda: door.comers >= 2, seconds=80, what="somebody to notice")
        door.frozen.clear()
        effects.go()
        done = running.wait()
    assert done.code == 0, done.err
    assert effects.counts == {f"{word} {job}": 1 for word in ("begun", "done") for job in "abcd"}


def test_a_host_whose_logins_are_being_mended_is_called_again_and_keeps_its_jobs(
    own: Hostler, effects: Effects
) -> None:
    running = own.start("batch", *ALL, "-j", "2", *effects.waiting(*"abcdef"))
    effects.wait(4, "begun")
    assert own("sandbox", "faults", "sandbox1", "no-python").code == 0
    login = own.lab.path / own.lab.id(own.lab.shared(2)[0]) / "login"
    assert login.exists()
    login.write_text("echo 'half of a login' >&2; exit 2\n")
    wait_until(lambda: "half of a login" in running.err)
    assert own("sandbox", "faults", "sandbox1", "clear").code == 0
    effects.go()
    done = running.wait()
    assert done.code == 0, done.err
    assert effects.counts == {f"{what} {job}": 1 for job in "abcdef" for what in ("begun", "done")}
