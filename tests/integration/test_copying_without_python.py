"""Files to and from hosts that have no Python: through sh, find and tar, with what the pages say is not had."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.contract.own_sshd import OwnSshd
from tests.copying_rig import KINDS, Copier, facts, parts
from tests.integration.test_copying import hard

#: Long: `make test-all` tries these, `make test` what the shorter modules hold of the same.
pytestmark = pytest.mark.slow

TOOLS = (
    "cat chmod cksum cut dirname find head ls mkdir mv readlink rm rmdir sed sh sha256sum stat sync tail tar touch "
    "tr wc"
)
#: A find that can't tell all by itself, as on systems without GNU's, and a stat that isn't there.
PLAIN_FIND = """#!{sh}
for word; do case $word in -printf) echo "find: unrecognized: -printf" >&2; exit 1;; esac; done
exec {find} "$@"
"""
KINDS_OF_HOSTS = ("gnu", "plain find", "no stat")


@pytest.fixture(scope="module", params=KINDS_OF_HOSTS)
def bare(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnSshd]:
    """A host with the common tools and no Python."""
    folder = tmp_path_factory.mktemp("bare")
    tools = folder / "tools"
    tools.mkdir()
    for name in TOOLS.split():
        path = shutil.which(name)
        assert path is not None, name
        if name == "find" and request.param != "gnu":
            (tools / name).write_text(PLAIN_FIND.format(sh=shutil.which("sh"), find=path))
            (tools / name).chmod(0o755)
        elif not (name == "stat" and request.param == "no stat"):
            (tools / name).symlink_to(path)
    made = OwnSshd(folder / "sshd", lines=[f"SetEnv HOME={folder}/sshd/home PATH={tools}"])
    made.kind = request.param  # type: ignore[attr-defined]
    yield made
    made.stop()


@pytest.fixture(params=sorted(KINDS))
async def copier(
    request: pytest.FixtureRequest, bare: OwnSshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Copier]:
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    copier = Copier(
        bare, request.param, tmp_path / "state", python="none" if request.param == "openssh" else None
    )
    yield copier
    await copier.transport.close()


def timed(copier: Copier) -> bool:
    """Whether the host knows the times of its files."""
    return copier.server.kind != "no stat"  # type: ignore[attr-defined]


def seconds(root: Path, *, times: bool = True) -> dict:
    """A tree with its times in whole seconds."""
    return {name: (*fact[:3], fact[3] // 10**9 if times else 0) for name, fact in facts(root).items()}


async def test_a_tree_put_and_got_is_the_same_byte_for_byte(copier: Copier, tmp_path: Path) -> None:
    source = hard(tmp_path / "source")
    put = await copier.put(source, tmp_path / "there")
    assert put.well and any("through sh" in remark for remark in put.remarks), put
    assert seconds(tmp_path / "there") == seconds(source)
    got = await copier.get(tmp_path / "there", tmp_path / "back")
    assert got.well, (got.error, got.failures)
    times = timed(copier)
    back = seconds(tmp_path / "back" / "box" / "there", times=times)
    folders = {name for name, fact in back.items() if fact[0] == "folder"} if not times else set()
    assert {name: fact for name, fact in back.items() if name not in folders} == {
        name: fact for name, fact in seconds(source, times=times).items() if name not in folders
    }
    assert parts(tmp_path) == []


async def test_a_second_time_nothing_is_sent(copier: Copier, tmp_path: Path) -> None:
    source = hard(tmp_path / "source")
    await copier.sync(source, tmp_path / "there")
    by_content = await copier.sync(source, tmp_path / "there", content=True)
    assert by_content.well and by_content.files == 0, by_content
    again = await copier.sync(source, tmp_path / "there")
    assert again.well and (again.files == 0 or not timed(copier)), again


async def test_sync_makes_the_same_of_what_was_there(copier: Copier, tmp_path: Path) -> None:
    source, there = tmp_path / "source", tmp_path / "all" / "there"
    (source / "d").mkdir(parents=True)
    (source / "kind").write_text("file")
    (source / "link").symlink_to("kind")
    (source / "once a link").write_text("now a file")
    (source / "rights").write_text("x")
    (source / "d" / "-n").write_text("dash")
    (there / "old" / "deep").mkdir(parents=True)
    (there / "old" / "deep" / "x\ny").write_text("x")
    (there / "kind" / "was").mkdir(parents=True)
    (there / "once a link").symlink_to(tmp_path / "all")
    (there / "link").write_text("once a file")
    (tmp_path / "all" / "beside").write_text("stays")
    shutil.copy2(source / "rights", there / "rights")
    (source / "rights").chmod(0o751)
    done = await copier.sync(source, there, delete=True)
    assert done.well, done
    assert seconds(there) == seconds(source)
    assert (tmp_path / "all" / "beside").read_text() == "stays"


async def test_put_goes_into_a_folder_and_single_files_keep_their_place(
    copier: Copier, tmp_path: Path
) -> None:
    (tmp_path / "a b").write_text("hello")
    (tmp_path / "into").mkdir()
    assert (await copier.put(tmp_path / "a b", tmp_path / "into")).well
    assert (await copier.put(tmp_path / "a b", tmp_path / "named")).well
    assert (await copier.put(tmp_path / "a b", tmp_path / "new" / "deep", parents=True)).well
    for place in ("into/a b", "named", "new/deep"):
        assert (tmp_path / place).read_text() == "hello"
    got = await copier.get(tmp_path / "into" / "a b", tmp_path / "back")
    assert got.well and (tmp_path / "back" / "box" / "a b").read_text() == "hello", got


async def test_delete_is_refused_where_the_home_is(copier: Copier, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (copier.server.home / "precious").write_text("x")
    for place in ("", "~", ".", f"{copier.server.home}/..", "/"):
        done = await copier.sync(tmp_path / "source", place, delete=True)
        assert "home is" in done.error, place
    assert (copier.server.home / "precious").read_text() == "x"


async def test_what_can_not_be_done_is_said_in_a_line(copier: Copier, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    missing = await copier.get(tmp_path / "nowhere", tmp_path / "back")
    assert missing.reached and "no such file" in missing.error
    housed = await copier.put(tmp_path / "file", tmp_path / "no" / "such")
    assert "--parents" in housed.error
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x").mkdir()
    (tmp_path / "src" / "x").mkdir(parents=True)
    (tmp_path / "src" / "x").rmdir()
    (tmp_path / "src" / "x").write_text("file")
    done = await copier.sync(tmp_path / "src", tmp_path / "sub")
    assert done.failed == 1 and (tmp_path / "sub" / "x").is_dir()


@pytest.mark.skipif(os.getuid() != 0, reason="a small disk needs root")
async def test_a_full_disk_leaves_the_old_file_whole(copier: Copier, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size=1M tmpfs {disk} 2>/dev/null"):
        pytest.skip("no mounts here")
    try:
        (disk / "a").write_text("old")
        (tmp_path / "a").write_bytes(os.urandom(4 << 20))
        done = await copier.put(tmp_path / "a", disk / "a")
        assert not done.well and "No space left" in done.error, done
        assert (disk / "a").read_text() == "old" and parts(disk) == []
    finally:
        os.system(f"umount {disk}")
