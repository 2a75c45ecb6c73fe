"""Files to and from a real sshd, over both transports: whole trees, byte for byte, whatever their names are."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hostler.model.trees import FOLDER
from hostler.work.copying.copies import opened
from hostler.work.copying.running import Going
from tests.contract.own_sshd import OwnSshd
from tests.contract.own_sshd import server as server
from tests.copying_rig import KINDS, Copier, facts, parts

#: Long: `make test-all` tries these, `make test` what the shorter modules hold of the same.
pytestmark = pytest.mark.slow


@pytest.fixture(params=sorted(KINDS))
async def copier(
    request: pytest.FixtureRequest, server: OwnSshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Copier]:
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    copier = Copier(server, request.param, tmp_path / "state")
    yield copier
    await copier.transport.close()


def hard(folder: Path) -> Path:
    """A tree with all that is hard: names, links, empty folders, rights, holes, more than a piece."""
    root = os.fsencode(folder)
    os.makedirs(os.path.join(root, b"empty/within/within"))
    os.makedirs(os.path.join(root, b"closed"))
    names = (
        b"plain",
        b"sp ace",
        b"new\nline",
        b"\xff\xfe no text",
        b"-rf",
        b"'quote\"$x`",
        b".hidden",
        b"closed/x",
    )
    for at, name in enumerate(names):
        path = os.path.join(root, name)
        with open(path, "wb") as file:
            file.write(name * (at * 1000))
        os.chmod(path, 0o600 + at)
        os.utime(path, ns=(at, 1_234_567_890_123_456_789 + at))
    (folder / "big").write_bytes(os.urandom(3_000_001))
    os.link(folder / "big", folder / "big again")
    with open(folder / "holes", "wb") as file:
        file.write(b"begin")
        file.seek(20 << 20)
        file.write(b"middle")
        file.truncate(40 << 20)
    os.symlink(b"/etc/passwd", os.path.join(root, b"absolute"))
    os.symlink(b"../../..", os.path.join(root, b"up"))
    os.symlink(b"\xff nowhere \n", os.path.join(root, b"nowhere"))
    os.chmod(folder / "closed", 0o555)
    os.utime(folder / "empty", ns=(5, 5_000_000_005))
    return folder


async def test_a_tree_put_and_got_is_the_same_byte_for_byte(copier: Copier, tmp_path: Path) -> None:
    source = hard(tmp_path / "source")
    put = await copier.put(source, tmp_path / "there")
    assert put.well, put
    got = await copier.get(tmp_path / "there", tmp_path / "back")
    assert got.well, got
    assert facts(tmp_path / "there") == facts(source)
    assert facts(tmp_path / "back" / "box" / "there") == facts(source)
    assert parts(tmp_path) == []


async def test_holes_stay_holes(copier: Copier, tmp_path: Path) -> None:
    source = hard(tmp_path / "source") / "holes"
    assert (await copier.put(source, tmp_path / "there")).well
    assert (await copier.get(tmp_path / "there", tmp_path / "back")).well
    for path in (tmp_path / "there", tmp_path / "back" / "box" / "there"):
        assert path.stat().st_size == 40 << 20 and path.stat().st_blocks * 512 < 1 << 20


async def test_a_second_time_nothing_is_sent(copier: Copier, tmp_path: Path) -> None:
    source = hard(tmp_path / "source")
    await copier.sync(source, tmp_path / "there")
    again = await copier.sync(source, tmp_path / "there")
    by_content = await copier.sync(source, tmp_path / "there", content=True)
    assert again.well and (again.files, again.size) == (0, 0) and again.unchanged > 10
    assert by_content.well and by_content.files == 0


async def test_the_same_size_and_time_hide_a_change_from_all_but_checksum(
    copier: Copier, tmp_path: Path
) -> None:
    source, there = tmp_path / "a", tmp_path / "b"
    for path, text in ((source, "one"), (there, "two")):
        path.write_text(text)
        os.utime(path, ns=(0, 0))
    assert (await copier.sync(source, there)).files == 0 and there.read_text() == "two"
    assert (await copier.sync(source, there, content=True)).files == 1 and there.read_text() == "one"


async def test_other_rights_alone_go_without_content(copier: Copier, tmp_path: Path) -> None:
    source = hard(tmp_path / "source")
    await copier.sync(source, tmp_path / "there")
    (source / "big").chmod(0o111)
    before = (tmp_path / "there" / "big").stat()
    done = await copier.sync(source, tmp_path / "there")
    after = (tmp_path / "there" / "big").stat()
    # A hard link is a file of its own there, and has the new rights, too.
    assert done.well and (done.files, done.amended) == (0, 2)
    assert after.st_ino == before.st_ino and after.st_mode & 0o777 == 0o111


async def test_put_goes_into_a_folder_and_sync_becomes_it(copier: Copier, tmp_path: Path) -> None:
    source = tmp_path / "site"
    source.mkdir()
    (source / "index").write_text("hello")
    (tmp_path / "into").mkdir()
    await copier.put(source, tmp_path / "into")
    await copier.put(source / "index", f"{tmp_path}/made/")
    await copier.put(source / "index", tmp_path / "named")
    await copier.sync(source, f"{tmp_path}/synced/")
    await copier.sync(source, f"{tmp_path}/synced")
    assert (tmp_path / "into" / "site" / "index").read_text() == "hello"
    assert (tmp_path / "named").read_text() == "hello"
    assert (tmp_path / "synced" / "index").read_text() == "hello"
    assert not (tmp_path / "synced" / "site").exists()
    assert not (tmp_path / "made").exists()  # without --parents a slip makes no folder
    assert (await copier.put(source / "index", f"{tmp_path}/made/", parents=True)).well
    assert (tmp_path / "made" / "index").read_text() == "hello"


async def test_delete_removes_what_the_source_lacks_and_nothing_beside(
    copier: Copier, tmp_path: Path
) -> None:
    source, there = tmp_path / "source", tmp_path / "all" / "there"
    (source / "d").mkdir(parents=True)
    (source / "kind").write_text("file")
    (there / "old" / "deep").mkdir(parents=True)
    (there / "old" / "deep" / "x").write_text("x")
    (there / "kind" / "was").mkdir(parents=True)
    (there / "link").symlink_to(tmp_path / "all")
    (tmp_path / "all" / "beside").write_text("stays")
    left = await copier.sync(source, there)
    assert left.failed == 1 and (there / "old" / "deep" / "x").exists()
    done = await copier.sync(source, there, delete=True)
    assert done.well and facts(there) == facts(source)
    assert (tmp_path / "all" / "beside").read_text() == "stays"


@pytest.mark.parametrize("place", ["", "~", ".", "HOME/..", "/"])
async def test_delete_is_refused_where_the_home_is(copier: Copier, tmp_path: Path, place: str) -> None:
    source, home = tmp_path / "source", copier.server.home
    source.mkdir()
    (home / "precious").write_text("x")
    done = await copier.sync(source, place.replace("HOME", str(home)), delete=True)
    assert "home is" in done.error and (home / "precious").read_text() == "x"


async def test_a_file_is_never_put_over_a_folder_nor_a_folder_over_a_file(
    copier: Copier, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    one = await copier.sync(tmp_path / "file", tmp_path / "folder")
    other = await copier.sync(tmp_path / "folder", tmp_path / "file")
    assert "a folder is there" in one.error and "a file is there" in other.error
    assert (tmp_path / "file").read_text() == "x" and (tmp_path / "folder").is_dir()


@pytest.mark.parametrize("python", [None, "none"])
async def test_where_a_file_is_to_be_no_folder_is_listed(
    copier: Copier, tmp_path: Path, python: str | None
) -> None:
    """A slip, `sync HOSTS FILE /`, would else walk through all that they have before it is refused."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside").write_text("x")
    host = replace(copier.host, vars=(("python", python),) if python else ())
    far = await opened(copier.transport, host, deadline=30.0, going=Going(host="box"))
    try:
        for file, names in ((True, set()), (False, {b"", b"inside"})):
            found = await far.look(os.fsencode(tmp_path / "folder"), within=None, hashed=False, file=file)
            assert found.kind == FOLDER and set(found.tree.entries) == names
    finally:
        await far.close()


async def test_what_is_missing_on_the_host_is_said_in_a_line(copier: Copier, tmp_path: Path) -> None:
    done = await copier.get(tmp_path / "nowhere", tmp_path / "back")
    assert done.reached and "no such file" in done.error and not (tmp_path / "back").exists()


async def test_a_dry_run_changes_nothing_and_knows_the_texts(copier: Copier, tmp_path: Path) -> None:
    (tmp_path / "new").write_text("a\nb\n")
    (tmp_path / "old").write_text("a\n")
    done = await copier.put(tmp_path / "new", tmp_path / "old", dry=True, diff=True)
    [planned] = copier.planned
    assert done.well and planned.texts == {b"": (b"a\n", b"a\nb\n")} and planned.plan.changes == 1
    assert (tmp_path / "old").read_text() == "a\n"
    copier.planned.clear()
    await copier.get(tmp_path / "new", tmp_path / "back", dry=True, diff=True)
    assert copier.planned[0].texts == {b"": (b"", b"a\nb\n")} and not (tmp_path / "back").exists()


async def test_a_pipe_is_left_out_and_said(copier: Copier, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    os.mkfifo(tmp_path / "source" / "pipe")
    done = await copier.put(tmp_path / "source", tmp_path / "there")
    assert done.well and done.remarks == ("pipe: a device, socket or pipe: left out",)
    assert list((tmp_path / "there").iterdir()) == []


async def test_what_a_host_once_laid_as_a_link_is_never_written_through(
    copier: Copier, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    (source / "way").mkdir(parents=True)
    (source / "way" / "x").write_text("x")
    outside = tmp_path / "outside"
    outside.mkdir()
    there = tmp_path / "back" / "box" / "source"
    there.mkdir(parents=True)
    (there / "way").symlink_to(outside)
    done = await copier.get(source, tmp_path / "back")
    assert done.failed == 1 and list(outside.iterdir()) == []


names = (
    st.binary(min_size=1, max_size=40)
    .map(lambda name: name.replace(b"/", b"_").replace(b"\0", b"_"))
    .filter(lambda name: name not in (b".", b".."))
)
nodes = st.recursive(
    st.one_of(
        st.tuples(st.just("file"), st.binary(max_size=300), st.integers(0, 0o777), st.integers(0, 1 << 61)),
        st.tuples(st.just("link"), names, st.just(0), st.just(0)),
    ),
    lambda inner: st.dictionaries(names, inner, max_size=5),
    max_leaves=12,
)


def lay(path: bytes, node: Any) -> None:
    """Make a tree of hypothesis's."""
    if isinstance(node, dict):
        os.mkdir(path)
        for name, inner in node.items():
            lay(os.path.join(path, name), inner)
        return
    kind, content, mode, time = node
    if kind == "link":
        os.symlink(content, path)
        return
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, mode)
    os.utime(path, ns=(time, time))


@settings(
    max_examples=5, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(first=st.dictionaries(names, nodes, max_size=6), second=st.dictionaries(names, nodes, max_size=6))
async def test_whatever_was_there_sync_makes_it_the_source_and_get_brings_it_back(
    copier: Copier, first: dict, second: dict
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        lay(os.fsencode(base / "one"), first)
        lay(os.fsencode(base / "two"), second)
        for source in ("one", "two"):
            done = await copier.sync(base / source, base / "there", delete=True)
            assert done.well, done
            assert facts(base / "there") == facts(base / source)
        got = await copier.get(base / "there", base / "back")
        assert got.well and facts(base / "back" / "box" / "there") == facts(base / "two")
