"""Sandbox hosts as they are lived with: real servers, real keys, daemons that hide, keepers that are killed."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from hostler.errors import ProviderError
from hostler.model.hosts import Host
from hostler.providers.sandbox import hosts
from hostler.providers.sandbox_end import end
from hostler.providers.sandbox_make import Launch
from hostler.providers.sandbox_procs import look
from hostler.providers.sandbox_sshd import choose, home
from hostler.providers.sandbox_start import start
from tests.lab import Lab, count_marked, wait_until

# Begun through a host, it forks twice into a session of its own with nothing in its environment.
HIDER = (
    """setsid env -i /bin/sh -c '(/bin/sh -c "echo \\$\\$ >{file}; exec /bin/sleep 1000" """
    """</dev/null >/dev/null 2>&1 &)'"""
)


@pytest.fixture(params=["sshd", "asyncssh"])
def both(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A Lab for this test alone, once with each kind of server."""
    with Lab(server=request.param) as lab:
        yield lab


@pytest.fixture
def alone() -> Iterator[Lab]:
    """A Lab for this test alone."""
    with Lab() as lab:
        yield lab


def lives(pid: int) -> bool:
    process = look(pid)
    return process is not None and not process.zombie


def answers(host: Host) -> bool:
    try:
        with socket.create_connection((host.address, host.port or 22), timeout=5) as line:
            return line.recv(4) == b"SSH-"
    except OSError:
        return False


def hidden(lab: Lab, host: Host) -> int:
    """The pid of a daemon that was begun through the host and did all it could not to be found."""
    file = lab.path / f"hidden-{secrets.token_hex(4)}"
    done = lab.run(host, HIDER.format(file=file))
    assert done.returncode == 0, done.stderr
    wait_until(lambda: file.exists() and file.read_text().strip())
    pid = int(file.read_text())
    assert lives(pid)
    return pid


def keeper(lab: Lab, host: Host) -> int:
    record = next(entry.record for entry in lab.registry.entries() if entry.name == host.name)
    assert record and record.keeper
    return record.keeper.pid


def test_three_hosts_take_the_ssh_program_with_the_recorded_key_and_host_key(both: Lab) -> None:
    three = both.hosts(3)
    assert [host.name for host in three] == ["sandbox1", "sandbox2", "sandbox3"]
    assert len({host.address for host in three}) == len({host.host_key for host in three}) == 3
    assert all(host.address.startswith("127.77.") and host.tags == {"sandbox"} for host in three)
    for host in three:
        done = both.run(host, 'echo "$HOSTLER_SANDBOX"; id -u; umask')
        assert done.stdout.decode().split() == [both.id(host), str(os.geteuid()), "0022"], done.stderr
    assert hosts(both.path) == tuple(three)


def test_a_host_refuses_every_other_key_and_user(both: Lab) -> None:
    [host] = both.hosts()
    other = both.path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    words = [word.replace(str(host.identity), str(other)) for word in both.ssh(host)]
    assert subprocess.run([*words, "true"], capture_output=True, timeout=60, check=False).returncode == 255
    words = [*both.ssh(host)[:-1], f"nobody@{host.address}"]
    assert subprocess.run([*words, "true"], capture_output=True, timeout=60, check=False).returncode == 255


def test_bytes_exit_codes_and_both_streams_come_through_whole(both: Lab) -> None:
    [host] = both.hosts()
    data = bytes(range(256)) * 8192
    done = both.run(host, "cat; echo loud >&2; exit 7", stdin=data)
    assert done.stdout == data
    assert (done.stderr, done.returncode) == (b"loud\n", 7)


async def test_signals_end_codes_and_files_come_through_asyncssh_as_well(both: Lab) -> None:
    [host] = both.hosts()
    both.ssh(host)  # writes known_hosts
    line = await asyncssh.connect(
        host.address,
        host.port or 22,
        username=host.user,
        client_keys=[str(host.identity)],
        known_hosts=str(both.path / "known_hosts"),
        config=None,
        agent_path=None,
    )
    async with line:
        killed = await line.run("kill -9 $$", encoding=None)
        assert killed.exit_signal is not None and killed.exit_signal[0] == "KILL"
        done = await line.run("read x; echo got $x", input="it\n")
        assert (done.stdout, done.exit_status) == ("got it\n", 0)
        async with line.start_sftp_client() as files, files.open(str(both.path / "sent"), "wb") as file:
            await file.write(b"\0\xff" * 1000)
        assert (both.path / "sent").read_bytes() == b"\0\xff" * 1000
        with pytest.raises(asyncssh.ChannelOpenError):
            await line.open_connection(host.address, 1)


async def test_what_was_detached_goes_on_when_its_line_is_cut(both: Lab) -> None:
    [host] = both.hosts()
    both.ssh(host)
    file = both.path / "beats"
    line = await asyncssh.connect(
        host.address,
        host.port or 22,
        username=host.user,
        client_keys=[str(host.identity)],
        known_hosts=str(both.path / "known_hosts"),
        config=None,
        agent_path=None,
    )
    loop = f"while :; do echo beat >>{file}; sleep 0.05; done"
    process = await line.create_process(f"setsid sh -c '{loop}' </dev/null >/dev/null 2>&1 & cat")
    await asyncio.to_thread(wait_until, file.exists)
    line.abort()
    await line.wait_closed()
    process.close()
    size = file.stat().st_size
    await asyncio.to_thread(wait_until, lambda: file.stat().st_size > size + 20)
    await asyncio.to_thread(both.end, host)
    assert count_marked(f"HOSTLER_SANDBOX={host.name}") == 0
    size = file.stat().st_size
    await asyncio.sleep(0.3)
    assert file.stat().st_size == size


def test_ending_a_host_ends_a_daemon_that_hides(both: Lab) -> None:
    one, two = both.hosts(2)
    daemons = [hidden(both, one), hidden(both, one), hidden(both, two)]
    loud = subprocess.Popen([*both.ssh(one), "trap '' TERM HUP INT; while :; do sleep 1; done"])
    wait_until(lambda: count_marked(both.mark(one)))
    mark = both.mark(one)
    both.end(one)
    assert [lives(pid) for pid in daemons] == [False, False, True]
    assert count_marked(mark) == 0
    assert (answers(one), answers(two)) == (False, True)
    assert loud.wait(60) == 255
    assert hosts(both.path) == (two,)


def test_ending_a_host_ends_what_forks_as_fast_as_it_can(alone: Lab) -> None:
    [host] = alone.hosts()
    # Each process begins the next one and ends at once: there is never one that a list of pids would hold.
    script = alone.path / "hop"
    script.write_text('#!/bin/sh\n[ -e "$0" ] && { setsid "$0" </dev/null >/dev/null 2>&1 & }\n')
    script.chmod(0o700)
    assert alone.run(host, f"{script}; {script}; {script}").returncode == 0
    mark = alone.mark(host)
    wait_until(lambda: count_marked(mark))
    alone.end(host)
    assert [count_marked(mark) for _ in range(20)] == [0] * 20


def test_two_launches_at_once_share_no_number_and_no_address(alone: Lab) -> None:
    words = [sys.executable, "-c", "from hostler.cli.sandbox import command; command()", "up", "2"]
    environment = {**os.environ, **alone.env}
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        lines = [*pool.map(lambda _: subprocess.check_output(words, env=environment, timeout=100), range(3))]
    endpoints = b"".join(lines).decode().split()
    assert len(set(endpoints)) == 6
    assert [host.name for host in hosts(alone.path)] == [f"sandbox{n}" for n in range(1, 7)]
    assert sorted(host.endpoint for host in hosts(alone.path)) == sorted(endpoints)
    assert all(answers(host) for host in hosts(alone.path))


def test_numbers_of_hosts_that_have_ended_are_given_again_lowest_first(alone: Lab) -> None:
    three = alone.hosts(3)
    alone.end(three[0], three[1])
    assert [host.name for host in alone.hosts(3)] == ["sandbox1", "sandbox2", "sandbox4"]


@pytest.mark.parametrize("how", ["end", "next launch"])
def test_a_host_whose_keeper_was_killed_is_swept_away(both: Lab, how: str) -> None:
    [host] = both.hosts()
    mark = both.mark(host)
    assert both.run(host, "setsid sleep 1000 </dev/null >/dev/null 2>&1 &").returncode == 0
    file = both.path / "clean"
    busy = subprocess.Popen([*both.ssh(host), f"env -i /bin/sh -c 'echo $$ >{file}; sleep 1000; true'"])
    wait_until(lambda: file.exists() and file.read_text().strip() and count_marked(mark))
    os.kill(keeper(both, host), signal.SIGKILL)
    wait_until(lambda: not hosts(both.path))
    if how == "end":
        both.end(host)
        assert both.registry.entries() == []
    else:
        assert both.hosts()[0].name == host.name
    assert count_marked(mark) == 0
    assert not lives(int(file.read_text()))
    assert not answers(host)
    assert busy.wait(60) == 255


def test_a_host_whose_keeper_is_stopped_is_ended_all_the_same(alone: Lab) -> None:
    [host] = alone.hosts()
    daemon = hidden(alone, host)
    os.kill(keeper(alone, host), signal.SIGSTOP)
    alone.end(host)
    assert not lives(daemon)
    assert not answers(host)


def test_a_keeper_that_can_do_nothing_any_more_is_ended_with_all_below_it(alone: Lab) -> None:
    [host] = alone.hosts()
    daemon = hidden(alone, host)
    # Its main thread is stopped from within: it neither sees TERM nor is helped by CONT.
    stuck = keeper(alone, host)
    stopping = True
    with concurrent.futures.ThreadPoolExecutor(1) as pool:

        def hold() -> None:
            while stopping and lives(stuck):
                os.kill(stuck, signal.SIGSTOP)

        held = pool.submit(hold)
        try:
            end(alone.registry, lambda entry: True, seconds=5.0)
        finally:
            stopping = False
            with contextlib.suppress(ProcessLookupError):
                held.result()
    assert not lives(daemon) and not lives(stuck)
    assert not answers(host)


def test_a_host_whose_server_dies_takes_all_with_it(both: Lab) -> None:
    [host] = both.hosts()
    daemon = hidden(both, host)
    [entry] = both.registry.entries()
    assert entry.record and entry.record.server
    os.kill(entry.record.server.pid, signal.SIGKILL)
    wait_until(lambda: not lives(daemon) and not entry.folder.exists())
    assert both.registry.entries() == []


def test_a_host_ends_when_its_folder_is_taken_away(alone: Lab) -> None:
    [host] = alone.hosts()
    daemon = hidden(alone, host)
    [entry] = alone.registry.entries()
    for file in ("record.json", "sshd_config"):
        (entry.folder / file).unlink()
    wait_until(lambda: not lives(daemon) and not answers(host))


def test_what_jobs_left_on_a_host_goes_with_it(alone: Lab) -> None:
    [host] = alone.hosts()
    spool = Path(host.var("spool") or "")
    kept = alone.path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    words = f"cd {spool} && mkdir -p a/b && touch a/b/c && ln -s {kept} link && chmod 0 a/b a"
    assert alone.run(host, words).returncode == 0
    alone.end(host)
    assert not spool.exists() and not spool.parent.exists()
    assert (kept / "file").exists()


def test_a_keeper_takes_no_notice_of_a_terminal_that_hangs_up(alone: Lab) -> None:
    [host] = alone.hosts()
    pid = keeper(alone, host)
    os.kill(pid, signal.SIGHUP)
    assert alone.run(host, "trap").stdout == b""  # and HUP is not ignored in what is begun through it
    assert lives(pid)


def test_a_fuse_ends_the_host_and_all_that_was_begun_through_it(both: Lab) -> None:
    both.hosts()
    launch = Launch(
        run="r",
        token="tok",
        now=time.time(),
        lifetime=4.0,
        server=choose({**os.environ, **both.env}),
        environment=home(both.env),
    )
    [short] = start(both.registry, 1, launch=launch, seconds=60.0)
    assert short.host not in hosts(both.path)
    daemon = hidden(both, short.host)
    wait_until(lambda: not lives(daemon) and not short.up)
    assert time.time() >= short.started + 4.0
    assert not answers(short.host)
    assert len(both.registry.entries()) == 1


def test_a_launch_that_fails_leaves_nothing_behind(alone: Lab) -> None:
    with pytest.raises(ProviderError, match="Bad configuration option: NoSuchWord"):
        alone.hosts(2, sshd_lines=["NoSuchWord yes"])
    assert alone.registry.entries() == []
    [host] = alone.hosts(sshd_lines=["MaxSessions 1"])
    assert answers(host)


def test_a_starter_that_is_killed_leaves_hosts_that_are_whole_or_none(alone: Lab) -> None:
    words = [sys.executable, "-c", "from hostler.cli.sandbox import command; command()", "up", "4"]
    for wait in (0.05, 0.15, 0.2, 0.25, 0.3, 0.4):
        process = subprocess.Popen(
            words, env={**os.environ, **alone.env}, stdout=subprocess.DEVNULL, stderr=-3
        )
        time.sleep(wait)  # any moment will do: each is a case of its own
        process.kill()
        process.wait()
    wait_until(lambda: all(entry.up for entry in alone.registry.entries()) or alone.hosts(1))
    assert all(answers(host) for host in hosts(alone.path))
    end(alone.registry, lambda entry: True, seconds=30.0)
    assert alone.registry.entries() == []
