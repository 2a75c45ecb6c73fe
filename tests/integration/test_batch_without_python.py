"""hostler batch on hosts without Python: through sh by itself, with the promises that it makes everywhere."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostler.remote import source
from tests.command import Effects, Hostler, survivors
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.contract.own_sshd import OwnSshd
from tests.lab import wait_until

#: All that there is on the host beside its shell.
TOOLS = (
    "awk cat cksum cut date dd df echo env find getconf grep head id ln ls mkdir mv nproc rm rmdir sed setsid sh "
    "sha256sum sleep tail touch tr true wc"
)
#: What stands for a Python of long ago: it is asked by our words, and answers with its version.
OLD = """#!/bin/sh
exec {} -ISc 'import sys
class Old(tuple):
    __repr__ = lambda self: "sys.version_info(major=3, minor=4)"
sys.version_info = Old((3, 4))
exec(sys.argv[1])' "$2"
"""


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the host's programs."""
    made = tmp_path_factory.mktemp("tools")
    for name in TOOLS.split():
        path = shutil.which(name)
        assert path is not None, name
        (made / name).symlink_to(path)
    return made


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, tools: Path) -> Iterator[OwnSshd]:
    """A host with the common tools and no Python."""
    folder = tmp_path_factory.mktemp("bare")
    home = folder / "sshd" / "home"
    made = OwnSshd(folder / "sshd", lines=[f"SetEnv HOME={home} PATH={tools}"])
    yield made
    made.stop()


@pytest.fixture
def hosts(bare: OwnSshd, hostler: Hostler) -> list[str]:
    """The words that name it."""
    host = bare.host
    (hostler.folder / "bare.yaml").write_text(
        f"hosts:\n  box: {{address: {host.address}, port: {host.port}, user: {host.user}, "
        f"identity: {host.identity}, vars: {{spool: {hostler.folder / 'spool'}}}}}\n"
    )
    return ["-i", "bare.yaml", "-j", "4"]


SAID = "hostler: box: no python3 of 3.6 or later: jobs run through sh, output comes in pieces"


def test_jobs_run_as_everywhere_and_one_line_says_how(hostler: Hostler, hosts: list[str]) -> None:
    done = hostler("batch", *hosts, "--", "echo", "{}", ":::", *map(str, range(20)))
    assert done.code == 0, done.err
    assert sorted(map(int, done.lines)) == list(range(20))
    assert done.err.count(SAID) == 1
    assert not list((hostler.folder / "spool" / "hostler").iterdir())


def test_every_way_to_end_is_told_as_it_is(hostler: Hostler, hosts: list[str]) -> None:
    ways = ["exit 3", "exit 137", "kill -9 $$", "kill -INT $$", "sleep 60", "nosuch-program", "true"]
    done = hostler("batch", *hosts, "--timeout", "1", "--", "sh", "-c", "{raw}", ":::", *ways)
    assert done.code == 3, done.err
    with contextlib.closing(sqlite3.connect(hostler.folder / "state" / "store.db")) as db:
        ends = db.execute("SELECT ending, code, signal FROM attempt ORDER BY job").fetchall()
    assert ends == [
        ("exit", 3, None), ("exit", 137, None), ("signal", None, 9), ("signal", None, 2),
        ("timeout", None, 15), ("exit", 127, None), ("ok", 0, None),
    ]  # fmt: skip
    assert survivors(hostler.uid()) == {}


@pytest.mark.slow
def test_the_controller_is_killed_and_lines_are_cut_and_each_job_is_done_once(
    hostler: Hostler, hosts: list[str], effects: Effects, bare: OwnSshd
) -> None:
    text = 'echo "$2" >> "$1"; sleep 0.$((20 + $2 % 17)); echo "$2"'
    jobs = 60
    running = hostler.start("batch", *hosts, "--", "sh", "-c", text, "-", str(effects), "{}",
                            ":::", *map(str, range(jobs)))  # fmt: skip
    for kill in range(3):
        effects.wait(kill * 15 + 5, seconds=60)
        if kill == 1:
            bare.cut()
        running.kill()
        running = hostler.start("batch", "--resume", "last")
    done = running.wait(90)
    assert done.code == 0, done.err
    assert effects.counts == {str(number): 1 for number in range(jobs)}
    assert hostler("log", "last", "7", "--stdout").out == b"6\n"


def test_ctrl_c_ends_what_runs_there(hostler: Hostler, hosts: list[str], effects: Effects) -> None:
    running = hostler.start("batch", *hosts, *effects.waiting("a", "b"))
    effects.wait(2, "begun")
    uid = hostler.uid()
    running.signal(signal.SIGINT)
    assert running.wait().code == 130
    wait_until(lambda: not survivors(uid), what="no survivors")


def test_long_output_comes_whole_and_the_environment_is_the_job_s_own(
    hostler: Hostler, hosts: list[str], tmp_path: Path
) -> None:
    big = os.urandom(300_000)
    (tmp_path / "big").write_bytes(big)
    done = hostler("batch", *hosts, "--", "cat", "{}", ":::", str(tmp_path / "big"))
    assert (done.code, done.out) == (0, big)
    done = hostler("batch", *hosts, "--env", "GREETING=it's\n$HOME", "--workdir", str(tmp_path), "--", "sh", "-c",
                   "env | cat; pwd; cat", ":::", "a")  # fmt: skip
    assert done.code == 0, done.err
    assert b"GREETING=it's\n$HOME\n" in done.out and f"\n{tmp_path}\n".encode() in done.out
    assert b"\n_h" not in done.out and b"HOSTLER_HOST=box\n" in done.out


def test_a_folder_that_is_not_there_costs_no_retry_through_sh_either(
    hostler: Hostler, hosts: list[str]
) -> None:
    gone = hostler("batch", *hosts, "--retries", "2", "--workdir", "/no/where", "--", "pwd", ":::", "a")
    assert gone.code == 1 and "--workdir /no/where: no such folder on this host" in gone.err, gone.err
    (attempt,) = hostler.json("log", "last")
    assert (attempt["ending"], attempt["code"]) == ("staging-failed", None)


def test_a_host_can_be_asked_not_to_use_python_and_some_things_need_it(
    hostler: Hostler, bare: OwnSshd
) -> None:
    host = bare.host
    (hostler.folder / "none.yaml").write_text(
        f"hosts:\n  box: {{address: {host.address}, port: {host.port}, user: {host.user}, "
        f"identity: {host.identity}, vars: {{python: none, spool: {hostler.folder / 'spool'}}}}}\n"
    )
    done = hostler("batch", "-i", "none.yaml", "--", "echo", "{}", ":::", "a")
    assert done.out == b"a\n" and "hostler: box: its python is none: jobs run through sh" in done.err
    done = hostler("batch", "-i", "none.yaml", "--pty", "--", "echo", "{}", ":::", "a")
    assert done.code != 0 and "--pty needs Python there" in done.err


def test_a_run_that_began_through_sh_goes_on_so_when_python_has_come(
    hostler: Hostler, hosts: list[str], effects: Effects, tools: Path
) -> None:
    running = hostler.start("batch", *hosts, *effects.waiting("a", "b", "c", "d", "e", "f"))
    effects.wait(4, "begun")
    running.kill()
    python = tools / "python3"
    python.symlink_to(sys.executable)
    try:
        running = hostler.start("batch", "--resume", "last")
        effects.go()
        done = running.wait()
        assert done.code == 0, done.err
        assert set(effects.counts.values()) == {1} and len(effects.counts) == 12
        assert "through sh" not in done.err  # it was said when the run began
        done = hostler("batch", *hosts, "--", "echo", "{}", ":::", "new")
        assert done.out == b"new\n" and "through sh" not in done.err
    finally:
        python.unlink()


def test_a_python_that_is_too_old_counts_as_none(hostler: Hostler, hosts: list[str], tools: Path) -> None:
    python = tools / "python3"
    python.write_text(OLD.format(sys.executable))
    python.chmod(0o755)
    try:
        done = hostler("batch", *hosts, "--", "echo", "{}", ":::", "a")
        assert done.out == b"a\n" and SAID in done.err
    finally:
        python.unlink()


def test_the_python_that_only_the_system_uses_is_found(tmp_path: Path) -> None:
    (tmp_path / "platform-python").symlink_to(sys.executable)
    line = source.command().replace("/usr/libexec/", f"{tmp_path}/")
    assert line != source.command()
    packed = zlib.compress(b"print('here')")
    text = b"%08d" % len(packed) + hashlib.sha256(packed).hexdigest().encode() + packed
    done = subprocess.run(
        ["/bin/sh", "-c", line], input=text, capture_output=True, env={"PATH": str(tmp_path)}
    )
    assert done.stdout == b"here\n", done.stderr


def test_two_sessions_on_a_line_are_enough(hostler: Hostler, tools: Path, tmp_path: Path) -> None:
    home = tmp_path / "sshd" / "home"
    sshd = OwnSshd(tmp_path / "sshd", lines=[f"SetEnv HOME={home} PATH={tools}", "MaxSessions 2"])
    try:
        (hostler.folder / "two.yaml").write_text(
            f"hosts:\n  box: {{address: {sshd.host.address}, port: {sshd.host.port}, user: {sshd.host.user}, "
            f"identity: {sshd.host.identity}, vars: {{spool: {tmp_path / 'spool'}}}}}\n"
        )
        done = hostler("batch", "-i", "two.yaml", "-j", "8", "--", "head", "-c", "{}", "/dev/zero",
                       ":::", *(str(20_000 + i) for i in range(40)))  # fmt: skip
        assert done.code == 0, done.err
        assert len(done.out) == sum(20_000 + i for i in range(40)) and "lost" not in done.err
        with contextlib.closing(sqlite3.connect(hostler.folder / "state" / "store.db")) as db:
            assert db.execute("SELECT count(*) FROM attempt").fetchone() == (40,)
    finally:
        sshd.stop()


def test_one_session_on_a_line_is_refused_with_the_way_out_before_any_job_begins(
    hostler: Hostler, tools: Path, tmp_path: Path, effects: Effects
) -> None:
    home = tmp_path / "sshd" / "home"
    sshd = OwnSshd(tmp_path / "sshd", lines=[f"SetEnv HOME={home} PATH={tools}", "MaxSessions 1"])
    try:
        (hostler.folder / "one.yaml").write_text(
            f"hosts:\n  box: {{address: {sshd.host.address}, port: {sshd.host.port}, user: {sshd.host.user}, "
            f"identity: {sshd.host.identity}, vars: {{spool: {tmp_path / 'spool'}}}}}\n"
        )
        done = hostler("batch", "-i", "one.yaml", "--", "sh", "-c", f"echo x >> {effects}", ":::", "a")
        assert done.code == 4, done.err
        assert "two sessions are needed on a line, and its sshd grants one: set MaxSessions to 2" in done.err
        assert effects.lines == [] and hostler.json("status", "last")["counts"] == {"queued": 1}
    finally:
        sshd.stop()


def test_a_limit_for_the_disk_that_sh_cannot_keep_is_refused(
    hostler: Hostler, hosts: list[str], effects: Effects
) -> None:
    done = hostler("batch", *hosts, "--spool-max", "1M", "--", "sh", "-c", f"echo x >> {effects}", ":::", "a")
    assert done.code == 4 and "--spool-max needs Python there, and no python3" in done.err
    assert effects.lines == []
