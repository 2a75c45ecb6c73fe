"""The transport contract, kept by AsyncSSH against a real OpenSSH server and by the memory transport."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hostler.errors import LineLost
from hostler.model.hosts import Host
from hostler.transports.asyncssh import AsyncsshTransport
from hostler.transports.sessions import Duplex
from tests.contract.own_sshd import OwnSshd, keygen, public
from tests.contract.transport_suite import TransportSuite


class SshGround:
    """A real sshd, and ports beside it that refuse or keep silent."""

    def __init__(self, server: OwnSshd, quiet: socket.socket, folder: Path) -> None:
        self.server, self._folder = server, folder
        self.transport = AsyncsshTransport(
            state=folder / "state", strict=None, ssh_config=[], say=lambda line: None
        )
        other, wrong = keygen(folder / "other"), keygen(folder / "wrong")
        self.host = server.host
        self.stranger = replace(server.host, name="stranger", identity=str(other))
        self.changed = replace(server.host, name="changed", host_key=public(wrong))
        self.silent = replace(server.host, name="silent", port=quiet.getsockname()[1])
        self.unknown = replace(server.host, name="unknown", address="nowhere.invalid")
        with socket.socket() as probe:
            probe.bind((server.address, 0))
            self.refusing: Host = replace(server.host, name="refusing", port=probe.getsockname()[1])

    def folder(self) -> str:
        return tempfile.mkdtemp(dir=self._folder)

    async def cut(self) -> None:
        self.server.cut()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnSshd]:
    server = OwnSshd(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


class TestAsyncssh(TransportSuite):
    @pytest.fixture
    async def ground(
        self, server: OwnSshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[SshGround]:
        monkeypatch.setenv("HOME", str(tmp_path))
        with socket.create_server(("127.0.0.1", 0)) as quiet:
            ground = SshGround(server, quiet, tmp_path)
            yield ground
            await ground.transport.close()


async def test_bytes_that_came_before_the_line_broke_are_read_before_the_loss_is_told() -> None:
    stream = Duplex("box")
    stream.data_received(b"ke", None)
    stream.data_received(b"pt", None)
    stream.connection_lost(ConnectionResetError("reset"))
    assert await stream.read() == b"kept"
    with pytest.raises(LineLost):
        await stream.read()
