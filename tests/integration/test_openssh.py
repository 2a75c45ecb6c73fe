"""The ssh program at work for us: what it is told, what it leaves behind, and the user's own open lines."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from hostler.errors import HostRefused, LineLost, Unreachable
from hostler.model.hosts import Host
from hostler.transports import openssh_folder
from hostler.transports.openssh import OpensshTransport
from tests.contract.own_sshd import USER, OwnSshd, keygen
from tests.contract.own_sshd import server as server
from tests.lab import wait_until

LONG = 30.0
Make = Callable[..., OpensshTransport]


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the programs of this test keep their sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ho") as name:
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        yield Path(name)


@pytest.fixture
async def make(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    made: list[OpensshTransport] = []

    def make(config: str = "", *, keepalive: float = 15.0) -> OpensshTransport:
        file = tmp_path / "config"
        file.write_text(config)
        made.append(
            OpensshTransport(
                state=tmp_path / "state",
                strict=None,
                ssh_config=[file],
                keepalive=keepalive,
                keepalive_count=1,
                say=lambda line: None,
            )
        )
        return made[-1]

    yield make
    for transport in made:
        await transport.close()


def programs(base: Path) -> list[str]:
    """The argv of every process that works with this test's sockets."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path("/proc", pid, "cmdline").read_bytes()
        except OSError:
            continue
        if str(base).encode() in words and words.startswith(b"ssh\0"):
            found.append(words.replace(b"\0", b" ").decode())
    return found


async def test_one_program_holds_a_line_however_many_commands_it_has_and_shows_none_of_them(
    server: OwnSshd, make: Make, base: Path
) -> None:
    line = await make().connect(server.host, deadline=LONG)
    streams = [await line.stream(f"cat; echo private{number}", deadline=LONG) for number in range(5)]
    assert len(programs(base)) == 1 and "private" not in programs(base)[0]
    for stream in streams:
        await stream.close()
    await line.close()
    assert programs(base) == []


async def test_nothing_is_left_on_disk_and_what_is_there_meanwhile_is_private(
    server: OwnSshd, make: Make, base: Path
) -> None:
    before = os.umask(0)
    try:
        transport = make()
        line = await transport.connect(server.host, deadline=LONG)
        [folder] = base.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        await line.close()
        assert [*folder.iterdir()] == []
        with pytest.raises(HostRefused):
            await transport.connect(replace(server.host, user="nobody-here"), deadline=LONG)
        assert [*folder.iterdir()] == []
        await transport.close()
        assert [*base.iterdir()] == []
    finally:
        os.umask(before)


async def test_what_a_killed_controller_left_is_removed_by_the_next(
    server: OwnSshd, make: Make, base: Path
) -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    (base / f"{openssh_folder.PREFIX}{gone.pid}-left").mkdir()
    (base / f"{openssh_folder.PREFIX}{os.getppid()}-alive").mkdir()
    line = await make().connect(server.host, deadline=LONG)
    assert not (base / f"{openssh_folder.PREFIX}{gone.pid}-left").exists()
    assert (base / f"{openssh_folder.PREFIX}{os.getppid()}-alive").exists()
    await line.close()


CONTROLLER = """
import asyncio, sys
from pathlib import Path
from hostler.model.hosts import Host
from hostler.transports.openssh import OpensshTransport
async def main():
    transport = OpensshTransport(state=Path(sys.argv[1]), strict=None, ssh_config=[], say=print)
    host = Host(name="box", address="127.0.0.1", port=int(sys.argv[2]), user=sys.argv[3], identity=sys.argv[4])
    line = await transport.connect(host, deadline=30)
    print("open", flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


def test_a_killed_controller_takes_its_programs_along(server: OwnSshd, tmp_path: Path, base: Path) -> None:
    words = [str(tmp_path / "state"), str(server.port), USER, str(server.identity)]
    with subprocess.Popen([sys.executable, "-c", CONTROLLER, *words], stdout=subprocess.PIPE) as controller:
        assert controller.stdout is not None and controller.stdout.readline() == b"open\n"
        assert len(programs(base)) == 1
        controller.kill()
    wait_until(lambda: programs(base) == [], what="its ssh program ended")


async def test_the_configuration_can_neither_forward_nor_prompt_nor_run_something_else(
    server: OwnSshd, make: Make, tmp_path: Path
) -> None:
    done = tmp_path / "done"
    config = (
        f"ForwardAgent yes\nForwardX11 yes\nRequestTTY force\nRemoteCommand echo other\nPermitLocalCommand yes\n"
        f"LocalCommand touch {done}\nLocalForward 1 a:1\nControlMaster auto\nControlPersist yes\nTunnel yes\n"
        "PreferredAuthentications password\nConnectTimeout 1\nUpdateHostKeys ask\nLogLevel QUIET\n"
        "ForkAfterAuthentication yes\nSessionType subsystem\n"
    )
    line = await make(config).connect(server.host, deadline=LONG)
    said = await line.run('echo "${SSH_AUTH_SOCK-no} ${DISPLAY-no} ${SSH_TTY-no}"', deadline=LONG)
    assert said.stdout == b"no no no\n" and not done.exists()
    await line.close()


async def test_variables_that_the_configuration_sets_reach_commands(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSTLER_OTHER", "two words")
    server = OwnSshd(tmp_path / "sshd", lines=["AcceptEnv HOSTLER_*"])
    try:
        transport = make("SetEnv HOSTLER_TEST=yes\nSendEnv HOSTLER_O*\n")
        line = await transport.connect(server.host, deadline=LONG)
        done = await line.run("echo $HOSTLER_TEST $HOSTLER_OTHER", deadline=LONG)
        assert done.stdout == b"yes two words\n"
        await line.close()
    finally:
        server.stop()


async def test_a_host_full_of_sessions_says_so_and_the_line_stays(tmp_path: Path, make: Make) -> None:
    server = OwnSshd(tmp_path / "sshd", lines=["MaxSessions 2"])
    try:
        line = await make().connect(server.host, deadline=LONG)
        streams = [await line.stream("cat", deadline=LONG) for _ in range(2)]
        with pytest.raises(Unreachable, match="allows no more sessions on this line"):
            await line.run("true", deadline=LONG)
        streams[0].write(b"still here")
        assert line.alive and await streams[0].read() == b"still here"
        await line.close()
    finally:
        server.stop()


async def test_a_host_that_freezes_is_a_lost_line_after_its_keepalives(tmp_path: Path, make: Make) -> None:
    server = OwnSshd(tmp_path / "sshd")
    try:
        line = await make(keepalive=1.0).connect(server.host, deadline=LONG)
        stream = await line.stream("cat", deadline=LONG)
        server.freeze()
        with pytest.raises(LineLost, match="stopped answering"):
            await asyncio.wait_for(stream.read(), LONG)
        await line.close()
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("said", "kind", "text"),
    [
        (b"", Unreachable, "hung up before the login"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Unreachable, "speaks no SSH that we know"),
        (b"SSH-1.5-ancient\r\n", Unreachable, "speaks no SSH that we know"),
        (b"\xff" * 5000, Unreachable, "hung up before the login|speaks no SSH"),
        (b"SSH-2.0-\x1b[31mevil\r\n", Unreachable, "hung up before the login"),
    ],
)
async def test_a_port_that_speaks_something_else_is_unreachable_in_one_plain_line(
    make: Make, said: bytes, kind: type[Exception], text: str
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        host = Host(name="odd", address="127.0.0.1", port=port, user="me")
        with pytest.raises(kind, match=text) as caught:
            await make().connect(host, deadline=LONG)
    assert len(str(caught.value)) < 200 and str(caught.value).isprintable()


@pytest.mark.parametrize(
    "config", ["Port notaport\n", "Match nonsense x\n", "Ciphers none-such\n", "Nonsense 1\n"]
)
async def test_a_configuration_that_cannot_be_read_is_one_line_with_the_reason(
    server: OwnSshd, make: Make, config: str
) -> None:
    with pytest.raises(HostRefused, match=r"SSH configuration can't be used: .*config"):
        await make(config).connect(server.host, deadline=LONG)


async def test_without_an_ssh_program_a_host_is_refused_with_what_to_install(
    server: OwnSshd, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostRefused, match="no ssh program here"):
        await make().connect(server.host, deadline=LONG)


async def test_the_users_own_open_line_is_used_where_the_configuration_names_it_and_is_left_open(
    server: OwnSshd, make: Make, base: Path, tmp_path: Path
) -> None:
    control = base / "own"
    options = [
        "-F",
        "none",
        "-M",
        "-N",
        "-S",
        str(control),
        "-i",
        str(server.identity),
        "-p",
        str(server.port),
    ]
    options += ["-o", f"UserKnownHostsFile={tmp_path}/known", "-o", "StrictHostKeyChecking=accept-new"]
    with subprocess.Popen(["ssh", *options, f"{USER}@{server.address}"], stdin=subprocess.DEVNULL) as own:
        try:
            wait_until(control.exists, what="the user's own line")
            # A key that no host accepts: what is reached, is reached through the line that is there.
            host = replace(server.host, identity=str(keygen(tmp_path / "other")))
            transport = make(f"Host {server.address}\n  ControlPath {base}/o%%n\n".replace("o%%n", "own"))
            line = await transport.connect(host, deadline=LONG)
            assert (await line.run("echo in; exit 3", deadline=LONG)).code == 3
            await line.close()
            assert own.poll() is None
            again = await transport.connect(host, deadline=LONG)
            stream = await again.stream("cat", deadline=LONG)
            own.terminate()
            with pytest.raises(LineLost):
                await asyncio.wait_for(stream.read(), LONG)
            with pytest.raises(HostRefused, match="no key accepted"):
                await transport.connect(host, deadline=LONG)
        finally:
            own.send_signal(signal.SIGKILL)


async def test_keys_that_a_command_knows_count_and_a_key_revoked_in_a_file_is_refused(
    server: OwnSshd, make: Make, tmp_path: Path
) -> None:
    key = " ".join(Path(f"{server.host_keys[0]}.pub").read_text().split()[:2])
    known = tmp_path / "known.sh"
    known.write_text(f"#!/bin/sh\necho '{server.place} {key}'\n")
    known.chmod(0o755)
    config = f"KnownHostsCommand {known}\nStrictHostKeyChecking yes\n"
    line = await make(config).connect(server.host, deadline=LONG)
    await line.close()
    assert not (tmp_path / "state/known_hosts").exists()
    revoked = f"RevokedHostKeys {server.host_keys[0]}.pub\n"
    with pytest.raises(HostRefused, match=re.escape("revoked")):
        await make(revoked).connect(server.host, deadline=LONG)


@pytest.mark.parametrize("mode", [0o777, 0o730])
def test_a_place_in_which_others_could_lay_a_folder_for_ours_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    for name in ("XDG_RUNTIME_DIR", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(openssh_folder, "ROOM", 500)
    monkeypatch.setattr("tempfile.tempdir", None)
    assert openssh_folder._base() == tmp_path
    tmp_path.chmod(mode)
    assert openssh_folder._base() == Path("/tmp")
    tmp_path.chmod(0o1777)
    assert openssh_folder._base() == tmp_path
