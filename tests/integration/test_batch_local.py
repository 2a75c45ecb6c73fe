"""`hostler batch` on this machine without SSH: the same promises, whatever becomes of the controller."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.command import ALL, Effects, Hostler, survivors
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.lab import wait_until


@pytest.fixture
def here(tmp_path: Path) -> list[str]:
    """The words that name this machine, with a spool of the test's own."""
    spool = tmp_path / "base"
    spool.mkdir(mode=0o700)
    sheet = tmp_path / "here.yaml"
    sheet.write_text(
        f"hosts:\n  here: {{address: localhost, slots: 2, vars: {{transport: local, spool: {spool}}}}}\n"
    )
    return ["-i", str(sheet)]


def test_jobs_run_without_ssh(hostler: Hostler, here: list[str], tmp_path: Path) -> None:
    done = hostler("batch", *here, "--", "echo", "hello", ":::", *"abc")
    assert done.code == 0, done.err
    assert sorted(done.lines) == ["hello a", "hello b", "hello c"]
    wait_until(lambda: not [*(tmp_path / "base" / "hostler").glob("*/*/*")], what="the spool is swept")


def test_hosts_that_only_ssh_can_reach_are_refused_before_anything_is_begun(hostler: Hostler) -> None:
    for hosts in (ALL, ("--launch", "1", "--provider", "sandbox"), ("--hosts", "nobody-else@localhost")):
        hostler("batch", *hosts, "--transport", "local", "--", "echo", ":::", "a").refused(
            "--transport local"
        )
    assert hostler.json("runs") == []


def test_a_run_on_hosts_that_only_ssh_can_reach_does_not_go_on_without_it(hostler: Hostler) -> None:
    assert hostler("batch", *ALL, "--", "false", ":::", "a").code == 1
    hostler("batch", "--retry", "last", "--transport", "local").refused("--transport local: sandbox1:")
    assert hostler.json("status", "last")["counts"] == {"failed": 1}


def test_jobs_of_this_machine_do_not_find_a_secret_that_we_were_given(
    hostler: Hostler, here: list[str]
) -> None:
    words = ("--ssh-password", "env:WORD", "--key-passphrase", "env:WORD", "--", "env", ":::")
    done = hostler("batch", *here, *words, "A=1", WORD="hunter2", OTHER="x")
    assert done.code == 0 and b"OTHER=x" in done.out and b"hunter2" not in done.out, done.err


def test_a_killed_controller_leaves_its_jobs_alone_and_the_next_one_takes_them_over(
    hostler: Hostler, here: list[str], effects: Effects
) -> None:
    running = hostler.start("batch", *here, *effects.waiting("a", "b", "c"))
    effects.wait(2, "begun")
    running.kill()
    effects.go()
    effects.wait(2, "done")
    done = hostler("batch", "--resume", "last")
    assert done.code == 0, done.err
    assert effects.counts == {f"{word} {job}": 1 for word in ("begun", "done") for job in "abc"}


def test_control_c_ends_the_jobs_of_this_machine(hostler: Hostler, here: list[str], effects: Effects) -> None:
    running = hostler.start("batch", *here, *effects.waiting("a", "b", "c"))
    effects.wait(2, "begun")
    running.signal(signal.SIGINT)
    assert running.wait().code == 130
    assert survivors(hostler.uid()) == {}


def test_another_machine_is_not_taken_for_this_one(hostler: Hostler, tmp_path: Path) -> None:
    sheet = tmp_path / "far.yaml"
    sheet.write_text("hosts:\n  far: {address: 192.0.2.7, vars: {transport: local}}\n")
    done = hostler("batch", "-i", str(sheet), "--", "true", ":::", "a")
    assert done.code == 4 and "192.0.2.7 is not this machine" in done.err


def test_a_way_that_is_not_there_is_named_with_those_that_are(hostler: Hostler, tmp_path: Path) -> None:
    sheet = tmp_path / "odd.yaml"
    sheet.write_text("hosts:\n  odd: {address: localhost, vars: {transport: pigeon}}\n")
    done = hostler("batch", "-i", str(sheet), "--", "true", ":::", "a")
    assert done.code == 4 and "transport 'pigeon': there is asyncssh, local" in done.err


def test_a_second_name_for_a_host_of_the_run_may_not_join_it(
    hostler: Hostler, here: list[str], effects: Effects, tmp_path: Path
) -> None:
    running = hostler.start("batch", *here, *effects.waiting("a", "b"))
    effects.wait(2, "begun")
    twin = tmp_path / "twin.yaml"
    twin.write_text("hosts:\n  twin: {address: localhost, vars: {transport: local}}\n")
    places = (f"twin ({twin}:2)", f"here ({tmp_path}/here.yaml:2)", "one endpoint")
    hostler("add", "last", "-i", str(twin)).refused(*places)
    running.kill()
    hostler("batch", "--resume", "last", "-i", str(twin)).refused(*places)
    effects.go()
    assert hostler("batch", "--resume", "last", *here).code == 0
