"""`hostler batch` over each transport, with passwords, through jump hosts that die; and what it says of slips."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from hostler.model.hosts import Host
from tests.agents import PrivateAgent
from tests.command import ALL, Effects, Hostler, sessions, survivors
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.contract.own_sshd import keygen
from tests.lab import Lab, wait_until

WORD = "open sesame"
ECHO = ("--", "echo", ":::", "a", "b")


class Door(asyncssh.SSHServer):
    """Lets in whoever knows the word."""

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return password == WORD


async def execute(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Run a command as an SSH server does."""
    pipe = asyncio.subprocess.PIPE
    words = ("/bin/sh", "-c", process.command or ":")
    local = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, stderr=pipe)
    assert local.stdin and local.stdout and local.stderr
    feeding = asyncio.create_task(pour(process.stdin, local.stdin))
    await asyncio.gather(pour(local.stdout, process.stdout), pour(local.stderr, process.stderr))
    feeding.cancel()
    process.exit(await local.wait())


async def pour(source: Any, sink: Any) -> None:
    """Pass bytes on, to their end."""
    with suppress(OSError, asyncssh.Error):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.write_eof()


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host that wants a password."""
    key = keygen(tmp_path_factory.mktemp("door") / "key")
    loop, acceptors = asyncio.new_event_loop(), list[asyncssh.SSHAcceptor]()

    async def serve() -> None:
        acceptor = await asyncssh.create_server(
            Door, "127.0.0.1", 0, server_host_keys=[str(key)], process_factory=execute, encoding=None
        )
        acceptors.append(acceptor)

    async def leave() -> None:
        acceptors[0].close()
        await acceptors[0].wait_closed()

    loop.run_until_complete(serve())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield Host(name="door", address="127.0.0.1", port=acceptors[0].get_port(), user="somebody")
    asyncio.run_coroutine_threadsafe(leave(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture(params=["asyncssh", "openssh"])
def way(request: pytest.FixtureRequest) -> tuple[str, str]:
    return ("--transport", request.param)


def test_a_batch_runs_over_each_transport(hostler: Hostler, way: tuple[str, str]) -> None:
    done = hostler("batch", *ALL, *way, "--", "sh", "-c", "exit {}", ":::", "0", "255", "7")
    assert done.code == 1, done.err
    codes = {each["job"]: each["code"] for each in hostler.json("log", "last")}
    assert codes == {1: 0, 2: 255, 3: 7}


def test_a_password_from_a_file_or_the_environment_opens_the_door(
    hostler: Hostler, door: Host, way: tuple[str, str]
) -> None:
    secret = hostler.folder / "secret"
    secret.write_text(WORD + "\n")
    secret.chmod(0o600)
    whom = ("batch", "--hosts", door.endpoint, *way)
    done = hostler(*whom, "--ssh-password", f"file:{secret}", *ECHO)
    assert (done.code, sorted(done.lines)) == (0, ["a", "b"]), done.err
    done = hostler(*whom, "--ssh-password", "env:WORD", *ECHO, WORD=WORD)
    assert done.code == 0, done.err
    kept = b"".join(path.read_bytes() for path in (hostler.folder / "state").rglob("*") if path.is_file())
    assert WORD.encode() not in kept


def test_a_password_comes_through_a_descriptor_while_jobs_come_from_a_list(
    hostler: Hostler, door: Host
) -> None:
    done = hostler("batch", "--hosts", door.endpoint, "--ssh-password", "fd:0", *ECHO, stdin=WORD.encode())
    assert done.code == 0, done.err


def test_a_wrong_password_and_none_at_all_are_told_at_once_and_the_jobs_wait(
    hostler: Hostler, door: Host, way: tuple[str, str]
) -> None:
    whom = ("batch", "--hosts", door.endpoint, *way)
    done = hostler(*whom, "--ssh-password", "env:WORD", *ECHO, WORD="no such word")
    assert done.code == 4 and "the password was not accepted" in done.err, done.err
    assert "no such word" not in done.err and "Traceback" not in done.err
    done = hostler(*whom, *ECHO)
    assert done.code == 4 and "it would take a password (--ssh-password)" in done.err, done.err


@pytest.mark.slow
def test_stop_and_cancel_go_through_the_same_door_and_own_up_where_it_stays_shut(
    hostler: Hostler, door: Host, effects: Effects, way: tuple[str, str]
) -> None:
    secret = hostler.folder / "secret"
    secret.write_text(WORD)
    secret.chmod(0o600)
    word = ("--ssh-password", f"file:{secret}")
    running = hostler.start(
        "batch", "--hosts", door.endpoint, *way, *word, "-j", "2", *effects.waiting("a", "b")
    )
    effects.wait(2, "begun")
    running.kill()
    uid = hostler.uid()
    stopped = hostler("stop", "last")
    assert (stopped.code, stopped.out) == (4, b""), stopped.err
    assert "it would take a password" in stopped.err, stopped.err
    assert stopped.err.count("would take a password") == 1, stopped.err
    assert stopped.err.endswith("this ends what still runs: hostler stop 1 --ssh-password ask\n")
    assert hostler.json("status", "last")["exit_code"] is None
    assert b" left " in hostler("runs").out and len(survivors(uid)) >= 2
    refused = hostler("cancel", "last", "1")
    assert refused.code == 4 and "job 1 not cancelled yet" in refused.err, refused.err
    assert refused.err.count("would take a password") == 1, refused.err
    assert hostler("cancel", "last", "1", *word).lines == ["batch 1: job 1: cancelled"]
    done = hostler("stop", "last", HOSTLER_BATCH_SSH_PASSWORD=f"file:{secret}")
    assert done.lines == [
        "batch 1: stopped: 1 cancelled, 1 not run; this goes on with it: hostler batch --resume 1"
    ], done.err
    assert not survivors(uid)
    hostler("stop", "last", "--ssh-password", "hunter2").refused("--ssh-password", "never the secret itself")


@pytest.mark.slow
def test_a_second_signal_names_a_stop_that_gets_through_the_door(
    hostler: Hostler, door: Host, effects: Effects
) -> None:
    stubborn = ("--", "trap '' TERM; echo begun >> {}; sleep 7.3 & wait; wait", ":::", str(effects))
    running = hostler.start(
        "batch", "--hosts", door.endpoint, "--ssh-password", "env:WORD", *stubborn, env={"WORD": WORD}
    )
    effects.wait(1, "begun")
    running.signal(signal.SIGINT)
    wait_until(lambda: "once more leaves at once" in running.err, what="the first signal to be answered")
    running.signal(signal.SIGINT)
    done = running.wait()
    assert done.code == 130 and "hostler stop 1 --ssh-password ask;" in done.err, done.err
    assert hostler("stop", "1", "--ssh-password", "env:WORD", WORD=WORD).code == 0


def test_two_secrets_from_one_descriptor_are_refused_and_jobs_keep_their_stdin(hostler: Hostler) -> None:
    both = ("--ssh-password", "fd:0", "--key-passphrase", "file:/dev/stdin")
    hostler("batch", *ALL, *both, *ECHO).refused("--key-passphrase and --ssh-password", "stdin")
    two = ("--ssh-password", "fd:7", "--key-passphrase", "fd:07")
    hostler("batch", *ALL, *two, *ECHO).refused("--key-passphrase and --ssh-password", "fd 7")
    one = ("batch", *ALL, "--ssh-password", "fd:0", "--", "echo")
    hostler(*one, stdin=b"a\n").refused("--ssh-password and the jobs", "stdin", "give each its own")
    assert hostler.json("runs") == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ssh-password", "hunter2"], ["--ssh-password", "file:PATH", "never the secret itself"]),
        (["--key-passphrase", "hunter2"], ["--key-passphrase", "never the secret itself"]),
        (["--ssh-password", "file:/no/such"], ["/no/such", "No such file"]),
        (["--key-passphrase", "file:/etc/hostname"], ["others may read it", "chmod 600"]),
        (["--ssh-password", "env:NOT_SET"], ["NOT_SET is not in the environment"]),
        (["--ssh-password", "env:RAW"], ["--ssh-password", "UTF-8"]),
        (["--transport", "pigeon"], ["--transport", "'pigeon'"]),
    ],
)
def test_a_slip_is_one_line_that_never_repeats_a_secret(
    hostler: Hostler, words: list[str], said: list[str]
) -> None:
    done = hostler("batch", *ALL, *words, *ECHO, RAW="caf\udce9")
    assert done.code == 2 and "hunter2" not in done.err and "Traceback" not in done.err, done.err
    for word in said:
        assert word in done.err, done.err


def test_a_jump_host_that_dies_in_the_middle_costs_no_job_and_repeats_none(
    hostler: Hostler, ground: Lab, effects: Effects, way: tuple[str, str]
) -> None:
    far, gate = ground.shared(2)
    config = hostler.folder / "hosts.yaml"
    config.write_text(
        f"hosts:\n  far: {{address: {far.address}, port: {far.port}, user: {far.user}, identity: {far.identity},"
        f" host_key: '{far.host_key}', jump: '{gate.user}@{gate.address}:{gate.port}'}}\n"
    )
    with agent(hostler.folder / "agent", str(gate.identity)) as socket:
        words = ("batch", "-i", str(config), *way, *effects.waiting("a", "b"))
        running = hostler.start(*words, env={"SSH_AUTH_SOCK": socket})
        effects.wait(1, "begun")
        for pid in sessions(ground, gate):
            os.kill(pid, signal.SIGKILL)
        effects.go()
        done = running.wait()
    assert done.code == 0, done.err
    assert effects.counts == {"begun a": 1, "begun b": 1, "done a": 1, "done b": 1}


@contextmanager
def agent(path: Path, key: str) -> Iterator[str]:
    """An ssh-agent with one key; the name of its socket."""
    mine = PrivateAgent(path)
    try:
        mine.add(key)
        yield str(path)
    finally:
        mine.leave()
