"""Which hosts go to the ssh program by themselves: one look through the configuration; ssh is asked seldom."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hostler.errors import HostRefused
from hostler.model.hosts import Host
from hostler.ports import Transport
from hostler.transports.asyncssh import AsyncsshTransport
from hostler.transports.choosing import Choosing
from hostler.transports.needs import Needs
from hostler.transports.openssh import OpensshTransport
from hostler.transports.sshconfig import files
from hostler.transports.survey import survey


@dataclass(slots=True)
class Chooser:
    """The choice of one configuration, and the hosts that ssh was asked about."""

    choosing: Choosing
    asked: list[str] = field(default_factory=list)

    async def why(self, name: str, **more: str) -> str:
        return await self.choosing.why(Host(name=name, address=name, **more))  # type: ignore[arg-type]


Choose = Callable[..., Chooser]
PLAIN = "asyncssh, as nothing in your SSH configuration needs the ssh program"


@pytest.fixture
def choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Choose:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()

    def choose(config: str, *, usual: str = "auto", **env: str) -> Chooser:
        file = tmp_path / ".ssh/config"
        file.write_text(config)

        def say(line: str) -> None: ...

        state, given = tmp_path / "state", [file]
        by_asyncssh = AsyncsshTransport(state=state, strict=None, ssh_config=given, say=say)
        by_openssh = OpensshTransport(state=state, strict=None, ssh_config=given, say=say)
        asked: list[str] = []

        async def said(host: Host) -> dict[str, list[str]]:
            asked.append(host.address)
            return await by_openssh.said(host)

        needs = Needs(survey(files(given)), said=said, way=by_asyncssh.way, env=env)
        ways: dict[str, Callable[[], Transport]] = {
            "asyncssh": lambda: by_asyncssh,
            "openssh": lambda: by_openssh,
        }
        return Chooser(Choosing(ways, usual=usual, needs=needs.of), asked)

    return choose


async def test_a_plain_configuration_needs_no_ssh_program_and_none_is_asked(choose: Choose) -> None:
    chooser = choose(
        "Host web\n  Port 22\n  ProxyJump gate\n  CertificateFile ~/.ssh/c\n  ControlMaster auto\n"
        "Match host db user me exec true\n  User me\nHost *\n  ForwardAgent yes\n  Compression yes\n"
    )
    assert {await chooser.why(name) for name in ("web", "db", "other")} == {PLAIN}
    assert chooser.asked == []


@pytest.mark.parametrize(
    "line",
    [
        "KnownHostsCommand /bin/keys %H",
        "RevokedHostKeys /etc/revoked",
        "VerifyHostKeyDNS yes",
        "VerifyHostKeyDNS ask",
        "PKCS11Provider /usr/lib/pkcs11.so",
        "SecurityKeyProvider /usr/lib/sk.so",
        "HostbasedAuthentication yes",
        "BindAddress 127.0.0.1",
        "BindInterface lo",
        "ProxyUseFdpass yes",
    ],
)
async def test_a_host_whose_block_asks_for_what_only_ssh_does_goes_to_ssh_and_no_other_does(
    choose: Choose, line: str, tmp_path: Path
) -> None:
    chooser = choose(f"Host odd\n  User me\n  {line}\nHost *\n  Port 22\n")
    word = line.split()[0]
    assert (
        await chooser.why("odd")
        == f"openssh, as {word} ({tmp_path}/.ssh/config:3) is something that only ssh does"
    )
    assert await chooser.why("even") == PLAIN
    assert chooser.asked == []


@pytest.mark.parametrize(
    "line",
    ["KnownHostsCommand none", "VerifyHostKeyDNS no", "PKCS11Provider none", "SecurityKeyProvider internal"],
)
async def test_a_word_that_says_no_changes_nothing_and_the_first_that_is_said_counts(
    choose: Choose, line: str
) -> None:
    word = line.split()[0]
    later = {"VerifyHostKeyDNS": "yes"}.get(word, "/lib/other")
    chooser = choose(f"Host odd\n  {line}\nHost *\n  {word} {later}\n")
    assert await chooser.why("odd") == PLAIN
    assert (await chooser.why("even")).startswith("openssh, ")


async def test_under_a_match_ssh_is_asked_about_the_hosts_that_it_may_concern(choose: Choose) -> None:
    config = "Host odd* even*\nMatch host odd* exec true\n  KnownHostsCommand /bin/keys\n"
    chooser = choose(config)
    assert (await chooser.why("odd1")).startswith("openssh, as KnownHostsCommand")
    assert await chooser.why("even1") == PLAIN
    assert chooser.asked == ["odd1", "even1"]


@pytest.mark.parametrize("match", ["version OpenSSH_9*", "sessiontype exec", 'exec "test %h = web"'])
async def test_a_match_that_asyncssh_cannot_read_sends_all_to_ssh(
    choose: Choose, match: str, tmp_path: Path
) -> None:
    why = await choose(f"Host a\n  Port 1\nMatch {match}\n  User me\n").why("web")
    assert why.startswith("openssh, as AsyncSSH can't read Match ") and f"{tmp_path}/.ssh/config:3" in why


async def test_gssapi_counts_only_for_those_who_have_a_ticket(choose: Choose) -> None:
    config = "Host *\n  GSSAPIAuthentication yes\n"
    if not os.path.exists(f"/tmp/krb5cc_{os.getuid()}"):
        assert await choose(config).why("web") == PLAIN
    assert (await choose(config, KRB5CCNAME="FILE:/x").why("web")).startswith("openssh, as GSSAPIAuth")
    assert await choose("GSSAPIAuthentication no\n", KRB5CCNAME="FILE:/x").why("web") == PLAIN


async def test_a_control_path_counts_for_hosts_with_an_open_line_there(
    choose: Choose, tmp_path: Path
) -> None:
    chooser = choose("Host *\n  ControlMaster auto\n  ControlPath ~/cm-%n\n".replace("~", str(tmp_path)))
    assert await chooser.why("web") == PLAIN
    assert chooser.asked == []  # no socket there at all
    with socket.socket(socket.AF_UNIX) as line:
        line.bind(str(tmp_path / "cm-db"))
        assert (await chooser.why("db")).startswith("openssh, as ControlPath")
        assert await chooser.why("web2") == PLAIN
        assert chooser.asked == ["db", "web2"]


async def test_keys_in_hardware_are_for_ssh(choose: Choose, tmp_path: Path) -> None:
    key = tmp_path / "touch"
    Path(f"{key}.pub").write_text("sk-ssh-ed25519@openssh.com AAAA me\n")
    chooser = choose(f"Host one\n  IdentityFile ~/other\n  IdentityFile {key}\n")
    assert (await chooser.why("one")).startswith("openssh, as IdentityFile")
    assert await chooser.why("two", identity=str(key)) == (
        f"openssh, as {key} is a key in hardware, which only ssh uses"
    )
    assert await chooser.why("three", identity=str(tmp_path / "plain")) == PLAIN


async def test_a_host_goes_the_way_that_its_jump_host_needs(choose: Choose) -> None:
    chooser = choose("Host gate\n  KnownHostsCommand /bin/keys\nHost web\n  ProxyJump first,me@gate:22\n")
    assert (await chooser.why("web")).startswith("openssh, as for its jump host gate, KnownHostsCommand")
    assert (await chooser.why("db", jump="gate")).startswith("openssh, as for its jump host gate")
    assert await chooser.why("other") == PLAIN


async def test_what_the_user_said_stands_above_what_is_found_and_the_host_above_both(choose: Choose) -> None:
    config = "Host odd\n  KnownHostsCommand /bin/keys\n"
    assert await choose(config, usual="asyncssh").why("odd") == "asyncssh, as --transport or a setting says"
    chooser = choose(config, usual="openssh")
    own = Host(name="odd", address="odd", vars=(("transport", "asyncssh"),))
    assert await chooser.choosing.why(own) == "asyncssh, as its variable transport says"
    auto = Host(name="x", address="x", vars=(("transport", "auto"),))
    assert await chooser.choosing.why(auto) == PLAIN
    with pytest.raises(HostRefused, match="transport 'pigeon': there is asyncssh, openssh"):
        await chooser.choosing.why(Host(name="x", address="x", vars=(("transport", "pigeon"),)))
