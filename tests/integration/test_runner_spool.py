"""The runner's folder on a host: where it lies, who may see it, what a full disk does, and that it does not stay."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostler.model.jobs import Ending
from hostler.model.reports import Refused, Result
from hostler.remote import source
from hostler.remote.runner import spool
from tests.integration.runner_rig import Rig, bare_environment, eventually, rigged

ROOT = os.getuid() == 0
ELSEWHERE = Path(f"/var/tmp/hostler-{os.getuid()}")
NOBODY = 65534
UID, TOKEN = "a" * 32, "b" * 16


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rigged(tmp_path) as made:
        yield made


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, with nothing in the environment that leads elsewhere."""
    made = tmp_path / "home"
    made.mkdir()
    monkeypatch.setenv("HOME", str(made))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    return made


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """The account's folder in /var/tmp, as it was found afterwards."""
    there = ELSEWHERE.exists()
    yield ELSEWHERE
    if not there:
        shutil.rmtree(ELSEWHERE, ignore_errors=True)


# -- where ------------------------------------------------------------------------------------------------------


def test_a_spool_lies_in_the_account_s_state_folder_and_is_its_own(home: Path) -> None:
    path = Path(spool.folder("", UID, TOKEN))
    assert path == home / ".local/state/hostler" / UID / TOKEN
    assert [stat.S_IMODE(p.stat().st_mode) for p in (path, path.parent, path.parent.parent)] == [0o700] * 3
    assert spool.folder("", UID, TOKEN) == str(path)


def test_the_state_folder_may_be_named_but_only_by_a_whole_path(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "mine"))
    assert spool.folder("", UID, TOKEN) == str(home / "mine/hostler" / UID / TOKEN)
    monkeypatch.setenv("XDG_STATE_HOME", "not/whole")
    assert spool.bases("")[0] == str(home / ".local/state")


def test_a_folder_that_is_asked_for_is_taken(home: Path, tmp_path: Path) -> None:
    assert spool.folder(str(tmp_path / "deep/er"), UID, TOKEN) == str(
        tmp_path / "deep/er/hostler" / UID / TOKEN
    )
    assert spool.folder("~/x", UID, TOKEN) == str(home / "x/hostler" / UID / TOKEN)
    assert spool.folder("y", UID, TOKEN) == str(home / "y/hostler" / UID / TOKEN)


@pytest.mark.parametrize("place", ["/proc/nothing", "/no/home/of/ours", "/dev/null", "relative", "", "/"])
def test_without_a_home_it_lies_in_var_tmp(
    place: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", place)
    path = spool.folder("", UID, TOKEN)
    assert path == str(elsewhere / "hostler" / UID / TOKEN)
    shutil.rmtree(elsewhere / "hostler" / UID)
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_can_not_be_written_to_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    account = NOBODY if ROOT else os.getuid()  # root may write to every folder
    usual = Path(f"/var/tmp/hostler-{account}")
    there = usual.exists()
    home = Path(tempfile.mkdtemp(dir="/var/tmp"))
    os.chown(home, account, -1)
    home.chmod(0o500)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    ends = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setresuid(account, account, account)
            os.write(ends[1], spool.folder("", UID, TOKEN).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    path = Path(os.read(ends[0], 4096).decode())
    for end in ends:
        os.close(end)
    home.rmdir()
    assert path == usual / "hostler" / UID / TOKEN
    assert path.owner() == pwd.getpwuid(account).pw_name
    shutil.rmtree(path.parent if there else usual)


def test_a_spool_is_found_where_it_was_begun_whatever_has_become_of_other_places(
    home: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/proc/nothing")
    begun = spool.folder("", UID, TOKEN)
    assert begun.startswith(str(elsewhere))
    monkeypatch.setenv("HOME", str(home))
    assert spool.folder("", UID, TOKEN) == begun
    shutil.rmtree(elsewhere / "hostler" / UID)
    assert spool.folder("", UID, TOKEN).startswith(str(home))


def test_a_network_file_system_is_known_by_the_longest_mount_that_fits() -> None:
    assert not spool.on_network("/") and not spool.on_network("/proc/self")


# -- who --------------------------------------------------------------------------------------------------------


def prepare(rig: Rig, what: str) -> None:
    """Something that was there before us and is not safe."""
    top = rig.base / "hostler"
    rig.base.mkdir()
    if what == "open to others":
        top.mkdir()
        top.chmod(0o755)
    elif what == "a link":
        (rig.folder / "real").mkdir(mode=0o700)
        top.symlink_to(rig.folder / "real")
    elif what == "a file":
        top.touch()
    else:
        top.mkdir(mode=0o700)
        os.chown(top, 65534, 65534)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("open to others", "others may enter it (mode 0755); chmod 700 it"),
        ("a link", "it is not a folder"),
        ("a file", "it is not a folder"),
        *([("another's", "it belongs to uid 65534")] if ROOT else []),
    ],
)
def test_a_folder_that_is_not_ours_alone_is_refused_in_one_line(rig: Rig, what: str, words: str) -> None:
    prepare(rig, what)
    line = rig.call()
    line.hello(**rig.hello)
    line.end()
    errors = line.errors()
    assert errors.startswith("hostler runner: ") and errors.count("\n") == 1
    assert words in errors and str(rig.base / "hostler") in errors
    assert not line.greeted and line.process.wait() == 1


@pytest.fixture
def plain() -> Iterator[Rig]:
    """A rig of a plain user's, in a folder that nobody else looks after."""
    folder = Path(tempfile.mkdtemp(prefix="hostler-plain-", dir="/tmp"))
    folder.chmod(0o777)
    with rigged(folder) as made:
        yield made
    shutil.rmtree(folder)


@pytest.mark.parametrize("umask", ["000", "022", "077", "777"])
def test_files_are_ours_alone_and_jobs_get_the_account_s_umask(plain: Rig, umask: str) -> None:
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if ROOT else []
    plain.command = (*words, "/bin/sh", "-c", f"umask {umask}; {source.command()}")
    line = plain.line(real=True)
    line.start(1, f"umask; touch {plain.folder}/made; echo err >&2")
    result = line.result(1)
    assert (result.code, int(result.out or b"x", 8), result.err) == (0, int(umask, 8), b"err\n")
    assert stat.S_IMODE((plain.folder / "made").stat().st_mode) == 0o666 & ~int(umask, 8)
    for path in plain.spool.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    second = plain.line(real=True, ask=[1])
    assert second.result(1).err == b"err\n"
    second.bye()
    second.end()
    assert not plain.spool.parent.exists()


# -- how long, how full -----------------------------------------------------------------------------------------


def test_a_path_longer_than_a_socket_s_name_may_be_is_no_hindrance(rig: Rig) -> None:
    rig.base = rig.folder / ("d" * 100) / ("e" * 100)
    rig.hello["spool"] = str(rig.base)
    line = rig.line(real=True)
    line.start(1, "echo hello")
    assert line.result(1).out == b"hello\n"
    again = rig.line(real=True, ask=[1])
    assert again.answer()["pid"] == line.answer()["pid"]
    again.bye()
    again.end()
    eventually(rig.deserted)


def test_a_home_that_is_gone_is_no_hindrance_to_the_socket(rig: Rig) -> None:
    lost = rig.folder / "lost"
    rig.env = dict(bare_environment())
    rig.command = ("/bin/sh", "-c", f"mkdir {lost} && cd {lost} && rmdir {lost} && {source.command()}")
    for _ in range(2):
        rig.line(real=True)


@pytest.fixture
def small(rig: Rig) -> Iterator[Rig]:
    """A rig on a disk of its own, of 4 MiB."""
    rig.base.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", rig.base], check=True)
    try:
        yield rig
    finally:
        rig.clean()
        subprocess.run(["umount", "-l", rig.base], check=True)


def fill(folder: Path) -> Path:
    """Take what space there is."""
    path = folder / "filling"
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    return path


@pytest.mark.skipif(not ROOT, reason="a small disk of its own can only be mounted by root")
def test_on_a_full_disk_nothing_starts_and_no_result_is_lost(small: Rig) -> None:
    line = small.line(slots=40)
    waiting = f"while [ ! -e {small.folder}/go ]; do sleep 0.05; done"
    for serial in range(1, 31):
        line.start(serial, f"{waiting}; exit {serial}")
    line.start(31, f"{waiting}; echo never fits; exit 31")
    eventually(lambda: len(small.processes()) > 31)
    filling = fill(small.base)
    time.sleep(0.6)  # the runner asks twice a second how full it is
    line.start(40, f"touch {small.folder}/begun")
    refused = line.one(Refused, 40)
    assert "0 KiB free" in refused.why or "No space left" in refused.why
    (small.folder / "go").touch()
    codes = {serial: line.result(serial).code for serial in range(1, 32)}
    assert [codes[serial] for serial in range(1, 31)] == list(range(1, 31))
    line.ack(1, 2)
    os.kill(line.answer()["pid"], 9)
    line.end()
    again = small.line(ask=list(range(3, 32)), slots=40)
    assert [again.result(serial).code for serial in range(3, 31)] == list(range(3, 31))
    assert not (small.folder / "begun").exists()
    filling.unlink()
    time.sleep(0.6)
    again.start(41, "echo room again")
    assert again.result(41).out == b"room again\n"
    again.bye()
    again.end()


@pytest.mark.skipif(not ROOT, reason="a small disk of its own can only be mounted by root")
def test_a_disk_that_is_full_from_the_beginning_is_told_in_one_line(small: Rig) -> None:
    fill(small.base)
    line = small.call()
    line.hello(**small.hello)
    line.end()
    last = line.errors().strip().splitlines()[-1]
    assert last.startswith("hostler runner: ") and "No space left on device" in last


def test_a_job_that_fills_its_own_limit_of_a_file_s_size_ends_and_says_so(rig: Rig) -> None:
    rig.command = ("/bin/sh", "-c", "ulimit -f 2000; " + source.command())
    line = rig.line(real=True)
    line.start(1, "head -c 2000000 /dev/zero; echo $? >&2")
    result = line.result(1)
    assert result.ending in (Ending.OK, Ending.EXIT, Ending.SIGNAL)
    line.start(2, "echo on")
    assert line.result(2).out == b"on\n"


# -- old spools -------------------------------------------------------------------------------------------------


def age(path: Path, days: float) -> None:
    """Make a spool look as if nobody had written to it for so long."""
    then = time.time() - days * 86400
    for each in (*path.iterdir(), path):
        os.utime(each, (then, then))


def test_old_spools_that_nobody_holds_are_swept_and_no_others(rig: Rig) -> None:
    top = rig.base / "hostler"
    made: dict[str, Path] = {}
    for name, days in {"old": 8.0, "young": 6.0, "held": 9.0, "old too": 30.0}.items():
        path = Path(spool.folder(str(rig.base), f"{len(made):032x}", TOKEN))
        (path / "log").touch()
        (path / "sub").mkdir()
        (path / "sub" / "file").touch()
        made[name] = path
        held = spool.lock(str(path))
        assert held is not None
        if name != "held":
            os.close(held)
        age(path, days)
    (top / "state.db").touch()
    (top / "runs").mkdir()
    line = rig.line()
    line.start(1, "true")
    line.result(1)
    eventually(lambda: not made["old"].exists() and not made["old too"].exists())
    assert made["young"].exists() and made["held"].exists() and rig.spool.exists()
    assert not made["old"].parent.exists()
    assert (top / "state.db").exists() and (top / "runs").exists()


def test_what_is_old_is_the_run_s_to_say_and_looked_for_wherever_it_may_lie(
    rig: Rig, home: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/proc/nothing")
    there = Path(spool.folder("", "c" * 32, TOKEN))
    assert there.is_relative_to(elsewhere)
    monkeypatch.setenv("HOME", str(home))
    here = Path(spool.folder("", "d" * 32, TOKEN))
    for path in (there, here):
        (path / "log").touch()
        age(path, 0.1)
    line = rig.line(spool=None, spool_keep=86400.0)
    line.start(1, "true")
    line.result(1)
    line.bye()
    line.end()
    assert there.exists() and here.exists()
    line = rig.line(spool=None, spool_keep=3600.0, uid="e" * 32)
    line.start(1, "true")
    line.result(1)
    eventually(lambda: not there.exists() and not here.exists())
    line.bye()
    line.end()


def test_no_job_begins_while_the_spool_holds_its_share_of_the_disk(rig: Rig) -> None:
    line = rig.line(slots=1, spool_max=float(1 << 20), credit=0)
    for serial in range(1, 5):
        line.start(serial, f"head -c 600000 /dev/zero; echo {serial} >>{rig.folder}/begun; sleep 0.6")
    begun = rig.folder / "begun"
    eventually(lambda: begun.exists() and begun.read_text() == "1\n2\n")
    time.sleep(1.5)
    assert begun.read_text() == "1\n2\n"
    line.credit(1 << 30)
    line.result(2)
    time.sleep(1.0)
    assert begun.read_text() == "1\n2\n"  # what is told is held until it is acknowledged
    line.ack(1, 2)
    line.result(4)
    assert begun.read_text() == "1\n2\n3\n4\n"


@pytest.mark.skipif(not ROOT, reason="a small disk of its own can only be mounted by root")
def test_a_share_is_of_what_the_disk_has_free(small: Rig) -> None:
    line = small.line(slots=1, spool_max=0.1)
    for serial in range(1, 4):
        line.start(serial, f"head -c 300000 /dev/zero; echo {serial} >>{small.folder}/begun; sleep 0.6")
    line.result(2)
    time.sleep(1.0)
    assert (small.folder / "begun").read_text() == "1\n2\n"
    line.ack(1)
    line.result(3)


def test_a_lock_is_one_holder_s_and_a_removed_folder_s_is_nobody_s(tmp_path: Path) -> None:
    path = spool.folder(str(tmp_path), UID, TOKEN)
    held = spool.lock(path)
    assert held is not None and spool.lock(path) is None
    spool.remove(path)
    with pytest.raises(FileNotFoundError):
        spool.lock(path)
    os.close(held)
    assert not (tmp_path / "hostler" / UID).exists()


def test_a_spool_that_holds_what_is_not_ours_to_remove_does_no_harm(rig: Rig) -> None:
    line = rig.line()
    outside = rig.folder / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (rig.spool / "link").symlink_to(outside)
    (rig.spool / "deep").mkdir()
    (rig.spool / "deep" / "file").touch()
    line.start(1, "true")
    assert isinstance(line.result(1), Result)
    line.bye()
    line.end()
    eventually(rig.deserted)
    assert (outside / "precious").exists()


def test_the_bare_environment_of_a_service_account_is_enough(rig: Rig, elsewhere: Path) -> None:
    rig.env = dict(bare_environment())
    line = rig.line(real=True, spool=None)
    line.start(1, "echo hello")
    assert line.result(1).out == b"hello\n"
    assert (elsewhere / "hostler" / rig.uid / rig.token).exists()
    line.bye()
    line.end()
    eventually(lambda: not (elsewhere / "hostler" / rig.uid).exists())
