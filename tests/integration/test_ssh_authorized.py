"""A key of ours in authorized_keys, put there and taken away by a real shell: what others wrote stays as it is."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from hostler.errors import HostRefused
from hostler.model.hosts import Host
from hostler.ports import Connection
from hostler.shell.authorized import OURS
from hostler.transports.authorizing import authorize, withdraw
from hostler.transports.local import LocalTransport

LONG = 30.0
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHostlerHostlerHostlerHostlerHostlerHostlerH"
HOUR = timedelta(hours=1)
UID, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of the account on "the host", which is this machine."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


async def line() -> Connection:
    return await LocalTransport().connect(Host(name="localhost", address="localhost"), deadline=LONG)


async def put(uid: str = UID, lifetime: timedelta = HOUR) -> bool:
    return await authorize(await line(), uid=uid, key=KEY, lifetime=lifetime, deadline=LONG)


async def take(uid: str = UID, *, made: bool = False) -> None:
    await withdraw(await line(), uid=uid, made=made, deadline=LONG)


def written(home: Path, data: bytes, mode: int = 0o600) -> Path:
    (home / ".ssh").mkdir(mode=0o700)
    file = home / ".ssh/authorized_keys"
    file.write_bytes(data)
    file.chmod(mode)
    return file


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"ssh-ed25519 AAAA me@home\n",
        b"ssh-ed25519 AAAA no end of line",
        b"ssh-ed25519 AAAA windows\r\nssh-rsa BBBB\r\n",
        b'\n\n# a comment\n\tcommand="echo \'a\' \\"b\\" $HOME `id`" ssh-rsa AAAA\n\\n %s %d\\c\n',
        b"\xff\xfe\x00s\x00s\x00h\n\x81\x82\x88\xc3\n\0\0\0",
        b"# hostler-session-" + UID.encode() + b"\nssh-ed25519 AAAA hostler-session-" + UID.encode() + b"\n",
        b'restrict,expiry-time="200001010000",agent-forwarding ssh-ed25519 AAAA hostler-session-' + b"c" * 32,
        b"ssh-ed25519 " + b"A" * 200_000 + b"\n" + b"x" * 300_000,
    ],
    ids=["empty", "plain", "no-end", "crlf", "shell", "binary", "lookalike", "changed", "long"],
)
async def test_what_others_wrote_is_the_same_to_the_byte_with_our_line_and_without(
    home: Path, data: bytes
) -> None:
    file = written(home, data, 0o644)
    assert await put() is False
    first, _, rest = file.read_bytes().partition(b"\n")
    assert OURS.fullmatch(first) and rest == data and mode(file) == 0o644
    await put()  # a second time changes nothing
    assert file.read_bytes() == first + b"\n" + data
    await take()
    assert file.read_bytes() == data and mode(file) == 0o644
    assert os.listdir(home / ".ssh") == ["authorized_keys"]


async def test_a_file_that_was_not_there_is_made_for_us_alone_and_goes_again(home: Path) -> None:
    before = os.umask(0)
    try:
        assert await put() is True
    finally:
        os.umask(before)
    file = home / ".ssh/authorized_keys"
    assert mode(home / ".ssh") == 0o700 and mode(file) == 0o600
    await take(made=True)
    assert not file.exists()


async def test_a_file_that_somebody_added_to_meanwhile_stays(home: Path) -> None:
    made = await put()
    file = home / ".ssh/authorized_keys"
    with open(file, "ab") as more:
        more.write(b"ssh-ed25519 AAAA me\n")
    await take(made=made)
    assert file.read_bytes() == b"ssh-ed25519 AAAA me\n"


async def test_many_who_write_at_once_keep_each_others_lines_and_the_persons(home: Path) -> None:
    file = written(home, b"ssh-ed25519 AAAA me")
    uids = [f"{number:032x}" for number in range(6)]
    await asyncio.gather(*(put(uid) for uid in uids))
    text = file.read_bytes()
    assert {found["uid"].decode() for found in OURS.finditer(text)} == set(uids)
    assert text.endswith(b"\nssh-ed25519 AAAA me")
    await asyncio.gather(*(take(uid) for uid in uids))
    assert file.read_bytes() == b"ssh-ed25519 AAAA me"


async def test_lines_of_ours_that_are_over_go_and_those_of_others_that_live_stay(home: Path) -> None:
    file = written(home, b"ssh-ed25519 AAAA me\n")
    await put(OTHER, -HOUR)
    await put("c" * 32)
    await put()
    assert {found["uid"][:1] for found in OURS.finditer(file.read_bytes())} == {b"c", b"a"}
    await put(OTHER, -HOUR)
    await take()
    await take("c" * 32)
    assert file.read_bytes() == b"ssh-ed25519 AAAA me\n"


async def test_a_renewal_takes_the_place_of_the_line_before(home: Path) -> None:
    await put()
    await put(lifetime=3 * HOUR)
    assert len((home / ".ssh/authorized_keys").read_bytes().splitlines()) == 1


async def test_a_link_is_written_through(home: Path) -> None:
    (home / "elsewhere").mkdir()
    real = home / "elsewhere/keys"
    real.write_bytes(b"ssh-ed25519 AAAA me\n")
    (home / ".ssh").mkdir()
    (home / ".ssh/authorized_keys").symlink_to("../elsewhere/keys")
    await put()
    assert OURS.match(real.read_bytes()) and (home / ".ssh/authorized_keys").is_symlink()
    await take()
    assert real.read_bytes() == b"ssh-ed25519 AAAA me\n" and os.listdir(real.parent) == ["keys"]


@pytest.mark.slow
async def test_the_lock_of_somebody_who_was_killed_does_not_hold_for_ever(home: Path) -> None:
    file = written(home, b"ssh-ed25519 AAAA me\n")
    (home / ".ssh/authorized_keys.hostler").mkdir()
    await put()
    assert OURS.match(file.read_bytes()) and os.listdir(home / ".ssh") == ["authorized_keys"]


def ring(home: Path) -> None:
    (home / ".ssh").mkdir()
    (home / ".ssh/authorized_keys").symlink_to("other")
    (home / ".ssh/other").symlink_to("authorized_keys")


def folder(home: Path) -> None:
    (home / ".ssh/authorized_keys").mkdir(parents=True)


def giant(home: Path) -> None:
    written(home, b"#" * (1 << 20) + b"\n")


def not_a_folder(home: Path) -> None:
    (home / ".ssh").write_text("")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (ring, "ring of links"),
        (folder, "is no file"),
        (giant, "longer than a megabyte"),
        (not_a_folder, "can not be made"),
    ],
)
async def test_what_can_not_be_written_is_one_line_and_stays_as_it_is(
    home: Path, spoil: Callable[[Path], None], why: str
) -> None:
    spoil(home)
    before = subprocess.run(["ls", "-lR", str(home)], capture_output=True, check=False).stdout
    with pytest.raises(HostRefused, match=why):
        await put()
    assert subprocess.run(["ls", "-lR", str(home)], capture_output=True, check=False).stdout == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to anything: `make test-plain` tries this")
@pytest.mark.parametrize(("place", "bits", "why"), [("authorized_keys", 0o400, "not to be written"),
                                                    (".", 0o500, "nothing can be written")])  # fmt: skip
async def test_what_is_kept_from_being_written_is_one_line_and_stays_as_it_is(
    home: Path, place: str, bits: int, why: str
) -> None:
    file = written(home, b"ssh-ed25519 AAAA me\n")
    (home / ".ssh" / place).chmod(bits)
    with pytest.raises(HostRefused, match=why):
        await put()
    assert file.read_bytes() == b"ssh-ed25519 AAAA me\n" and mode(home / ".ssh" / place) == bits
    (home / ".ssh").chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk and give files away")
async def test_a_full_disk_and_somebody_elses_file_are_one_line_and_stay_as_they_are(home: Path) -> None:
    file = written(home, b"ssh-ed25519 AAAA me\n")
    os.chown(file, 65534, 65534)
    with pytest.raises(HostRefused, match="somebody else's"):
        await put()
    words = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "hostler-test", str(home / ".ssh")]
    subprocess.run(words, check=True, timeout=20)
    try:
        file.write_bytes(b"ssh-ed25519 AAAA me\n")
        with open(home / ".ssh/filler", "wb", buffering=0) as filler, suppress(OSError):
            while filler.write(b"x" * 4096):
                pass
        with pytest.raises(HostRefused, match="nothing can be written"):
            await put()
        assert file.read_bytes() == b"ssh-ed25519 AAAA me\n"
        assert sorted(os.listdir(home / ".ssh")) == ["authorized_keys", "filler"]
    finally:
        subprocess.run(["umount", str(home / ".ssh")], check=True, timeout=20)
