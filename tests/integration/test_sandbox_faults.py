"""`hostler sandbox faults` as typed: what each fault does to a host, what becomes of a batch there, and its end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostler.model.hosts import Host
from hostler.providers.sandbox_faults import FAULTS, standing
from tests.command import Effects, Hostler, survivors
from tests.command import effects as effects
from tests.integration.test_sandbox_commands import plain as plain
from tests.integration.test_sandbox_commands import python_for
from tests.lab import Lab, count_marked, wait_until
from tests.lab import fresh_lab as fresh_lab

NAMES = [each.name for each in FAULTS]
#: What happens once and is over, or ends what ran: their jobs begin again.
DEADLY = ("kill-runner", "reboot", "wipe")
#: Faults under which what runs on the host goes on.
WORKING = ("refuse", "silent", "reset", "slow", "cut", "freeze-runner", "chatty", "no-python")


@pytest.fixture(scope="module")
def place() -> Iterator[Lab]:
    """One host for all tests of this file that clear what they gave it."""
    with Lab() as lab:
        lab.shared(1)
        yield lab


@pytest.fixture
def hostler(tmp_path: Path, place: Lab) -> Iterator[Hostler]:
    """The command, for one test; the host is sound again behind it."""
    made = Hostler(tmp_path, place)
    try:
        yield made
    finally:
        made.close()
        assert made("sandbox", "faults", "sandbox1", "clear").code == 0


def given(hostler: Hostler, name: str, *more: str) -> Host:
    """The host, with this fault."""
    done = hostler("sandbox", "faults", "sandbox1", name, *more)
    assert done.code == 0 and done.out == b"", done.err
    assert f"sandbox1: {name}" in done.err
    return hostler.lab.shared(1)[0]


def banner(host: Host, *, seconds: float = 20.0) -> bytes:
    """What a host says first. Raises OSError."""
    with socket.create_connection((host.address, host.port or 22), timeout=seconds) as line:
        return line.recv(4)


# -- what each does -----------------------------------------------------------------------------------------------


def test_the_list_names_every_fault_and_what_happens(hostler: Hostler) -> None:
    for words in ((), ("list",)):
        done = hostler("sandbox", "faults", *words)
        assert done.code == 0
        said = [line.split()[0] for line in done.lines[1:]]
        assert said == NAMES


def test_refused_and_reset_and_unanswered_are_three_things(hostler: Hostler) -> None:
    host = given(hostler, "refuse")
    with pytest.raises(ConnectionRefusedError):
        banner(host)
    given(hostler, "reset")
    with pytest.raises(ConnectionResetError):
        banner(host)
    given(hostler, "silent")
    with pytest.raises(TimeoutError):  # the first packet of it is not answered
        socket.create_connection((host.address, host.port or 22), timeout=0.5)
    hostler("sandbox", "faults", "sandbox1", "clear")
    assert banner(host) == b"SSH-"


@pytest.mark.slow
def test_a_slow_host_answers_late_and_a_frozen_one_does_not(hostler: Hostler, place: Lab) -> None:
    host = given(hostler, "slow")
    began = time.monotonic()
    assert banner(host) == b"SSH-"
    assert time.monotonic() - began >= 0.2
    assert place.run(host, "cat", stdin=bytes(300_000)).stdout == bytes(300_000)
    given(hostler, "freeze")
    with pytest.raises(TimeoutError):
        banner(host, seconds=0.5)
    hostler("sandbox", "faults", "sandbox1", "clear")
    assert banner(host) == b"SSH-"


@pytest.mark.slow
def test_logins_are_chatty_or_find_no_python_and_commands_are_what_they_were(
    hostler: Hostler, place: Lab
) -> None:
    host = given(hostler, "chatty")
    done = place.run(host, "echo 'x y'; cat; exit 7", stdin=b"in\n")
    assert done.returncode == 7
    assert (
        done.stdout.startswith(b"Welcome") and done.stdout.endswith(b"\x80x y\nin\n") and b"\0" in done.stdout
    )
    assert done.stderr.startswith(b"Welcome")
    where = shutil.which("python3")
    assert where is not None
    (place.home / ".bashrc").write_text(f"PATH={Path(where).parent}:$PATH\n")  # as many people's do
    given(hostler, "no-python")
    done = place.run(host, "command -v python3; command -v sh; echo ${SSH_ORIGINAL_COMMAND-none}")
    assert b"python" not in done.stdout and done.stdout.endswith(b"/sh\nnone\n")
    ran = hostler("batch", "--hosts", "sandbox1", "--", "echo", ":::", "a")
    assert ran.lines == ["a"] and "no python3 of 3.6 or later" in ran.err
    hostler("sandbox", "faults", "sandbox1", "clear")
    (place.home / ".bashrc").unlink()
    assert place.run(host, "command -v python3").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reboot", "wipe"])
def test_a_rebooted_host_has_nothing_of_before_and_is_back_by_itself(
    hostler: Hostler, place: Lab, name: str
) -> None:
    host = place.shared(1)[0]
    spool = Path(dict(host.vars)["spool"])
    (spool / "mine").mkdir()
    assert place.run(host, "setsid sleep 1000 </dev/null >/dev/null 2>&1 &").returncode == 0
    wait_until(lambda: count_marked(place.mark(host)))
    given(hostler, name, "--for", "1")
    wait_until(lambda: not count_marked(place.mark(host)), what="the end of its second")
    assert hostler.json("sandbox", "list")[0]["fault"] is None
    assert banner(host) == b"SSH-"
    assert (spool / "mine").exists() == (name == "reboot")
    shutil.rmtree(spool / "mine", ignore_errors=True)


@pytest.mark.slow
def test_one_fault_takes_the_place_of_another_and_clear_can_be_said_twice(hostler: Hostler) -> None:
    given(hostler, "refuse", "--for", "2h")
    told = hostler.json("sandbox", "list")[0]
    assert told["fault"] == "refuse" and 7000 < told["fault_until"] - time.time() <= 7200
    assert re.search("refuse, (1h59m|2h00m) left", hostler("sandbox", "list").out.decode())
    given(hostler, "freeze")
    told = hostler.json("sandbox", "list")[0]
    assert told["fault"] == "freeze" and told["fault_until"] is None
    for said in ("sandbox1: freeze cleared", "sandbox1: had no fault"):
        done = hostler("sandbox", "faults", "sandbox1", "clear")
        assert done.code == 0 and said in done.err
    assert hostler.json("sandbox", "list")[0]["fault"] is None


def test_words_that_make_no_sense_are_refused_and_change_nothing(hostler: Hostler) -> None:
    faults = ("sandbox", "faults")
    hostler(*faults, "sandbox1", "nosuch").refused("nosuch: no such fault", "silent")
    hostler(*faults, "nosuch", "silent").refused("nosuch: no such sandbox host")
    hostler(*faults, "sandbox1", "cut", "--for", "3s").refused("--for 3s", "cut")
    hostler(*faults, "sandbox1", "clear", "--for", "3s").refused("--for 3s", "clear")
    hostler(*faults, "sandbox1", "silent", "--for", "soon").refused("--for", "soon")
    hostler(*faults, "list", "--for", "3s").refused("--for")
    hostler(*faults, "silent").refused("silent: say which host")
    hostler(*faults, "sandbox1", "kill-runner").refused("sandbox1: no runner is there")
    hostler(*faults, "sandbox1", "freeze-runner").refused("sandbox1: no runner is there")
    assert hostler.json("sandbox", "list")[0]["fault"] is None


# -- what holds a fault -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["silent", *(pytest.param(n, marks=pytest.mark.slow) for n in ("freeze", "reset"))]
)
def test_a_host_with_a_fault_is_ended_with_all_that_holds_it(
    fresh_lab: Lab, tmp_path: Path, name: str
) -> None:
    [host] = fresh_lab.shared(1)
    hostler, mark = Hostler(tmp_path, fresh_lab), fresh_lab.mark(host)
    given(hostler, name)
    assert count_marked(mark) >= 1
    assert hostler("sandbox", "down").code == 0
    assert count_marked(mark) == 0
    assert fresh_lab.registry.entries() == []


def test_a_fault_whose_holder_was_killed_is_cleared_all_the_same(hostler: Hostler, place: Lab) -> None:
    host = given(hostler, "reset")
    folder = next(entry.folder for entry in place.registry.entries())
    state = standing(folder)
    assert state and state.attendant
    os.kill(state.attendant.pid, signal.SIGKILL)
    assert "reset cleared" in hostler("sandbox", "faults", "sandbox1", "clear").err
    assert banner(host) == b"SSH-"
    assert standing(folder) is None
    left = {path.name for path in folder.iterdir()}
    assert not {name for name in left if "sound" in name or name in ("fault.json", "tools", "login")}


@pytest.mark.slow
def test_asyncssh_servers_take_what_needs_no_sshd_and_refuse_the_rest(tmp_path: Path) -> None:
    with Lab(server="asyncssh") as lab:
        [host] = lab.shared(1)
        hostler = Hostler(tmp_path, lab)
        hostler("sandbox", "faults", "sandbox1", "silent").refused("sandbox1: has an AsyncSSH server", "sshd")
        given(hostler, "freeze")
        with pytest.raises(TimeoutError):
            banner(host, seconds=0.5)
        hostler("sandbox", "faults", "sandbox1", "clear")
        assert banner(host) == b"SSH-"


@pytest.mark.slow
def test_a_plain_user_rehearses_without_any_rights(plain: tuple[list[str], Path]) -> None:
    """Every fault that needs no run, given and cleared by one who may do nothing else."""
    become, place = plain
    python, environment = python_for(become, place)

    def run(*words: str) -> str:
        argv = [*become, python, "-m", "hostler", "sandbox", *words]
        done = subprocess.run(argv, env=environment, cwd="/", capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        return done.stderr + done.stdout

    run("up", "1")
    try:
        [told] = json.loads(run("list", "--json"))
        host = Host(name="plain", address=told["address"], port=told["port"])
        for name, error in (
            ("refuse", ConnectionRefusedError), ("reset", ConnectionResetError), ("silent", TimeoutError),
            ("freeze", TimeoutError), ("slow", None), ("chatty", None), ("no-python", None),
        ):  # fmt: skip
            run("faults", "sandbox1", name)
            with contextlib.nullcontext() if error is None else pytest.raises(error):
                assert banner(host, seconds=20.0 if error is not TimeoutError else 0.5) == b"SSH-"
        assert "no-python cleared" in run("faults", "sandbox1", "clear")
        run("faults", "sandbox1", "reboot", "--for", "1s")
        wait_until(lambda: json.loads(run("list", "--json"))[0]["fault"] is None)
        assert banner(host) == b"SSH-"
    finally:
        run("down")


# -- what becomes of a batch --------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
def test_a_batch_survives_every_fault_at_once(tmp_path: Path, fresh_lab: Lab, effects: Effects) -> None:
    """A host for each fault and one for none: each has a job when it goes wrong."""
    hosts = fresh_lab.shared(len(NAMES) + 1)
    assert set(NAMES) == {*WORKING, *DEADLY, "freeze"}
    of = {name: host.name for name, host in zip(NAMES, hosts, strict=False)}
    hostler = Hostler(tmp_path, fresh_lab)
    try:
        jobs = [str(number) for number in range(len(hosts))]
        running = hostler.start("batch", "--hosts", "@sandbox", "-j", "1", *effects.waiting(*jobs))
        effects.wait(len(hosts), "begun", seconds=60)
        for name, host in of.items():
            if name not in ("freeze", *DEADLY):
                assert hostler("sandbox", "faults", host, name).code == 0
        for name in ("freeze", *DEADLY):
            assert hostler("sandbox", "faults", of[name], name).code == 0
        effects.go()
        effects.wait(len(WORKING) + 1, "done", seconds=60)
        done = hostler("sandbox", "faults", *of.values(), "clear")
        assert done.code == 0, done.err
        ended = running.wait(200)
        assert ended.code == 0, ended.err
        assert sorted(ended.lines) == sorted(jobs)
        again: dict[int, list[tuple[str, str]]] = {}
        for attempt in hostler.json("log", "last"):
            if attempt["ending"] != "revoked":  # sent ahead of need, and taken back before it began
                again.setdefault(attempt["job"], []).append((attempt["host"], attempt["ending"]))
        twice = {made[0][0] for made in again.values() if len(made) > 1 and made[0][1] == "lost"}
        assert twice == {of[name] for name in DEADLY}, f"{again}\n{ended.err}"
        for job, made in again.items():
            assert made[-1][1] == "ok"
            assert effects.counts[f"begun {job - 1}"] == len(made), (job, made)
        assert hostler.json("report", "last")["maybe_duplicated"] == len(DEADLY)
        assert survivors(hostler.uid()) == {}
    finally:
        hostler.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", NAMES)
def test_a_batch_survives(hostler: Hostler, effects: Effects, name: str) -> None:
    running = hostler.start("batch", "--hosts", "sandbox1", "-j", "2", *effects.waiting(*"abcd"))
    effects.wait(2, "begun")
    given(hostler, name)
    effects.go()
    if name in WORKING:
        effects.wait(2, "done")
    assert hostler("sandbox", "faults", "sandbox1", "clear").code == 0
    done = running.wait(200)
    assert done.code == 0, done.err
    repeats = hostler.json("report", "last")["maybe_duplicated"]
    if name in DEADLY:
        assert repeats >= 2 and all(effects.counts[f"done {job}"] >= 1 for job in "abcd")
    else:
        assert repeats == 0
        assert effects.counts == {f"{word} {job}": 1 for word in ("begun", "done") for job in "abcd"}
