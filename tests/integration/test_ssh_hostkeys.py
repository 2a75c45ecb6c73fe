"""Who the host is: keys on record, authorities, revoked keys, first contacts: one policy, whichever transport."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace

from hostler.errors import HostKeyMismatch, HostRefused
from hostler.ports import Transport
from hostler.transports.asyncssh import AsyncsshTransport
from hostler.transports.knownhosts import key_of, learn
from hostler.transports.openssh import OpensshTransport
from tests.contract.own_sshd import OwnSshd, keygen, public, visit

LONG = 30.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnSshd]:
    server = OwnSshd(tmp_path_factory.mktemp("sshd"), kinds=("ed25519", "ecdsa", "rsa"))
    yield server
    server.stop()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home/.ssh").mkdir(parents=True, mode=0o700)
    return tmp_path / "home"


Make = Callable[..., Transport]


@pytest.fixture(params=[AsyncsshTransport, OpensshTransport])
async def make(
    request: pytest.FixtureRequest, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Make]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    made: list[Transport] = []

    def make(*, strict: bool | None = None, config: str = "", said: list[str] | None = None) -> Transport:
        file = home / ".ssh/config"
        file.write_text(config)
        remarks = [] if said is None else said
        made.append(
            request.param(state=tmp_path / "state", strict=strict, ssh_config=[file], say=remarks.append)
        )
        return made[-1]

    yield make
    for transport in made:
        await transport.close()


def users(home: Path) -> Path:
    return home / ".ssh/known_hosts"


def ours(tmp_path: Path) -> Path:
    return tmp_path / "state/known_hosts"


async def test_a_first_contact_is_recorded_in_our_file_and_the_users_stays(
    server: OwnSshd, make: Make, home: Path, tmp_path: Path
) -> None:
    users(home).write_text("# mine\n")
    before = os.umask(0)
    try:
        await visit(make(), server.host)
    finally:
        os.umask(before)
    lines = ours(tmp_path).read_text().splitlines()
    assert len(lines) == 1 and lines[0].startswith(server.place + " ")
    assert lines[0].split(" ", 1)[1] in [public(key) for key in server.host_keys]
    assert stat.S_IMODE(ours(tmp_path).stat().st_mode) == 0o600
    assert stat.S_IMODE(ours(tmp_path).parent.stat().st_mode) == 0o700
    assert users(home).read_text() == "# mine\n"
    await visit(make(strict=True), server.host)
    assert ours(tmp_path).read_text().splitlines() == lines


async def test_a_key_that_changed_since_the_first_contact_is_refused_with_the_place_of_the_old_one(
    make: Make, tmp_path: Path
) -> None:
    server = OwnSshd(tmp_path / "sshd")
    try:
        await visit(make(), server.host)
        server.stop()
        server.start(host_keys=[keygen(tmp_path / "new")])
        kept = ours(tmp_path).read_text()
        for _ in range(2):
            with pytest.raises(HostKeyMismatch) as caught:
                await visit(make(), server.host)
            assert f"{ours(tmp_path)}:1" in str(caught.value) and "hostler's own record" in str(caught.value)
            assert f"ssh-keygen -R '{server.place}' -f {ours(tmp_path)}" in str(caught.value)
            assert ours(tmp_path).read_text() == kept
        # The advice works.
        subprocess.run(
            ["ssh-keygen", "-R", server.place, "-f", ours(tmp_path)], check=True, capture_output=True
        )
        await visit(make(), server.host)
    finally:
        server.stop()


@pytest.mark.parametrize("hashed", [False, True])
async def test_a_key_in_the_users_known_hosts_is_trusted_and_nothing_is_written(
    server: OwnSshd, make: Make, home: Path, tmp_path: Path, hashed: bool
) -> None:
    users(home).write_text(f"{server.place} {public(server.host_keys[0])}\n")
    if hashed:
        subprocess.run(["ssh-keygen", "-H", "-f", users(home)], check=True, capture_output=True)
        assert server.place not in users(home).read_text()
    await visit(make(strict=True), server.host)
    assert not ours(tmp_path).exists()


@pytest.mark.parametrize("hashed", [False, True])
async def test_a_conflict_with_the_users_known_hosts_is_refused_with_file_and_line(
    server: OwnSshd, make: Make, home: Path, tmp_path: Path, hashed: bool
) -> None:
    text = f"# a comment\n{server.place} {public(keygen(tmp_path / 'old'))}\n"
    users(home).write_text(text)
    if hashed:
        subprocess.run(["ssh-keygen", "-H", "-f", users(home)], check=True, capture_output=True)
    with pytest.raises(HostKeyMismatch, match=f"{users(home)}:2"):
        await visit(make(), server.host)
    assert not ours(tmp_path).exists()


@pytest.mark.parametrize("kind", ["ecdsa", "rsa", "ed25519"])
async def test_of_a_host_with_several_keys_the_one_on_record_is_asked_for(
    server: OwnSshd, make: Make, home: Path, kind: str
) -> None:
    users(home).write_text(f"{server.place} {public(server.folder / f'host_{kind}')}\n")
    await visit(make(strict=True), server.host)


async def test_a_key_of_another_type_than_the_one_on_record_is_a_conflict(
    make: Make, home: Path, tmp_path: Path
) -> None:
    server = OwnSshd(tmp_path / "sshd", kinds=("ed25519",))
    try:
        users(home).write_text(f"{server.place} {public(keygen(tmp_path / 'ec', kind='ecdsa'))}\n")
        with pytest.raises(HostKeyMismatch, match=f"{users(home)}:1"):
            await visit(make(), server.host)
    finally:
        server.stop()


async def test_a_stale_entry_of_our_own_refuses_though_the_users_file_agrees(
    server: OwnSshd, make: Make, home: Path, tmp_path: Path
) -> None:
    users(home).write_text(f"{server.place} {public(server.host_keys[0])}\n")
    ours(tmp_path).parent.mkdir()
    ours(tmp_path).write_text(f"{server.place} {public(keygen(tmp_path / 'stale'))}\n")
    with pytest.raises(HostKeyMismatch, match=f"{ours(tmp_path)}:1"):
        await visit(make(), server.host)


async def test_a_name_without_port_vouches_for_a_key_but_never_against_one(
    server: OwnSshd, make: Make, home: Path, tmp_path: Path
) -> None:
    users(home).write_text(f"{server.address} {public(server.host_keys[0])}\n")
    await visit(make(strict=True), server.host)
    users(home).write_text(f"{server.address} {public(keygen(tmp_path / 'other'))}\n")
    await visit(make(), server.host)


@pytest.mark.parametrize("pattern", ["*", "127.*,!10.*"])
async def test_a_revoked_key_is_refused_even_when_it_is_on_record(
    server: OwnSshd, make: Make, home: Path, tmp_path: Path, pattern: str
) -> None:
    names = pattern if pattern == "*" else f"[127.*]:{server.port},!10.*"
    revoked = "".join(f"@revoked {names} {public(key)}\n" for key in server.host_keys)
    users(home).write_text(f"{server.place} {public(server.host_keys[0])}\n{revoked}")
    with pytest.raises(HostKeyMismatch, match=f"revoked in {users(home)}:2"):
        await visit(make(), server.host)
    assert not ours(tmp_path).exists()


@pytest.fixture
def certified(tmp_path: Path) -> Iterator[OwnSshd]:
    """A host with a certificate of an authority at tmp_path/ca."""
    folder = tmp_path / "certified"
    folder.mkdir()
    authority = keygen(tmp_path / "ca")
    key = keygen(folder / "signed")
    keygen(Path(f"{key}.pub"), "-s", str(authority), "-I", "box", "-h", "-n", "127.0.0.1")
    server = OwnSshd(folder, lines=[f"HostCertificate {folder}/signed-cert.pub", f"HostKey {key}"])
    yield server
    server.stop()


async def test_a_host_certificate_of_a_known_authority_is_trusted_and_nothing_is_written(
    certified: OwnSshd, make: Make, home: Path, tmp_path: Path
) -> None:
    users(home).write_text(f"@cert-authority [127.0.0.*]:* {public(tmp_path / 'ca')}\n")
    await visit(make(strict=True), certified.host)
    assert not ours(tmp_path).exists()


async def test_a_host_with_a_certificate_of_nobody_we_know_is_judged_by_its_plain_key(
    certified: OwnSshd, make: Make, home: Path, tmp_path: Path
) -> None:
    with pytest.raises(HostRefused, match="not on record"):
        await visit(make(strict=True), certified.host)
    await visit(make(), certified.host)
    assert len(ours(tmp_path).read_text().splitlines()) == 1


async def test_a_certificate_of_another_authority_leaves_the_plain_key_to_be_judged(
    certified: OwnSshd, make: Make, home: Path, tmp_path: Path
) -> None:
    users(home).write_text(f"@cert-authority * {public(keygen(tmp_path / 'elsewhere'))}\n")
    with pytest.raises(HostRefused, match="not on record"):
        await visit(make(strict=True), certified.host)
    users(home).write_text(
        users(home).read_text() + f"{certified.place} {public(certified.folder / 'signed')}\n"
    )
    await visit(make(strict=True), certified.host)


async def test_a_certificate_for_another_name_does_not_vouch(
    certified: OwnSshd, make: Make, home: Path, tmp_path: Path
) -> None:
    users(home).write_text(f"@cert-authority * {public(tmp_path / 'ca')}\n")
    certified.stop()
    keygen(
        certified.folder / "signed.pub",
        "-s",
        str(tmp_path / "ca"),
        "-I",
        "box",
        "-h",
        "-n",
        "another.example",
    )
    certified.start()
    with pytest.raises(HostRefused, match="not on record"):
        await visit(make(strict=True), certified.host)


@pytest.mark.parametrize("revoked", ["ca", "certified/signed"])
async def test_a_certificate_with_a_revoked_key_or_authority_is_refused(
    certified: OwnSshd, make: Make, home: Path, tmp_path: Path, revoked: str
) -> None:
    ca = public(tmp_path / "ca")
    users(home).write_text(f"@cert-authority * {ca}\n@revoked * {public(tmp_path / revoked)}\n")
    with pytest.raises(HostKeyMismatch, match="revoked"):
        await visit(make(), certified.host)
    assert not ours(tmp_path).exists()


async def test_a_pinned_key_decides_alone(server: OwnSshd, make: Make, home: Path, tmp_path: Path) -> None:
    users(home).write_text(f"{server.place} {public(keygen(tmp_path / 'other'))}\n")
    for key in server.host_keys:
        await visit(make(strict=True), replace(server.host, host_key=public(key) + " a comment"))
    pinned = replace(server.host, host_key=public(tmp_path / "other"), source="hosts.yaml:3")
    with pytest.raises(HostKeyMismatch, match=r"is pinned \(hosts.yaml:3\)"):
        await visit(make(), pinned)
    assert not ours(tmp_path).exists()


async def test_a_pinned_key_that_is_none_is_refused(server: OwnSshd, make: Make) -> None:
    with pytest.raises(HostRefused, match="no public key line"):
        await visit(make(), replace(server.host, host_key="SHA256:abc"))


async def test_a_strict_setting_refuses_an_unknown_key_and_shows_it(
    server: OwnSshd, make: Make, tmp_path: Path
) -> None:
    with pytest.raises(HostRefused, match=r"not on record.*SHA256:") as caught:
        await visit(make(strict=True), server.host)
    assert not isinstance(caught.value, HostKeyMismatch)
    assert not ours(tmp_path).exists()


@pytest.mark.parametrize(
    ("config", "refused"),
    [
        ("StrictHostKeyChecking yes", True),
        ("Host 127.*\n  StrictHostKeyChecking=ask", True),
        ("Host other\n  StrictHostKeyChecking yes", False),
        ("Host 127.* !127.0.0.1\n  StrictHostKeyChecking yes", False),
        ("StrictHostKeyChecking accept-new\nHost *\n  StrictHostKeyChecking yes", False),
        ("StrictHostKeyChecking no", False),
        ("Match host 127.0.0.1\n  StrictHostKeyChecking yes", True),
        ("Match host elsewhere\n  StrictHostKeyChecking yes", False),
        ("Match user nobody-here\n  StrictHostKeyChecking yes\nHost *\n  StrictHostKeyChecking ask", True),
    ],
)
async def test_the_users_configuration_says_for_which_hosts_unknown_keys_are_refused(
    server: OwnSshd, make: Make, config: str, refused: bool
) -> None:
    if refused:
        with pytest.raises(HostRefused, match="not on record"):
            await visit(make(config=config), server.host)
    else:
        await visit(make(config=config), server.host)


async def test_a_no_in_the_users_configuration_is_ignored_with_one_remark(make: Make, tmp_path: Path) -> None:
    said: list[str] = []
    server = OwnSshd(tmp_path / "sshd")
    try:
        transport = make(config="StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\n", said=said)
        await visit(transport, server.host)
        await visit(transport, replace(server.host, name="again"))
        assert len(said) == 1 and "is ignored" in said[0]
        server.stop()
        server.start(host_keys=[keygen(tmp_path / "new")])
        with pytest.raises(HostKeyMismatch):
            await visit(transport, server.host)
    finally:
        server.stop()


@pytest.mark.parametrize("make", [AsyncsshTransport], indirect=True)
async def test_without_an_ssh_program_a_match_is_taken_as_strict_with_one_remark(
    server: OwnSshd, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said: list[str] = []
    transport = make(config="Match host elsewhere\n  StrictHostKeyChecking no\n", said=said)
    for name in ("a", "b"):
        with pytest.raises(HostRefused, match="not on record"):
            await visit(transport, replace(server.host, name=name))
    assert len(said) == 1 and "config:2: taken as strict, for no ssh program is here" in said[0]


@pytest.mark.parametrize("make", [AsyncsshTransport], indirect=True)
async def test_checks_that_hostler_does_not_make_are_told_once(server: OwnSshd, make: Make) -> None:
    said: list[str] = []
    transport = make(
        config="RevokedHostKeys /nowhere\nHost other\n  KnownHostsCommand /bin/false\n", said=said
    )
    for name in ("a", "b"):
        await visit(transport, replace(server.host, name=name))
    assert len(said) == 1 and "config:1: revokedhostkeys is not read" in said[0]


async def test_words_under_an_include_count_where_it_stands(server: OwnSshd, make: Make, home: Path) -> None:
    (home / ".ssh/extra.conf").write_text("StrictHostKeyChecking yes\n")
    with pytest.raises(HostRefused, match="not on record"):
        await visit(make(config="Host 127.0.0.1\n  Include extra.conf\n"), server.host)
    await visit(make(config="Host elsewhere\n  Include extra.conf\n"), server.host)


async def test_known_hosts_files_that_the_configuration_names_are_read(
    server: OwnSshd, make: Make, home: Path, tmp_path: Path
) -> None:
    (home / "mine").write_text(f"{server.place} {public(server.host_keys[0])}\n")
    config = f"UserKnownHostsFile ~/nothing {home}/mine\nStrictHostKeyChecking yes\n"
    await visit(make(config=config), server.host)
    (home / "mine").write_text(f"{server.place} {public(keygen(tmp_path / 'other'))}\n")
    with pytest.raises(HostKeyMismatch, match=f"{home}/mine:1"):
        await visit(make(config=config), server.host)


async def test_a_host_key_alias_is_the_name_on_record(
    server: OwnSshd, make: Make, home: Path, tmp_path: Path
) -> None:
    users(home).write_text(f"the-box {public(server.host_keys[0])}\n")
    await visit(make(strict=True, config="HostKeyAlias the-box\n"), server.host)
    users(home).write_text("")
    await visit(make(config="HostKeyAlias the-box\n"), server.host)
    assert ours(tmp_path).read_text().startswith("the-box ")


async def test_two_first_contacts_at_once_make_one_entry(server: OwnSshd, make: Make, tmp_path: Path) -> None:
    one, two = make(), make()
    await asyncio.gather(*(visit(transport, server.host) for transport in (one, two, one, two)))
    assert len(ours(tmp_path).read_text().splitlines()) == 1


async def test_a_key_that_cannot_be_put_on_record_is_not_trusted(
    server: OwnSshd, make: Make, tmp_path: Path
) -> None:
    ours(tmp_path).mkdir(parents=True)
    with pytest.raises(HostRefused, match="can't be put on record"):
        await visit(make(), server.host)


def key(number: int) -> bytes:
    return b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + hashlib.sha256(b"%d" % number).digest()


def test_many_writers_at_once_lose_no_entry_and_double_none(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text("# no newline at the end")
    with ThreadPoolExecutor(8) as pool:
        jobs = [(f"host{n % 10}", key(n % 10)) for n in range(80)]
        answers = list(pool.map(lambda job: learn(path, [job]), jobs))
    assert answers == [[None]] * 80
    lines = path.read_text().splitlines()
    assert lines[0].startswith("#") and sorted(line.split()[0] for line in lines[1:]) == [
        f"host{n}" for n in range(10)
    ]


def test_of_two_keys_for_one_host_the_first_stays(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    assert learn(path, [("a", key(1)), ("b", key(1))]) == [None, None]
    [other] = learn(path, [("a", key(2))])
    assert other is not None and other.place == f"{path}:1" and other.blob == key(1)
    first, second = learn(path, [("c", key(1)), ("c", key(2))])
    assert first is None and second is not None
    assert len(path.read_text().splitlines()) == 3


def test_what_ssh_keygen_writes_is_read(tmp_path: Path) -> None:
    made = keygen(tmp_path / "key")
    found = key_of(public(made))
    assert found is not None and found[0] == "ssh-ed25519" and len(found[1]) == 51


async def test_garbled_lines_of_known_hosts_are_passed_over(server: OwnSshd, make: Make, home: Path) -> None:
    users(home).write_bytes(
        b"\xff\xfe\n@unknown-marker x ssh-ed25519 AAAA\n|1|no|hash ssh-ed25519 AAAA\nlonely\n"
        + f"{server.place.upper()}\tssh-ed25519 {public(server.host_keys[0]).split()[1]}\r\n".encode()
    )
    await visit(make(strict=True), server.host)


def test_ssh_keygen_is_here() -> None:
    assert shutil.which("ssh-keygen") and shutil.which("ssh")
