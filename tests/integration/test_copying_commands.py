"""`hostler put`, `get` and `sync` as people use them: several hosts, what they say, and how they end."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.command import Hostler
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.contract.own_sshd import OwnSshd
from tests.contract.own_sshd import server as server
from tests.copying_rig import facts, parts
from tests.lab import wait_until

PLAIN = pytest.mark.skipif(os.getuid() == 0, reason="root may read and write everything")


@pytest.fixture
def source(hostler: Hostler) -> Path:
    folder = hostler.folder / "source"
    (folder / "d").mkdir(parents=True)
    (folder / "a").write_text("hello\n")
    (folder / "d" / "b").write_bytes(b"\x00" * 5000)
    return folder


def test_a_file_comes_from_each_host_into_a_folder_of_its_name(hostler: Hostler, source: Path) -> None:
    done = hostler("get", "@sandbox", str(source), "got")
    assert done.code == 0 and done.out == b"", done.err
    for host in ("sandbox1", "sandbox2"):
        assert facts(hostler.folder / "got" / host / "source") == facts(source)
        assert any(line.split()[:2] == [host, "2"] for line in done.err.splitlines())
    suffixed = hostler("get", "sandbox1", str(source / "a"), "logs", "--suffix")
    assert suffixed.code == 0 and (hostler.folder / "logs" / "a.sandbox1").read_text() == "hello\n"


def test_one_host_that_is_not_there_stops_no_other_and_the_code_is_4(hostler: Hostler, source: Path) -> None:
    done = hostler("put", "sandbox1,root@127.0.0.1:1", str(source), f"{hostler.folder}/there")
    assert done.code == 4 and facts(hostler.folder / "there") == facts(source)
    assert "127.0.0.1" in done.err and "refused" in done.err


def test_each_host_s_result_is_an_object_of_json(hostler: Hostler, source: Path) -> None:
    done = hostler("sync", "sandbox1", str(source), f"{hostler.folder}/there", "--json")
    [one] = json.loads(done.out)
    assert done.code == 0 and (one["host"], one["ok"], one["files"], one["bytes"]) == (
        "sandbox1",
        True,
        2,
        5006,
    )


def test_a_dry_run_tells_each_change_and_how_texts_would_and_changes_nothing(
    hostler: Hostler, source: Path
) -> None:
    there = hostler.folder / "there"
    (there / "old").mkdir(parents=True)
    (there / "a").write_text("hi\n")
    before = facts(there)
    words = ("sync", "sandbox1", str(source), str(there), "--delete", "--dry-run")
    done = hostler(*words, "--diff")
    assert done.code == 0 and facts(there) == before
    lines = [line.strip() for line in done.lines]
    for line in ("+ d/", "~ a 6 B", "-hi", "+hello", "+ d/b 4.9 KiB", "(no text)", "- old/"):
        assert line in lines, done.out
    [one] = json.loads(hostler(*words, "--json").out)
    assert "- old/" in one["changes"]


def test_what_is_wrong_with_the_words_is_one_line_and_code_2(hostler: Hostler, source: Path) -> None:
    hostler("put", "sandbox1", "nowhere", "/tmp").refused("nowhere", "no such file")
    hostler("put", "sandbox1", "/dev/null", "/tmp").refused("/dev/null", "neither")
    hostler("put", "sandbox1", str(source), "x", "--diff").refused("--diff", "--dry-run")
    hostler("sync", "sandbox1", str(source), "/", "--delete").refused("--delete")
    hostler("sync", "sandbox1", str(source), "~/", "--delete").refused("--delete")
    hostler("get", "sandbox1", "/etc/hostname", str(source / "a")).refused("not a folder")
    hostler("put", "@nosuch", str(source), "/tmp").refused("nosuch")


def test_what_a_host_does_not_have_is_one_line_with_its_name_and_code_1(hostler: Hostler) -> None:
    hostler("get", "sandbox1", "/no/such", "got").refused("sandbox1", "no such file", code=1)


def test_a_folder_that_is_not_there_is_only_made_when_asked_for(hostler: Hostler, source: Path) -> None:
    there = f"{hostler.folder}/no/such/place"
    hostler("put", "sandbox1", str(source), there).refused("sandbox1", "--parents", code=1)
    assert hostler("put", "sandbox1", str(source), there, "--parents").code == 0
    assert facts(Path(there)) == facts(source)


def test_three_pipes_among_many_files_are_named_and_the_rest_goes(hostler: Hostler, tmp_path: Path) -> None:
    source = tmp_path / "many"
    source.mkdir()
    for at in range(500):
        (source / f"f{at}").write_text("x")
    bad = ("f7", "f70", "f400")
    for name in bad:
        (source / name).unlink()
        os.mkfifo(source / name)
    done = hostler("put", "sandbox1", str(source), f"{hostler.folder}/there")
    assert done.code == 0 and all(f"{name}: a device" in done.err for name in bad)
    assert len(list((hostler.folder / "there").iterdir())) == 497


@PLAIN
def test_files_that_may_not_be_read_or_written_are_named_and_the_rest_goes(
    hostler: Hostler, tmp_path: Path
) -> None:
    source = tmp_path / "many"
    source.mkdir()
    for at in range(100):
        (source / f"f{at}").write_text("x")
    for name in ("f7", "f70", "f40"):
        (source / name).chmod(0)
    done = hostler("put", "sandbox1", str(source), f"{hostler.folder}/there")
    assert done.code == 1 and len(list((hostler.folder / "there").iterdir())) == 97
    for name in ("f7", "f70", "f40"):
        assert f"sandbox1: {name}: Permission denied" in done.err
    closed = hostler.folder / "closed"
    closed.mkdir(mode=0o555)
    hostler("put", "sandbox1", str(source / "f1"), f"{closed}/x").refused(
        "sandbox1", "closed/x", "Permission denied", code=1
    )


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("mount") is None, reason="a small disk needs root")
def test_a_full_disk_is_one_line_and_the_old_file_stays_whole(hostler: Hostler, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size=1M tmpfs {disk} 2>/dev/null"):
        pytest.skip("no mounts here")
    try:
        (disk / "a").write_text("old")
        (tmp_path / "a").write_bytes(os.urandom(4 << 20))
        done = hostler("put", "sandbox1", str(tmp_path / "a"), f"{disk}/a")
        done.refused("sandbox1", "No space left", code=1)
        assert (disk / "a").read_text() == "old" and parts(disk) == []
    finally:
        os.system(f"umount {disk}")


def test_ctrl_c_ends_it_at_once_and_a_second_time_goes_on(
    hostler: Hostler, server: OwnSshd, tmp_path: Path
) -> None:
    host = server.host
    (hostler.folder / "box.yaml").write_text(
        f"hosts:\n  box: {{address: {host.address}, port: {host.port}, user: {host.user}, identity: {host.identity}}}\n"
    )
    source, there = tmp_path / "big", tmp_path / "there"
    source.write_bytes(os.urandom(64 << 20))
    running = hostler.start("put", "box", "-i", "box.yaml", str(source), str(there))
    wait_until(lambda: [part for part in parts(tmp_path) if part.stat().st_size > 4 << 20], what="a part")
    running.signal(signal.SIGINT)
    ended = running.wait()
    assert ended.code in (0, 130) and "Traceback" not in ended.err
    done = hostler("put", "box", "-i", "box.yaml", str(source), str(there))
    assert done.code == 0 and there.read_bytes() == source.read_bytes(), done.err


def test_the_ssh_program_is_as_good(hostler: Hostler, source: Path) -> None:
    there = hostler.folder / "there"
    done = hostler("sync", "sandbox1", str(source), str(there), "--transport", "openssh")
    assert done.code == 0 and facts(there) == facts(source), done.err


def test_this_machine_is_a_host_too(hostler: Hostler, source: Path) -> None:
    there = hostler.folder / "there"
    done = hostler("sync", "localhost", str(source), str(there), "--transport", "local")
    assert done.code == 0 and facts(there) == facts(source), done.err


@pytest.mark.slow
def test_a_host_that_is_lost_on_the_way_stops_no_other_and_can_be_gone_on_with(
    hostler: Hostler, server: OwnSshd, tmp_path: Path
) -> None:
    host = server.host
    (hostler.folder / "box.yaml").write_text(
        f"hosts:\n  box: {{address: {host.address}, port: {host.port}, user: {host.user}, identity: {host.identity}}}\n"
    )
    source, home = tmp_path / "big", server.home
    source.write_bytes(os.urandom(192 << 20))
    # Each has a home of its own, so DST is another place on each.
    running = hostler.start("put", "box,sandbox1", "-i", "box.yaml", str(source), "copy")
    wait_until(lambda: [part for part in parts(home) if part.stat().st_size > 8 << 20], what="a part")
    server.cut()
    done = running.wait()
    assert done.code == 4 and "box" in done.err and "say it again to go on" in done.err, done.err
    assert (hostler.lab.home / "copy").read_bytes() == source.read_bytes() and not (home / "copy").exists()
    again = hostler("put", "box,sandbox1", "-i", "box.yaml", str(source), "copy")
    assert again.code == 0 and (home / "copy").read_bytes() == source.read_bytes(), again.err
    (hostler.lab.home / "copy").unlink()
