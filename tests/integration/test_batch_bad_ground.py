"""A controller on bad ground: no room, no home, no local disk; and output that no terminal or memory should bear."""

from __future__ import annotations

import os
import pty
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.command import PROGRAM, Effects, Hostler
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.lab import wait_until

ONE = ("--hosts", "sandbox1", "-j", "2")

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="mounting needs root; the same is tried below the command, without a mount"
)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[Path, str], Callable[[str], None]]]:
    """Mounts a tmpfs of given options on a folder; gives what mounts it anew with others."""
    places: list[Path] = []

    def mount(place: Path, options: str) -> Callable[[str], None]:
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "hostler-test", place], check=True)
        places.append(place)

        def again(more: str) -> None:
            subprocess.run(["mount", "-o", f"remount,{more}", place], check=True)

        return again

    try:
        yield mount
    finally:
        for place in places:
            subprocess.run(["umount", "-l", place], check=True)


# -- where the state is -------------------------------------------------------------------------------------------


@needs_root
def test_a_full_disk_holds_the_run_until_there_is_room(hostler: Hostler, mounted) -> None:
    more = mounted(hostler.folder / "state", "size=3m,mode=700")
    running = hostler.start(
        "batch", *ONE, "--", "head -c 700000 /dev/urandom | base64 -w0; echo end {}", ":::", *"abcdef"
    )
    wait_until(
        lambda: "make room on its disk" in running.err or running.process.poll() is not None, seconds=60
    )
    assert running.process.poll() is None, running.err
    assert hostler("status", "last").code == 0
    more("size=64m")
    done = running.wait()
    assert done.code == 0, done.err
    assert "can be written again" in done.err and "could not be printed" not in done.err
    assert sorted(line[-1:] for line in done.out.split(b"\n") if line) == [b"a", b"b", b"c", b"d", b"e", b"f"]
    assert hostler.json("status", "last")["counts"] == {"ok": 6}
    for job in range(1, 7):
        assert len(hostler("log", "last", str(job), "--stdout").out) > 900_000


@needs_root
def test_a_disk_with_no_room_at_all_begins_no_run(hostler: Hostler, mounted) -> None:
    more = mounted(hostler.folder / "state", "size=64k,mode=700")
    (hostler.folder / "state" / "ballast").write_bytes(bytes(56 << 10))
    done = hostler("batch", *ONE, "--", "echo", ":::", "a")
    done.refused("make room on its disk", code=6)
    more("size=64m")
    assert hostler("batch", *ONE, "--", "echo", ":::", "a").lines == ["a"]


@needs_root
def test_a_home_that_is_read_only_is_told_and_another_folder_serves(hostler: Hostler, mounted) -> None:
    home = hostler.folder / "readonly"
    mounted(home, "size=1m,mode=755")("ro")
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        hostler.env[name] = ""
    hostler.env["HOME"] = str(home)
    done = hostler("batch", *ONE, "--", "echo", ":::", "a", HOSTLER_STATE_DIR="")
    done.refused("Read-only file system", str(home), "HOSTLER_STATE_DIR", code=6)
    hostler("runs", HOSTLER_STATE_DIR="").refused("Read-only file system", code=6)
    assert hostler("batch", *ONE, "--", "echo", ":::", "a").lines == ["a"]


@needs_root
@pytest.mark.parametrize("kind", ["nfs4", "fuse.sshfs"])
def test_state_on_a_network_file_system_is_refused_and_nothing_is_made_there(
    hostler: Hostler, kind: str
) -> None:
    """The kernel's own table of mounts, with one line more, where the command looks for it."""
    folder = hostler.folder / "net" / "state"
    folder.parent.mkdir()
    table = hostler.folder / "mountinfo"
    line = f"999 21 0:99 / {folder.parent} rw,relatime - {kind} server:/export rw\n"
    table.write_text(Path("/proc/self/mountinfo").read_text() + line)
    shown = 'mount --bind "$0" /proc/$$/mountinfo && exec "$@"'
    for words in (["runs"], ["batch", *ONE, "--", "echo", ":::", "a"]):
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", shown, table, PROGRAM, *words],
            env=hostler.env | {"HOSTLER_STATE_DIR": str(folder)},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 6, done.stderr
        assert done.stderr.count("\n") == 1 and kind in done.stderr and "HOSTLER_STATE_DIR" in done.stderr
    assert not folder.exists()


@pytest.mark.parametrize("how", ["removed", "replaced by a copy", "replaced by a file"])
def test_a_state_that_is_taken_away_under_a_run_ends_it_and_is_said(
    hostler: Hostler, effects: Effects, how: str
) -> None:
    """It would else end with 0, and nothing of it would be on record."""
    running = hostler.start("batch", *ONE, *effects.waiting("a", "b", "c"))
    effects.wait(2, "begun")
    state = hostler.folder / "state"
    state.rename(hostler.folder / "away")
    if how == "replaced by a file":
        state.write_text("")
    elif how != "removed":
        shutil.copytree(hostler.folder / "away", state, ignore=shutil.ignore_patterns("*.sock"))
    effects.go()
    done = running.wait()
    assert done.code == 6 and "was removed or replaced" in done.err, (done.code, done.err)


def test_what_is_damaged_in_a_store_is_named_and_not_taken_for_a_bug(hostler: Hostler) -> None:
    assert hostler("batch", *ONE, "--", "echo", ":::", *"abc").code == 0
    file = hostler.folder / "state" / "store.db"
    with closing(sqlite3.connect(file)) as db:
        db.execute("UPDATE run SET spec = 'rubbish'")
        db.execute("UPDATE worker SET host = '[1]'")
        db.commit()
    whole = file.read_bytes()
    told = [hostler("status", "last"), hostler("batch", "--resume", "last"), hostler("report", "last")]
    for place in (3, 60, 4000):
        spoilt = bytearray(whole)
        for at in range(4096 + place, len(whole), 2 * 4096):
            spoilt[at] ^= 0xFF
        file.write_bytes(spoilt)
        told += [hostler("runs"), hostler("status", "last")]
    assert {done.code for done in told} <= {0, 6} and told[1].code == 6, [done.err for done in told]
    for done in told:
        assert "bug in hostler" not in done.err and done.err.count("\n") <= 2, done.err
    assert "damaged" in told[1].err


@pytest.mark.slow
def test_a_store_that_another_program_holds_is_waited_for_and_said(
    hostler: Hostler, effects: Effects
) -> None:
    running = hostler.start("batch", *ONE, *effects.waiting("a", "b", "c"))
    effects.wait(2, "begun")
    with closing(sqlite3.connect(hostler.folder / "state" / "store.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        effects.go()
        wait_until(lambda: "another process is writing to it" in running.err, seconds=30)
    done = running.wait()
    assert done.code == 0 and "can be written again" in done.err, done.err
    assert hostler.json("status", "last")["counts"] == {"ok": 3}


# -- output -------------------------------------------------------------------------------------------------------


def highest(pid: int) -> int:
    """The most memory that a process has had so far, in MiB; 0 when it has gone."""
    try:
        usage = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return max(
        (int(line.split()[1]) >> 10 for line in usage.splitlines() if line.startswith("VmHWM")), default=0
    )


@pytest.mark.parametrize(
    "size", [200_000_000, pytest.param(2_000_000_000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
@pytest.mark.parametrize(
    "how", [[], pytest.param(["--line-buffer"], marks=pytest.mark.slow)], ids=["grouped", "line-buffer"]
)
def test_much_output_without_a_newline_takes_little_memory(
    hostler: Hostler, size: int, how: list[str]
) -> None:
    ours, theirs = os.pipe()
    count, most = 0, 0
    words = ["--", f"head -c {size} /dev/zero | tr '\\0' x; echo", ":::", "a"]
    running = hostler.start("batch", *ONE, "--output-limit", "4G", *how, *words, stdout=theirs)
    os.close(theirs)
    with open(ours, "rb", buffering=0) as reader:
        while read := reader.read(1 << 20):
            count += len(read)
            if count % (8 << 20) < len(read):
                most = max(most, highest(running.process.pid))
    done = running.wait(120)
    assert done.code == 0, done.err
    assert size <= count <= size + 2
    assert 0 < most < 150, f"{most} MiB"


NASTY = b"caf\xe9 \xff\xfe\x80 \x1b]0;title\x07\x1b[2J\x1b[31mred \x9b1m \x08\x7f \xe2\x98\x83 tab\tend\n"


def test_bytes_are_as_they_were_in_a_pipe_and_harmless_on_a_terminal(hostler: Hostler) -> None:
    (hostler.folder / "nasty").write_bytes(NASTY)
    words = ("batch", "--hosts", "sandbox1", "-q", "--", "cat", ":::", str(hostler.folder / "nasty"))
    assert hostler(*words).out == NASTY
    assert hostler("log", "last", "1", "--stdout").out == NASTY
    for command in (
        words,
        (*words[:4], "--line-buffer", *words[4:]),
        ("log", "last", "1"),
        ("log", "last", "1", "--stdout"),
    ):
        shown = at_a_terminal(hostler, *command)
        assert b"\xe2\x98\x83 tab" in shown, shown
        assert not any(
            letter in shown for letter in (b"\x1b", b"\x07", b"\x9b", b"\x08", b"\x7f", b"\xff")
        ), shown
    assert b"\x1b[2J" in at_a_terminal(hostler, "log", "last", "1", "--stdout", "--raw")


def at_a_terminal(hostler: Hostler, *words: str) -> bytes:
    """What a terminal is told on stdout."""
    ours, theirs = pty.openpty()
    told: list[bytes] = []

    def read() -> None:
        try:
            while piece := os.read(ours, 65536):
                told.append(piece)
        except OSError:
            pass  # everybody has hung up

    running = hostler.start(*words, stdout=theirs)
    os.close(theirs)
    reader = threading.Thread(target=read)
    reader.start()
    done = running.wait()
    reader.join(20)
    os.close(ours)
    assert done.code == 0, done.err
    return b"".join(told)
