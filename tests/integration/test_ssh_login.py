"""Whom we log in as and with which keys: files, the agent, the user's configuration, jump hosts, a real sshd."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import cast

import asyncssh
import pytest
from msgspec.structs import replace

from hostler.errors import HostRefused, Unreachable
from hostler.model.hosts import Host
from hostler.transports.asyncssh import AsyncsshTransport
from tests.agents import PrivateAgent
from tests.contract.own_sshd import USER, OwnSshd, keygen, public, visit
from tests.contract.own_sshd import server as server

LONG = 30.0


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """~/.ssh of the test."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / "home/.ssh").mkdir(parents=True, mode=0o700)
    return tmp_path / "home/.ssh"


Make = Callable[..., AsyncsshTransport]


@pytest.fixture
async def make(ssh: Path, tmp_path: Path) -> AsyncIterator[Make]:
    made: list[AsyncsshTransport] = []

    def make(config: str = "") -> AsyncsshTransport:
        (ssh / "config").write_text(config)
        made.append(
            AsyncsshTransport(
                state=tmp_path / "state", strict=None, ssh_config=[ssh / "config"], say=lambda line: None
            )
        )
        return made[-1]

    yield make
    for transport in made:
        await transport.close()


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A private ssh-agent; call it with keys to add."""
    mine = PrivateAgent(tmp_path / "agent")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(mine.path))
    ask = tmp_path / "ask"
    ask.write_text("#!/bin/sh\necho secret\n")
    ask.chmod(0o700)

    def add(*keys: Path) -> None:
        mine.add(*keys, env={"SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"})

    yield add
    mine.leave()


def bare(server: OwnSshd) -> Host:
    """The host with nothing but its address and port."""
    return Host(name="box", address=server.address, port=server.port)


async def test_the_usual_key_of_the_account_lets_us_in(server: OwnSshd, make: Make, ssh: Path) -> None:
    (ssh / "id_ed25519").write_bytes(server.identity.read_bytes())
    assert (await visit(make(), bare(server), "id -un")).decode().strip() == getpass.getuser()


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
async def test_keys_of_every_usual_kind_let_us_in(tmp_path: Path, make: Make, ssh: Path, kind: str) -> None:
    server = OwnSshd(tmp_path / "sshd")
    try:
        server.accept(keygen(ssh / f"id_{kind}", kind=kind))
        await asyncio.gather(*(visit(make(), bare(server)) for _ in range(3)))
    finally:
        server.stop()


async def test_a_key_in_the_agent_lets_us_in(server: OwnSshd, make: Make, agent: Callable[..., None]) -> None:
    agent(server.identity)
    await asyncio.gather(*(visit(make(), bare(server)) for _ in range(5)))


async def test_an_encrypted_key_is_used_through_the_agent_only(
    tmp_path: Path, make: Make, ssh: Path, agent: Callable[..., None]
) -> None:
    server = OwnSshd(tmp_path / "sshd")
    try:
        locked = keygen(ssh / "locked", secret="secret")
        server.accept(locked)
        host = replace(server.host, identity=str(locked))
        with pytest.raises(HostRefused, match=r"no key to try; ~/\.ssh/locked is encrypted .*ssh-add"):
            await visit(make(), host)
        agent(keygen(tmp_path / "noise"), locked)
        await visit(make(), host)
        Path(f"{locked}.pub").unlink()
        await visit(make(), replace(host, name="alone"))
    finally:
        server.stop()


async def test_a_named_key_comes_before_a_crowd_in_the_agent(
    server: OwnSshd, make: Make, tmp_path: Path, agent: Callable[..., None]
) -> None:
    agent(*(keygen(tmp_path / f"noise{number}") for number in range(8)))
    await visit(make(), server.host)
    config = f"IdentityFile {server.identity}\n"
    await visit(make(config), replace(server.host, identity=None))
    with pytest.raises(HostRefused, match=r"so many keys: tried 8 keys of the agent.*IdentitiesOnly"):
        await visit(make(), replace(server.host, identity=None))


async def test_a_public_key_file_names_a_key_of_the_agent(
    server: OwnSshd, make: Make, tmp_path: Path, agent: Callable[..., None]
) -> None:
    agent(*(keygen(tmp_path / f"noise{number}") for number in range(8)), server.identity)
    chosen = tmp_path / "chosen.pub"
    chosen.write_text(public(server.identity) + "\n")
    await visit(make(), replace(server.host, identity=str(chosen)))
    config = f"IdentityFile {chosen}\nIdentitiesOnly yes\n"
    await visit(make(config), replace(server.host, identity=None))


async def test_a_refusal_names_every_key_and_why_others_were_left_out(
    server: OwnSshd, make: Make, ssh: Path, tmp_path: Path, agent: Callable[..., None]
) -> None:
    agent(keygen(tmp_path / "a"), keygen(tmp_path / "b"))
    keygen(ssh / "id_ed25519")
    keygen(ssh / "id_rsa", kind="rsa", secret="secret")
    with pytest.raises(HostRefused) as caught:
        await visit(make(), bare(server))
    assert str(caught.value) == (
        f"box: no key accepted for {getpass.getuser()}@127.0.0.1: tried 2 keys of the agent and ~/.ssh/id_ed25519;"
        f" ~/.ssh/id_rsa is encrypted and not in the agent (ssh-add it, or --key-passphrase);"
        f" try: ssh -p {server.port} {getpass.getuser()}@127.0.0.1"
    )


async def test_a_named_key_that_is_not_there_is_told(server: OwnSshd, make: Make) -> None:
    with pytest.raises(HostRefused, match=r"~/nothing can't be read \(No such file or directory\)"):
        await visit(make(), replace(server.host, identity="~/nothing"))


async def test_a_named_key_that_is_none_is_told(server: OwnSshd, make: Make, ssh: Path) -> None:
    (ssh / "junk").write_text("not a key\n")
    with pytest.raises(HostRefused, match="junk is not a private key"):
        await visit(make(), replace(server.host, identity=str(ssh / "junk")))


async def test_a_dead_agent_is_told_only_when_no_key_works(
    server: OwnSshd, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    await visit(make(f"IdentityFile {server.identity}\n"), replace(server.host, identity=None))
    with pytest.raises(HostRefused, match=r"the agent at .*gone does not answer"):
        await visit(make(), bare(server))


async def test_a_key_that_was_added_later_is_found(server: OwnSshd, make: Make, ssh: Path) -> None:
    transport = make()
    with pytest.raises(HostRefused, match="no key to try"):
        await visit(transport, bare(server))
    (ssh / "id_ed25519").write_bytes(server.identity.read_bytes())
    await visit(transport, bare(server))


async def test_a_certificate_beside_the_key_lets_us_in(tmp_path: Path, make: Make, ssh: Path) -> None:
    folder = tmp_path / "sshd"
    authority = keygen(tmp_path / "ca")
    server = OwnSshd(folder, lines=[f"TrustedUserCAKeys {authority}.pub"])
    try:
        key = keygen(ssh / "id_ed25519")
        with pytest.raises(HostRefused, match="no key accepted"):
            await visit(make(), bare(server))
        keygen(Path(f"{key}.pub"), "-s", str(authority), "-I", "me", "-n", USER)
        await visit(make(), bare(server))
    finally:
        server.stop()


async def test_the_users_configuration_fills_what_the_host_leaves_open(
    server: OwnSshd, make: Make, tmp_path: Path
) -> None:
    config = (
        f"Host web\n  HostName {server.address}\n  Port {server.port}\n  User {USER}\n"
        f"  IdentityFile {server.identity}\nHost *\n  User nobody-at-all\n  Port 1\n"
    )
    assert (await visit(make(config), Host(name="web", address="web"), "id -un")).decode().strip() == USER
    with pytest.raises(Unreachable, match=f"connection refused by {server.address}:1"):
        await visit(make(config), Host(name="other", address=server.address))


async def test_what_the_host_says_stands_above_the_configuration(
    server: OwnSshd, make: Make, tmp_path: Path
) -> None:
    config = f"Port 1\nUser nobody-at-all\nIdentityFile {keygen(tmp_path / 'wrong')}\n"
    await visit(make(config), server.host)


async def test_the_configuration_can_neither_forward_nor_prompt_nor_run_something_else(
    server: OwnSshd, make: Make, agent: Callable[..., None]
) -> None:
    agent(server.identity)
    config = (
        "ForwardAgent yes\nForwardX11 yes\nForwardX11Trusted yes\nRequestTTY force\nRemoteCommand echo other\n"
        "Compression yes\nPasswordAuthentication yes\nKbdInteractiveAuthentication yes\nLocalForward 1 a:1\n"
        "PreferredAuthentications password\nServerAliveInterval 1\nControlMaster auto\nConnectTimeout 1\n"
    )
    transport = make(config)
    said = await visit(transport, server.host, 'echo "${SSH_AUTH_SOCK-no} ${DISPLAY-no} ${SSH_TTY-no}"')
    assert said == b"no no no\n"


async def test_variables_that_the_configuration_sets_reach_the_host(tmp_path: Path, make: Make) -> None:
    server = OwnSshd(tmp_path / "sshd", lines=["AcceptEnv HOSTLER_TEST"])
    try:
        assert await visit(make("SetEnv HOSTLER_TEST=yes\n"), server.host, "echo $HOSTLER_TEST") == b"yes\n"
    finally:
        server.stop()


async def test_the_fast_cipher_is_used_unless_the_configuration_says_otherwise(
    server: OwnSshd, make: Make
) -> None:
    for config, cipher in (("", "aes128-gcm@openssh.com"), ("Ciphers aes256-ctr\n", "aes256-ctr")):
        line = await make(config).connect(server.host, deadline=LONG)
        conn = cast("asyncssh.SSHClientConnection", line._conn)
        assert conn.get_extra_info("send_cipher") == cipher
        assert conn.get_extra_info("send_compression") == "none"
        await line.close()


@pytest.mark.parametrize(
    "config",
    ["Port notaport\n", "Match nonsense x\n", "User a b\n", 'Host "unbalanced\n', "Ciphers none-such\n"],
)
async def test_a_configuration_that_cannot_be_read_is_one_line_with_the_reason(
    server: OwnSshd, make: Make, config: str
) -> None:
    with pytest.raises(HostRefused, match="SSH configuration can't be used") as caught:
        await visit(make(config), bare(server))
    assert "\n" not in str(caught.value)


async def test_a_proxy_command_is_used(server: OwnSshd, make: Make, tmp_path: Path) -> None:
    relay = tmp_path / "relay.py"
    relay.write_text(
        "import os, socket, sys, threading\n"
        "s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "def up():\n"
        "    while d := os.read(0, 65536): s.sendall(d)\n"
        "threading.Thread(target=up, daemon=True).start()\n"
        "while d := s.recv(65536): os.write(1, d)\n"
    )
    config = f"Host via\n  HostName {server.address}\n  ProxyCommand python3 {relay} %h {server.port}\n"
    host = replace(server.host, address="via", port=None)
    assert await visit(make(config), host, "echo through") == b"through\n"


async def test_without_being_told_the_accounts_own_configuration_is_read(
    server: OwnSshd, ssh: Path, tmp_path: Path
) -> None:
    (ssh / "config").write_text(
        f"Host web\n  HostName {server.address}\n  Port {server.port}\n"
        f"  User {USER}\n  IdentityFile {server.identity}\n"
    )
    transport = AsyncsshTransport(state=tmp_path / "state", strict=None, say=lambda line: None)
    assert await visit(transport, Host(name="web", address="web"), "echo in") == b"in\n"
    await transport.close()
