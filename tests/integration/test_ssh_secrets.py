"""Passwords, questions and passphrases at a login, on both transports; and logins that have none and never ask.

Password logins go to AsyncSSH's own server, which needs no account of the system; keys and the agent to OpenSSH's.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from msgspec.structs import replace

from hostler.errors import HostRefused
from hostler.model.hosts import Host
from hostler.model.secrets import Secret
from hostler.ports import Transport
from hostler.transports.asyncssh import AsyncsshTransport
from hostler.transports.logins import NONE, Secrets
from hostler.transports.openssh import OpensshTransport
from tests.agents import PrivateAgent
from tests.contract.own_sshd import USER, OwnSshd, keygen
from tests.contract.own_sshd import server as server

LONG = 30.0
WORD = "open sesame"
Make = Callable[..., Transport]


@pytest.fixture(params=[AsyncsshTransport, OpensshTransport])
async def make(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Make]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    made: list[Transport] = []

    def make(*, password: str | None = None, passphrase: str | None = None) -> Transport:
        secrets = Secrets(
            password=Secret(password) if password else None,
            passphrase=Secret(passphrase) if passphrase else None,
        )
        made.append(
            request.param(
                state=tmp_path / "state",
                strict=None,
                ssh_config=[],
                secrets=secrets if secrets.any() else NONE,
                say=lambda line: None,
            )
        )
        return made[-1]

    yield make
    for transport in made:
        await transport.close()


class Door(asyncssh.SSHServer):
    """A server that wants a password, or answers to `questions`; `tries` counts what it was told."""

    def __init__(self, questions: list[str], tries: list[list[str]]) -> None:
        self._questions, self._tries = questions, tries

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return not self._questions

    def validate_password(self, username: str, password: str) -> bool:
        self._tries.append([password])
        return password == WORD

    def kbdint_auth_supported(self) -> bool:
        return bool(self._questions)

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Any:
        return "", "", "", [(question, False) for question in self._questions]

    def validate_kbdint_response(self, username: str, responses: Any) -> bool:
        self._tries.append(list(responses))
        return list(responses) == [WORD]


class Doors:
    """Servers that ask."""

    def __init__(self, folder: Path) -> None:
        self._key = asyncssh.read_private_key(str(keygen(folder / "asking")))
        self._acceptors: list[asyncssh.SSHAcceptor] = []
        self.tries: list[list[str]] = []

    async def open(self, *questions: str) -> Host:
        """A host that wants a password, by questions if there are any."""

        async def run(process: asyncssh.SSHServerProcess[str]) -> None:
            process.stdout.write("in\n")
            process.exit(0)

        acceptor = await asyncssh.create_server(
            lambda: Door([*questions], self.tries),
            "127.0.0.1",
            0,
            server_host_keys=[self._key],
            process_factory=run,
        )
        self._acceptors.append(acceptor)
        return Host(name="door", address="127.0.0.1", port=acceptor.get_port(), user="somebody")

    async def close(self) -> None:
        for acceptor in self._acceptors:
            acceptor.close()
            await acceptor.wait_closed()


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Doors]:
    doors = Doors(tmp_path)
    yield doors
    await doors.close()


async def visit(transport: Transport, host: Host) -> bytes:
    line = await transport.connect(host, deadline=LONG)
    try:
        return (await line.run("echo in", deadline=LONG)).stdout
    finally:
        await line.close()


async def test_a_password_lets_us_in(make: Make, doors: Doors) -> None:
    transport = make(password=WORD)
    host = await doors.open()
    assert await asyncio.gather(*(visit(transport, host) for _ in range(3))) == [b"in\n"] * 3
    assert doors.tries == [[WORD]] * 3


@pytest.mark.parametrize("question", ["Password: ", "Passwort für somebody:"])
async def test_a_question_for_the_password_is_answered_with_it(
    make: Make, doors: Doors, question: str
) -> None:
    assert await visit(make(password=WORD), await doors.open(question)) == b"in\n"


@pytest.mark.parametrize("questions", [[], ["Password: "]])
async def test_a_wrong_password_is_tried_once_and_told_without_being_shown(
    make: Make, doors: Doors, questions: list[str]
) -> None:
    with pytest.raises(HostRefused, match=r"^door: the password was not accepted for") as caught:
        await visit(make(password="wrong one"), await doors.open(*questions))
    assert doors.tries == [["wrong one"]]
    assert "wrong one" not in f"{caught.getrepr(style='long')}".replace('password="wrong one"', "")


async def test_a_question_that_is_no_password_is_left_unanswered_and_told(make: Make, doors: Doors) -> None:
    with pytest.raises(HostRefused, match=r"it asks '.*Verification code:', which hostler can't answer"):
        await visit(make(password=WORD), await doors.open("Verification code: "))
    assert WORD not in str(doors.tries)


@pytest.mark.parametrize("questions", [[], ["Password: "]])
async def test_without_a_secret_a_host_that_wants_a_password_is_refused_at_once(
    make: Make, doors: Doors, questions: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = tmp_path / "asked"
    ask = tmp_path / "ask"
    ask.write_text(f"#!/bin/sh\ntouch {asked}\necho nobody\n")
    ask.chmod(0o700)
    for name, value in (("SSH_ASKPASS", str(ask)), ("SSH_ASKPASS_REQUIRE", "force"), ("DISPLAY", ":0")):
        monkeypatch.setenv(name, value)
    with pytest.raises(HostRefused, match=r"it would take a password \(--ssh-password\)"):
        await visit(make(), await doors.open(*questions))
    assert not asked.exists() and doors.tries == []


async def test_an_encrypted_key_is_opened_with_the_passphrase(
    server: OwnSshd, make: Make, tmp_path: Path
) -> None:
    locked = keygen(tmp_path / "locked", secret="pass")
    server.accept(server.identity, locked)
    host = replace(server.host, identity=str(locked))
    for there in (True, False):
        if not there:
            Path(f"{locked}.pub").unlink()
        assert await visit(make(passphrase="pass"), host) == b"in\n"
        with pytest.raises(HostRefused, match=r"locked is encrypted, and the passphrase does not fit"):
            await visit(make(passphrase="no such"), host)
        with pytest.raises(HostRefused, match=r"locked is encrypted and not in the agent.*--key-passphrase"):
            await visit(make(), host)


async def test_the_agent_opens_the_door_without_a_secret(
    server: OwnSshd, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = PrivateAgent(tmp_path / "agent")
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent.path))
        with pytest.raises(HostRefused, match="no key to try"):
            await visit(make(), replace(server.host, identity=None))
        agent.add(server.identity)
        assert await visit(make(), replace(server.host, identity=None)) == b"in\n"
    finally:
        agent.leave()


async def test_an_expired_certificate_is_named(make: Make, tmp_path: Path) -> None:
    authority = keygen(tmp_path / "ca")
    server = OwnSshd(tmp_path / "sshd", lines=[f"TrustedUserCAKeys {authority}.pub"])
    try:
        key = keygen(tmp_path / "mine")
        sign = ("-s", str(authority), "-I", "me", "-n", USER)
        keygen(Path(f"{key}.pub"), *sign, "-V", "20200101:20200102")
        host = replace(server.host, identity=str(key))
        with pytest.raises(HostRefused, match=r"tried ~/mine \(its certificate has expired\)"):
            await visit(make(), host)
        keygen(Path(f"{key}.pub"), *sign, "-V", "-1h:+1h")
        assert await visit(make(), replace(host, name="again")) == b"in\n"
    finally:
        server.stop()


async def test_nothing_secret_is_in_the_words_or_the_environment_of_any_process_of_ours(
    make: Make, doors: Doors
) -> None:
    transport = make(password=WORD)
    host, seen = await doors.open("Password: "), set[bytes]()
    visiting = asyncio.create_task(visit(transport, host))
    begun = {pid for pid in os.listdir("/proc") if pid.isdigit()}
    while not visiting.done():
        for pid in set(filter(str.isdigit, os.listdir("/proc"))) - begun:
            for file in ("cmdline", "environ"):
                try:
                    data = Path("/proc", pid, file).read_bytes()
                except OSError:
                    continue
                if WORD.encode() in data:
                    seen.add(data)
        await asyncio.sleep(0)
    assert await visiting == b"in\n" and not seen
