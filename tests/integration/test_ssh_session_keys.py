"""A run's own key on a real sshd, over both transports: what it opens, what it doesn't, when it ends, where it goes."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from hostler.errors import HostRefused
from hostler.model.hosts import Host
from hostler.ports import Connection, Transport
from hostler.shell.authorized import OURS
from hostler.transports.asyncssh import AsyncsshTransport
from hostler.transports.authorizing import authorize
from hostler.transports.keyed import KeyedTransport
from hostler.transports.openssh import OpensshTransport
from hostler.transports.sessionkeys import SessionKeys
from tests.agents import PrivateAgent
from tests.contract.own_sshd import OwnSshd, visit

LONG = 30.0
UID = "a" * 32
HOURS = 12 * 3600.0


@pytest.fixture(scope="module")
def home_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnSshd]:
    """A server that reads the home's authorized_keys beside its own."""
    folder = tmp_path_factory.mktemp("sshd")
    lines = [f"AuthorizedKeysFile {folder}/authorized {folder}/home/.ssh/authorized_keys"]
    server = OwnSshd(folder, lines=lines)
    yield server
    server.stop()


@pytest.fixture
def server(home_sshd: OwnSshd) -> Iterator[OwnSshd]:
    """The same, with its home as it was."""
    yield home_sshd
    home_sshd.accept(home_sshd.identity)
    for file in (home_sshd.home / ".ssh").glob("*"):
        file.unlink()


class Rig:
    """One controller's keys, and a transport that uses them."""

    def __init__(self, kind: type[AsyncsshTransport] | type[OpensshTransport], state: Path) -> None:
        self.kind, self.state, self.said = kind, state, list[str]()
        self._made: list[Transport] = []
        self.begin_anew()

    def begin_anew(self, *config: Path) -> None:
        """As if the controller had died, and another one begins, with this SSH configuration."""
        self.keys = SessionKeys(self.state, lifetime=HOURS, say=self.said.append)
        inner = self.kind(
            state=self.state, strict=None, ssh_config=config, alone=self.keys.is_ours, say=self.said.append
        )
        self.transport = transport = KeyedTransport(inner, self.keys)
        self.keys.dial = lambda host, deadline: transport.connect(host, deadline=deadline)
        self._made.append(self.transport)

    async def open(self, host: Host) -> Connection:
        """A line, and the key where it is to be."""
        self.keys.begin(UID, [host], make=True)
        line = await self.transport.connect(host, deadline=LONG)
        await self.settled()
        return line

    async def settled(self) -> None:
        """Wait until the key is where it is to be, or that has failed."""
        async with asyncio.timeout(LONG):
            while self.keys._tasks:
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        for transport in self._made:
            await transport.close()


@pytest.fixture(params=[AsyncsshTransport, pytest.param(OpensshTransport, marks=pytest.mark.slow)])
async def rig(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Rig]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    rig = Rig(request.param, tmp_path / "state with a blank")
    rig.state.mkdir(mode=0o700)
    yield rig
    await rig.close()


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """A private ssh-agent with these keys; it answers with its pid."""
    mine = PrivateAgent(tmp_path / "agent")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(mine.path))

    def add(*keys: Path) -> int:
        mine.add(*keys)
        return mine.pid

    yield add
    mine.leave()


def file(server: OwnSshd) -> Path:
    return server.home / ".ssh/authorized_keys"


async def test_a_host_lets_us_in_again_when_the_persons_own_means_are_gone(
    server: OwnSshd, rig: Rig, agent: Callable[..., int]
) -> None:
    pid = agent(server.identity)
    bare = replace(server.host, identity=None)
    line = await rig.open(bare)
    os.kill(pid, signal.SIGSTOP)  # one that hangs is worse than one that is gone
    await line.close()
    assert await visit(rig.transport, bare, "echo in") == b"in\n"
    server.accept()
    assert await visit(rig.transport, bare, "echo in") == b"in\n"
    await rig.keys.end()
    assert not file(server).exists() and rig.said == []
    assert not (rig.state / "session-keys" / UID).exists()
    os.kill(pid, signal.SIGCONT)
    with pytest.raises(HostRefused, match=r"no key accepted"):
        await visit(rig.transport, bare)


async def test_the_key_opens_commands_and_files_and_nothing_else(server: OwnSshd, rig: Rig) -> None:
    line = await rig.open(server.host)
    await line.close()
    server.accept()
    line = await rig.transport.connect(server.host, deadline=LONG)
    assert (await line.run("echo in", deadline=LONG)).stdout == b"in\n"
    await line.put(b"data", str(server.folder / "put"), deadline=LONG)
    assert await line.get(str(server.folder / "put"), deadline=LONG) == b"data"
    await line.close()
    key = rig.state / "session-keys" / UID / "key"
    ssh = [
        *(
            "ssh",
            "-F",
            "none",
            "-p",
            str(server.port),
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=no",
        ),
        *(
            "-o",
            f"UserKnownHostsFile={server.folder}/known",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "LogLevel=INFO",
        ),
        *("-o", f'IdentityFile="{key}"', "-o", "ExitOnForwardFailure=yes"),
    ]

    def tried(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [*ssh, *words]
        return subprocess.run(
            argv, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
        )

    assert tried("127.0.0.1", "echo in").stdout == "in\n"
    assert "PTY allocation request failed" in tried("-tt", "127.0.0.1", "true").stderr
    assert "forwarding failed" in tried("-R", "0:127.0.0.1:1", "127.0.0.1", "true").stderr
    assert "prohibited" in tried("-W", f"127.0.0.1:{server.port}", "127.0.0.1").stderr
    assert tried("-A", "127.0.0.1", "echo ${SSH_AUTH_SOCK-no}").stdout == "no\n"
    await rig.keys.end()


async def test_a_key_whose_time_is_over_lets_nobody_in(server: OwnSshd, rig: Rig) -> None:
    line = await rig.open(server.host)
    by_key = rig.keys.keyed(server.host)
    assert by_key is not None
    await visit(rig.transport, by_key)
    await authorize(line, uid=UID, key=rig.keys._public, lifetime=timedelta(minutes=-2), deadline=LONG)
    assert b'expiry-time="' in file(server).read_bytes()
    with pytest.raises(HostRefused):
        await visit(rig.transport, by_key)
    await line.close()
    # The person's own means are tried instead, and by those it is put there anew.
    line = await rig.transport.connect(server.host, deadline=LONG)
    await rig.settled()
    await line.close()
    await visit(rig.transport, by_key)
    await rig.keys.end()


async def test_a_host_that_refuses_everything_for_a_while_is_tried_by_the_key_again(
    server: OwnSshd, rig: Rig
) -> None:
    line = await rig.open(server.host)
    await line.close()
    text = file(server).read_bytes()
    server.accept()
    file(server).write_bytes(b"")
    with pytest.raises(HostRefused, match=r"no key accepted .*; nor is the session key let in"):
        await visit(rig.transport, server.host)
    file(server).write_bytes(text)
    await visit(rig.transport, server.host)
    await rig.keys.end()


async def test_a_host_that_does_not_let_it_in_gets_rid_of_it_and_says_so_once(
    tmp_path: Path, rig: Rig
) -> None:
    server = OwnSshd(tmp_path / "sshd")  # its keys are somewhere else
    try:
        line = await rig.open(server.host)
        assert not file(server).exists()
        assert len(rig.said) == 1 and "no session key there (its sshd does not let it in" in rig.said[0]
        await line.close()
        await visit(rig.transport, server.host)
        await rig.settled()
        assert len(rig.said) == 1 and "by your own means only" in rig.said[0]
        await rig.keys.end()
    finally:
        server.stop()


async def test_a_login_by_the_persons_own_key_is_not_taken_for_one_by_ours(tmp_path: Path, rig: Rig) -> None:
    server = OwnSshd(tmp_path / "sshd")  # its keys are somewhere else
    try:
        config = tmp_path / "config"
        config.write_text(f"IdentityFile {server.identity}\n")
        rig.begin_anew(config)
        line = await rig.open(replace(server.host, identity=None))
        assert "its sshd does not let it in" in rig.said[0] and not file(server).exists()
        await line.close()
    finally:
        server.stop()


async def test_hosts_that_share_a_home_share_a_line_there(server: OwnSshd, rig: Rig) -> None:
    hosts = [replace(server.host, name=f"node{number}") for number in range(5)]
    rig.keys.begin(UID, hosts, make=True)
    lines = await asyncio.gather(*(rig.transport.connect(host, deadline=LONG) for host in hosts))
    await rig.settled()
    assert all(map(rig.keys.keyed, hosts)) and len(file(server).read_bytes().splitlines()) == 1
    await rig.keys.end()
    await asyncio.gather(*(line.close() for line in lines))
    assert not file(server).exists() and rig.said == []


async def test_where_it_can_not_be_written_is_said_once_and_we_come_by_our_own_means(
    server: OwnSshd, rig: Rig
) -> None:
    file(server).parent.mkdir(exist_ok=True)
    file(server).mkdir()
    try:
        line = await rig.open(server.host)
        assert (await line.run("echo in", deadline=LONG)).stdout == b"in\n"
        await line.close()
        await visit(rig.transport, server.host)
        await rig.settled()
        (said,) = rig.said
        assert said == (
            "hostler: box: no session key there (~/.ssh/authorized_keys is no file): "
            "it is reached by your own means only"
        )
        await rig.keys.end()
        assert len(rig.said) == 1  # nothing is left there to be told of
    finally:
        file(server).rmdir()


@pytest.mark.slow
async def test_a_host_with_room_for_one_session_takes_it_on_a_line_of_its_own(
    tmp_path: Path, rig: Rig
) -> None:
    folder = tmp_path / "sshd"
    lines = ["MaxSessions 1", f"AuthorizedKeysFile {folder}/authorized {folder}/home/.ssh/authorized_keys"]
    server = OwnSshd(folder, lines=lines)
    try:
        line = await rig.transport.connect(server.host, deadline=LONG)
        busy = await line.stream("cat", deadline=LONG)
        rig.keys.begin(UID, [server.host], make=True)
        await rig.settled()
        assert rig.keys.keyed(server.host) is not None, rig.said
        await busy.close()
        await line.close()
        await rig.keys.end()
        assert not file(server).exists()
    finally:
        server.stop()


async def test_it_is_renewed_while_the_line_is_open(
    server: OwnSshd, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hostler.transports.sessionkeys.LOOK", 0.05)
    line = await rig.open(server.host)
    first = file(server).read_bytes()
    await authorize(line, uid=UID, key=rig.keys._public, lifetime=timedelta(hours=1), deadline=LONG)
    soon = file(server).read_bytes()
    assert OURS.match(soon) and soon < first
    running = asyncio.create_task(rig.keys.run())
    place = rig.keys._places[server.host.name]
    assert HOURS * 0.4 < place.due - rig.keys._clock.steady() < HOURS * 0.6
    place.due = 0.0  # as if half of its time were over
    async with asyncio.timeout(LONG):
        while file(server).read_bytes() < first:
            await asyncio.sleep(0.02)
    await rig.settled()
    assert len(file(server).read_bytes().splitlines()) == 1
    running.cancel()
    await line.close()
    await rig.keys.end()


async def test_who_goes_on_with_a_run_uses_the_key_of_the_one_who_was_killed_and_takes_it_away(
    server: OwnSshd, rig: Rig
) -> None:
    line = await rig.open(server.host)
    await line.close()
    server.accept()
    rig.begin_anew()
    rig.keys.begin(UID, [server.host], make=True)
    assert await visit(rig.transport, server.host, "echo in") == b"in\n"
    rig.begin_anew()
    rig.keys.begin(UID, [server.host], make=True)
    await rig.keys.end()  # of a host that it had no need to come to
    assert not file(server).exists() and rig.said == []


async def test_two_runs_have_a_line_each_and_the_persons_stays(server: OwnSshd, rig: Rig) -> None:
    file(server).parent.mkdir(exist_ok=True)
    file(server).write_bytes(b"# mine, without an end of line")
    line = await rig.open(server.host)
    other = Rig(rig.kind, rig.state)
    other.keys.begin("b" * 32, [server.host], make=True)
    more = await other.transport.connect(server.host, deadline=LONG)
    await other.settled()
    assert {found["uid"][:1] for found in OURS.finditer(file(server).read_bytes())} == {b"a", b"b"}
    await line.close()
    await rig.keys.end()
    server.accept()
    await visit(other.transport, server.host)
    await more.close()
    await other.keys.end()
    assert file(server).read_bytes() == b"# mine, without an end of line"
    await other.close()


async def test_the_private_key_is_in_a_file_of_ours_alone_and_nowhere_else(server: OwnSshd, rig: Rig) -> None:
    before = os.umask(0)
    try:
        line = await rig.open(server.host)
    finally:
        os.umask(before)
    folder = rig.state / "session-keys"
    for path in (folder, *folder.rglob("*")):
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path
    private = b"".join((folder / UID / "key").read_bytes().splitlines()[1:-1])
    shown = b"".join(argv_and_environment() for _ in range(3))
    assert private[:60] not in shown.replace(b"\n", b"")
    assert private[:60] not in file(server).read_bytes().replace(b"\n", b"")
    await line.close()
    await rig.keys.end()


async def test_a_host_that_is_gone_in_the_end_is_named(server: OwnSshd, rig: Rig) -> None:
    line = await rig.open(server.host)
    await line.close()
    away = replace(server.host, port=1)
    await rig.keys.close()
    rig.keys._places[server.host.name].host = away
    await rig.keys.end()
    (said,) = rig.said
    assert "box: the line of the session key stays" in said and "connection refused" in said, said
    assert not (rig.state / "session-keys" / UID).exists()


def argv_and_environment() -> bytes:
    """What everybody can see of all processes."""
    found = b""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("cmdline", "environ"):
            try:
                found += Path(f"/proc/{pid}/{name}").read_bytes()
            except OSError:
                continue
    return found
