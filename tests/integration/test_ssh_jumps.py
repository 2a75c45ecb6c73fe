"""Hosts behind other hosts: one line to each jump host, whichever transport; and jump hosts that die."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from hostler.errors import HostRefused, LineLost, Unreachable
from hostler.model.hosts import Host
from hostler.ports import Transport
from hostler.transports.asyncssh import AsyncsshTransport
from hostler.transports.openssh import OpensshTransport
from tests.contract.own_sshd import USER, OwnSshd, visit
from tests.contract.own_sshd import server as server

LONG = 30.0
Make = Callable[..., Transport]


@pytest.fixture(params=[AsyncsshTransport, OpensshTransport])
async def make(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Make]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    made: list[Transport] = []

    def make(config: str = "") -> Transport:
        file = tmp_path / "config"
        file.write_text(config)
        made.append(
            request.param(state=tmp_path / "state", strict=None, ssh_config=[file], say=lambda line: None)
        )
        return made[-1]

    yield make
    for transport in made:
        await transport.close()


def behind(bastion: OwnSshd) -> str:
    """A configuration by which the server is reached through a bastion."""
    return (
        f"Host bastion\n  HostName {bastion.address}\n  Port {bastion.port}\n  User {USER}\n"
        f"  IdentityFile {bastion.identity}\nHost 127.0.0.1\n  ProxyJump bastion\n"
    )


async def test_a_jump_host_is_gone_through_and_its_line_shared(
    server: OwnSshd, make: Make, tmp_path: Path
) -> None:
    bastion = OwnSshd(tmp_path / "bastion", address="127.0.0.2")
    try:
        config = (
            f"Host bastion\n  HostName {bastion.address}\n  Port {bastion.port}\n  User {USER}\n"
            f"  IdentityFile {bastion.identity}\nHost 127.0.0.1\n  ProxyJump bastion\n"
        )
        transport = make(config)
        lines = await asyncio.gather(*(transport.connect(server.host, deadline=LONG) for _ in range(4)))
        assert [(await line.run("echo x", deadline=LONG)).stdout for line in lines] == [b"x\n"] * 4
        log = (bastion.folder / "log").read_text()
        assert log.count("Accepted publickey") == 1
        await asyncio.gather(*(line.close() for line in lines))
        await visit(transport, replace(server.host, name="again"))
        assert (bastion.folder / "log").read_text().count("Accepted publickey") == 1
        bastion.cut()
        async with asyncio.timeout(LONG):
            while True:
                try:
                    await visit(transport, replace(server.host, name="after"))
                    break
                except Unreachable:  # the cut was not noticed yet
                    await asyncio.sleep(0.01)
        await visit(make(config), replace(server.host, jump="bastion"))
    finally:
        bastion.stop()


async def test_trouble_with_a_jump_host_names_it(server: OwnSshd, make: Make, tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"by way of 127\.0\.0\.2:1: connection refused"):
        await visit(make(), replace(server.host, jump="127.0.0.2:1"))
    with pytest.raises(HostRefused, match=r"by way of x*: name not known"):
        await visit(make(), replace(server.host, jump="x" * 64))
    with pytest.raises(HostRefused, match="jump host"):
        await visit(make(), replace(server.host, jump="a:b:c"))
    circle = "Host one\n  ProxyJump two\nHost two\n  ProxyJump one\n"
    with pytest.raises(HostRefused, match="circle"):
        await visit(make(circle), Host(name="one", address="one"))


async def test_a_jump_for_every_host_does_not_concern_the_jump_host(
    server: OwnSshd, make: Make, tmp_path: Path
) -> None:
    config = (
        f"Host bastion\n  HostName {server.address}\n  Port {server.port}\n"
        f"Host *\n  User {USER}\n  ProxyJump bastion\n  IdentityFile {server.identity}\n"
    )
    assert await visit(make(config), Host(name="bastion", address="bastion"), "echo in") == b"in\n"


async def test_a_jump_host_that_dies_in_the_middle_is_named_as_the_reason_and_dialled_again(
    server: OwnSshd, make: Make, tmp_path: Path
) -> None:
    bastion = OwnSshd(tmp_path / "bastion", address="127.0.0.2")
    try:
        transport = make(behind(bastion))
        lines = [await transport.connect(server.host, deadline=LONG) for _ in range(2)]
        streams = [await line.stream("cat", deadline=LONG) for line in lines]
        bastion.stop()
        for stream in streams:
            with pytest.raises(LineLost, match="the line to its jump host broke"):
                await asyncio.wait_for(stream.read(), LONG)
        with pytest.raises(Unreachable, match=r"by way of bastion: connection refused|jump host broke"):
            await visit(transport, server.host)
        bastion.start()
        assert await visit(transport, server.host, "echo back") == b"back\n"
        await asyncio.gather(*(line.close() for line in lines))
    finally:
        bastion.stop()


async def test_what_a_jump_host_cannot_reach_is_told_as_such(
    server: OwnSshd, make: Make, tmp_path: Path
) -> None:
    bastion = OwnSshd(tmp_path / "bastion", address="127.0.0.2")
    try:
        transport = make(behind(bastion))
        with pytest.raises(Unreachable, match=r"the jump host could not reach 127\.0\.0\.1:1"):
            await visit(transport, replace(server.host, port=1))
        assert await visit(transport, server.host, "echo in") == b"in\n"
    finally:
        bastion.stop()


async def test_two_jump_hosts_in_a_row_are_gone_through(server: OwnSshd, make: Make, tmp_path: Path) -> None:
    first = OwnSshd(tmp_path / "first", address="127.0.0.2")
    second = OwnSshd(tmp_path / "second", address="127.0.0.3")
    second.accept(first.identity)
    try:
        config = f"Host 127.0.0.2 127.0.0.3\n  User {USER}\n  IdentityFile {first.identity}\n"
        way = f"{first.address}:{first.port},{second.address}:{second.port}"
        said = await visit(make(config), replace(server.host, jump=way), "echo $SSH_CLIENT")
        assert said.startswith(b"127.0.0.")
        assert "Accepted publickey" in (second.folder / "log").read_text()
    finally:
        second.stop()
        first.stop()
