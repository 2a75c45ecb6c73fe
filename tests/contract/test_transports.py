"""The transport contract: AsyncSSH and the ssh program against a real OpenSSH server, and the memory transport."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from hostler.errors import LineLost
from hostler.model.hosts import Host
from hostler.ports import Transport
from hostler.transports.asyncssh import AsyncsshTransport
from hostler.transports.memory import MemoryHost, MemoryTransport
from hostler.transports.memory_programs import Ports
from hostler.transports.openssh import OpensshTransport
from hostler.transports.sessions import Duplex
from tests.contract.own_sshd import OwnSshd, keygen, public
from tests.contract.own_sshd import server as server
from tests.contract.transport_suite import LONG, TransportSuite

Kind = type[AsyncsshTransport] | type[OpensshTransport]


class SshGround:
    """A real sshd, and ports beside it that refuse or keep silent."""

    def __init__(self, make: Kind, server: OwnSshd, quiet: socket.socket, folder: Path) -> None:
        self.server, self._folder = server, folder
        self.transport: Transport = make(
            state=folder / "state", strict=None, ssh_config=[], say=lambda line: None
        )
        other, wrong = keygen(folder / "other"), keygen(folder / "wrong")
        self.host = server.host
        self.stranger = replace(server.host, name="stranger", identity=str(other))
        self.changed = replace(server.host, name="changed", host_key=public(wrong))
        self.silent = replace(server.host, name="silent", port=quiet.getsockname()[1])
        # Too long for any name service, so that no test depends on one.
        self.unknown = replace(server.host, name="unknown", address="x" * 64)
        with socket.socket() as probe:
            probe.bind((server.address, 0))
            self.refusing: Host = replace(server.host, name="refusing", port=probe.getsockname()[1])

    def folder(self) -> str:
        return tempfile.mkdtemp(dir=self._folder)

    async def cut(self) -> None:
        self.server.cut()


class OverSsh(TransportSuite):
    """The suite over `kind`, and over what `around` makes of it."""

    kind: Kind

    def around(self, transport: Transport) -> Transport:
        return transport

    @pytest.fixture
    async def ground(
        self, server: OwnSshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[SshGround]:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        with socket.create_server(("127.0.0.1", 0)) as quiet:
            ground = SshGround(self.kind, server, quiet, tmp_path)
            ground.transport = self.around(ground.transport)
            yield ground
            await ground.transport.close()


class TestAsyncssh(OverSsh):
    kind = AsyncsshTransport


class TestOpenssh(OverSsh):
    kind = OpensshTransport


class MemoryGround:
    """Memory hosts of every kind."""

    def __init__(self) -> None:
        self.box = MemoryHost(address="box", host_key="ssh-ed25519 AAAA")
        others = [
            MemoryHost(address="box", port=1, silent=True),
            MemoryHost(address="box", port=2, listening=False),
            MemoryHost(address="box", port=3, accepts=False),
        ]
        self.transport: Transport = MemoryTransport([self.box, *others])
        self.host = Host(name="box", address="box", user="me")
        self.silent, self.refusing, self.stranger = (replace(self.host, port=port) for port in (1, 2, 3))
        self.unknown = replace(self.host, address="nowhere.invalid")
        self.changed = replace(self.host, host_key="ssh-ed25519 BBBB")

    def folder(self) -> str:
        self.box.folders.add("/data")
        return "/data"

    async def cut(self) -> None:
        self.box.cut()


class InMemory(TransportSuite):
    """The suite over memory hosts, and over what `around` makes of them."""

    def around(self, transport: Transport) -> Transport:
        return transport

    @pytest.fixture
    async def ground(self) -> AsyncIterator[MemoryGround]:
        ground = MemoryGround()
        ground.transport = self.around(ground.transport)
        yield ground
        await ground.transport.close()


class TestMemory(InMemory):
    pass


async def test_a_memory_host_runs_programs_of_the_test_and_remembers_what_was_asked() -> None:
    async def shout(argv: Sequence[str], ports: Ports) -> int:
        await ports.stdout.write((await ports.stdin.read()).upper())
        return len(argv)

    host = MemoryHost(address="box", programs={"shout": shout})
    line = await MemoryTransport([host]).connect(Host(name="box", address="box"), deadline=LONG)
    done = await line.run("shout 'two words'", stdin=b"hey", deadline=LONG)
    assert (done.stdout, done.code) == (b"HEY", 2)
    assert (await line.run("nothing-of-the-kind", deadline=LONG)).code == 127
    assert host.commands == ["shout 'two words'", "nothing-of-the-kind"]


async def test_bytes_that_came_before_the_line_broke_are_read_before_the_loss_is_told() -> None:
    stream = Duplex("box")
    stream.data_received(b"ke", None)
    stream.data_received(b"pt", None)
    stream.connection_lost(ConnectionResetError("reset"))
    assert await stream.read() == b"kept"
    with pytest.raises(LineLost):
        await stream.read()
