"""attempt.sh by itself, under every sh that is here: what is said to it by hand, what it does, what is left."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostler.links import attempt_words as say
from hostler.links.attempt_answers import Stands
from hostler.model.jobs import Ending, Start
from hostler.model.reports import Began, Lost, Refused, Result, Revoked
from hostler.remote.attempt_source import BOOT, message
from tests.integration.spoken import SHELLS, Spoken
from tests.lab import wait_until

#: What a host must have beside its shell.
TOOLS = (
    "awk cat cksum cut date dd df env find getconf grep head id ln ls mkdir mv nproc rm rmdir sed setsid sha256sum sh "
    "sleep tail tr wc"
)
#: What most hosts have; the others are tried by the whole suite.
QUICK = ("dash", "busybox")
HERE = [name for name in SHELLS if shutil.which(name)]


@pytest.fixture(
    params=[name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in HERE]
)
def spoken(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Spoken]:
    """A spool for each shell."""
    made = Spoken(tmp_path, request.param)
    yield made
    made.close()


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Spoken]:
    """A spool for one shell, the smallest."""
    made = Spoken(tmp_path, HERE[0])
    yield made
    made.close()


def test_jobs_are_run_and_ended_under_every_shell(spoken: Spoken) -> None:
    assert spoken.open(1, slots=3)[1:] == [Stands(1, 0)]
    ways = [
        "echo out; echo err >&2",
        "exit 137",
        "kill -9 $$",
        "kill -INT $$; sleep 9",
        "sleep 60",
        "printf '\\377\\0\\n'",
    ]
    starts = [spoken.start(i, way, timeout=0.5 if "60" in way else None) for i, way in enumerate(ways, 1)]
    starts.append(
        Start(
            7, 7, 1, (b"printf", b"%s|", b"it's", b"two\nlines\n", b"", b"\xff$HOME `id` \\n!", b"-n"), False
        )
    )
    starts.append(Start(8, 8, 1, (b'echo "$0" "$HOSTLER_JOB" "$SECRET"; umask; trap',), True))
    assert spoken.ask(say.starting(starts)) == []
    found = {i: spoken.result(i) for i in range(1, 9)}
    ends = [(one.ending, one.code, one.signal) for one in found.values() if isinstance(one, Result)]
    assert ends == [
        (Ending.OK, 0, None), (Ending.EXIT, 137, None), (Ending.SIGNAL, None, 9), (Ending.SIGNAL, None, 2),
        (Ending.TIMEOUT, None, 15), (Ending.OK, 0, None), (Ending.OK, 0, None), (Ending.OK, 0, None),
    ]  # fmt: skip
    outs = {i: one.out for i, one in found.items() if isinstance(one, Result)}
    assert outs[1] == b"out\n" and outs[6] == b"\xff\0\n"
    assert outs[7] == b"it's|two\nlines\n||\xff$HOME `id` \\n!|-n|"
    assert outs[8] is not None and outs[8].split() == [b"/bin/sh", b"8", b"canary-in-env", b"%04o" % umask()]
    assert spoken.ask(say.acknowledging([1])[0] + say.starting(starts[:1]))[0] == Lost(
        1, "it was here before, and is forgotten"
    )
    assert spoken.begun(1) == 1
    deaf = spoken.folder / "deaf"
    killed = spoken.start(9, f"trap '' TERM; : >{deaf}; (setsid sleep 61) & sleep 61; sleep 61")
    spoken.ask(say.starting([killed, spoken.start(10, "sleep 62"), spoken.start(11, "true")]))
    wait_until(lambda: deaf.exists() and spoken.begun(10))
    spoken.ask(b"".join(say.killing([9, 10], grace=0.2, ending="cancelled")))
    assert [one.signal for one in (spoken.result(9), spoken.result(10)) if isinstance(one, Result)] == [9, 15]
    assert spoken.ask(b"".join(say.revoking([12])) + say.starting([spoken.start(12, "true")])) == [
        Revoked(12), Revoked(12),
    ]  # fmt: skip
    spoken.ask(say.forgetting(grace=0.1, seconds=20))
    assert not spoken.spool.parent.exists()


def umask() -> int:
    """This process's."""
    found = os.umask(0o077)
    os.umask(found)
    return found


def cut_messages(plain: Spoken, places: list[int], text: bytes) -> None:
    for place in places:
        assert plain.run(text[:place]) == b"", place
    assert not plain.left() or not list((plain.spool / "a").iterdir())
    assert not list((plain.spool / "a").iterdir()) and not plain.effects.read_text()


def start_message(plain: Spoken) -> bytes:
    body = plain.entered(say.starting([plain.start(1, "echo x; sleep 1"), plain.start(2, "echo y")]))
    return message(say.beginning(plain.shell, "n") + body + b"_hdone\n")


def test_a_start_message_that_was_cut_starts_nothing(plain: Spoken) -> None:
    plain.open()
    text = start_message(plain)
    chance = random.Random(5)
    cut_messages(plain, [0, 1, len(text) - 1, *chance.sample(range(2, len(text) - 1), 30)], text)
    broken = bytearray(text)
    broken[-40] ^= 1
    assert plain.run(bytes(broken)) == b""
    plain.run(text)
    assert isinstance(plain.result(2), Result) and plain.begun(1) == 1


def test_many_connections_that_start_the_same_attempts_at_once_start_each_once(plain: Spoken) -> None:
    start_many(plain)


@pytest.mark.slow
def test_many_connections_start_each_attempt_once_under_every_shell(spoken: Spoken) -> None:
    start_many(spoken)


def start_many(spoken: Spoken) -> None:
    spoken.open(slots=4)
    starts = [spoken.start(i, "true") for i in range(1, 13)]
    text = message(say.beginning(spoken.shell, "n") + spoken.entered(say.starting(starts)) + b"_hdone\n")
    boot = BOOT.replace("/bin/sh", spoken.shell)
    made = [
        subprocess.Popen(
            [spoken.shell, "-c", boot], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=spoken.env
        )
        for _ in range(6)
    ]
    for process in made:
        assert process.stdin is not None
        process.stdin.write(text)
        process.stdin.close()
    for process in made:
        process.wait(60)
    for i in range(1, 13):
        assert isinstance(spoken.result(i), Result)
    assert [spoken.begun(i) for i in range(1, 13)] == [1] * 12


def test_a_worker_that_is_killed_loses_its_attempt_only_and_nothing_of_it_stays(plain: Spoken) -> None:
    plain.open(slots=1)
    plain.ask(say.starting([plain.start(1, "setsid sleep 63 & sleep 64"), plain.start(2, "echo next")]))
    wait_until(lambda: plain.begun(1))
    os.kill(int((plain.spool / "s" / "1").read_text().split()[0]), signal.SIGKILL)
    assert isinstance(plain.result(1), Lost)
    second = plain.result(2)
    assert isinstance(second, Result) and second.out == b"next\n"
    assert plain.begun(1) == 1 and plain.open(1, 2)[1:] == [Stands(1, 4), Stands(2, 3)]
    assert not [pid for pid in plain.left() if b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_an_attempt_whose_keeper_is_killed_is_lost_and_nothing_of_it_stays(plain: Spoken) -> None:
    """What waits for the job is a program of its own: when that is gone, nobody will see how the job ends."""
    plain.open(slots=1)
    plain.ask(say.starting([plain.start(1, "setsid sleep 77 & sleep 78"), plain.start(2, "exit 3")]))
    wait_until(lambda: plain.begun(1))
    worker = int((plain.spool / "s" / "1").read_text().split()[0])
    (keeper,) = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
    assert b"awk" in Path(f"/proc/{keeper}/cmdline").read_bytes()
    os.kill(int(keeper), signal.SIGKILL)
    assert isinstance(plain.result(1), Lost)
    second = plain.result(2)
    assert isinstance(second, Result) and second.code == 3
    assert not [pid for pid in plain.left() if b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_nothing_begins_once_the_lease_is_over_although_nobody_watched(plain: Spoken) -> None:
    """As on a host that stood still with a start half read: another host may have the job by now."""
    plain.open(lease=0.5)
    time.sleep(0.6)
    plain.ask(say.starting([plain.start(1, "true")]))
    wait_until((plain.spool / "x").exists, what="the lease known to be over")
    assert any(getattr(one, "why", "") == "the lease has ended" for one in plain.ask(b""))
    assert not plain.begun(1) and plain.open(1)[1:] == [Stands(1, 0)]
    plain.ask(say.starting([plain.start(1, "true")]))
    assert isinstance(plain.result(1), Result) and plain.begun(1) == 1


def test_what_was_claimed_by_a_worker_that_died_before_it_began_is_told_as_lost(plain: Spoken) -> None:
    plain.open()
    start = say.starting([plain.start(1, "true")]).removesuffix(b"_hbegin\n")
    plain.ask(start + b"_hself w1\n_hclaim c/0000000001\n")
    assert isinstance(plain.result(1), Lost) and not plain.begun(1)


def test_a_ladder_that_is_killed_is_climbed_anew(plain: Spoken) -> None:
    plain.open()
    plain.ask(say.starting([plain.start(1, "trap '' TERM; sleep 79 & wait; sleep 79")]))
    wait_until(lambda: plain.begun(1))
    plain.ask(b"".join(say.killing([1], grace=1.5, ending="cancelled")))
    rung = plain.spool / "a" / f"{1:010}" / "k"
    wait_until(lambda: rung.exists() and rung.read_text().strip())
    os.kill(int(rung.read_text().split()[0]), signal.SIGKILL)
    end = plain.result(1)
    assert isinstance(end, Result) and (end.ending, end.signal) == (Ending.CANCELLED, 9)
    assert not [pid for pid in plain.left() if b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_daemon_that_has_left_its_session_and_environment_is_found_by_its_output(plain: Spoken) -> None:
    plain.open()
    plain.ask(say.starting([plain.start(1, "env -i setsid sleep 65 & sleep 66", timeout=0.5)]))
    end = plain.result(1)
    assert isinstance(end, Result) and end.ending is Ending.TIMEOUT
    assert subprocess.run(["pgrep", "-xf", "sleep 65"], capture_output=True).returncode == 1


def daemon(spoken: Spoken, name: str, *, then: str) -> str:
    """A job that begins what keeps neither its parents nor its session, environment or files."""
    away = "env -i /bin/sh -c 'echo $$ >{0}.new; mv {0}.new {0}; exec sleep 65' </dev/null >/dev/null 2>&1"
    return f"(setsid {away.format(spoken.folder / name)} &); {then}"


def pid_in(file: Path) -> int:
    """Wait for a file with a number in it."""
    wait_until(file.exists, what=f"a number in {file}")
    return int(file.read_text())


def lives(pid: int) -> bool:
    """Whether there is such a process; a zombie is none."""
    try:
        return b") Z" not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


def test_a_daemon_that_has_left_everything_else_is_found_by_its_mark(spoken: Spoken) -> None:
    spoken.open()
    begins = daemon(spoken, "left", then=f"until [ -e {spoken.folder}/left ]; do sleep 0.02; done")
    spoken.ask(
        say.starting([spoken.start(1, begins), spoken.start(2, daemon(spoken, "pid", then="sleep 66"))])
    )
    assert isinstance(spoken.result(1), Result)
    other, pid = pid_in(spoken.folder / "left"), pid_in(spoken.folder / "pid")
    try:
        spoken.ask(b"".join(say.killing([2], grace=0.2, ending="cancelled")))
        end = spoken.result(2)
        assert isinstance(end, Result) and end.ending is Ending.CANCELLED
        assert not lives(pid) and lives(other)  # which is no part of what was ended
    finally:
        os.kill(other, signal.SIGKILL)


def test_an_account_with_a_limit_of_its_own_keeps_it_and_has_no_marks(plain: Spoken) -> None:
    plain.prefix = ["prlimit", "--rss=7000000000:8000000000"]
    plain.open()
    plain.ask(say.starting([plain.start(1, "grep resident /proc/self/limits")]))
    end = plain.result(1)
    assert isinstance(end, Result) and (end.out or b"").split()[3:5] == [b"7000000000", b"8000000000"]


def test_no_command_and_no_secret_stands_in_an_argument_of_ours(plain: Spoken) -> None:
    plain.open()
    seen: set[bytes] = set()
    body = say.starting([Start(1, 1, 1, (b"sleep 0.7 # canary-in-text",), True), plain.start(2, "sleep 0.7")])
    plain.ask(body)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                line = Path("/proc", name, "cmdline").read_bytes()
            except OSError:
                continue
            if b"canary-in" in line:
                seen.add(line)
    # A job's own words are its own.
    assert {line.split(b"\0")[1] for line in seen} <= {b"-c"}
    assert not [line for line in seen if b"canary-in-env" in line or plain.shell.encode() in line]


def test_what_is_too_long_ends_its_job(plain: Spoken) -> None:
    plain.open()
    plain.ask(say.starting([plain.start(1, "head -c 3000000 /dev/zero; sleep 67")]))
    end = plain.result(1)
    assert isinstance(end, Result) and (end.ending, end.out_size) == (Ending.OUTPUT_LIMIT, 1 << 20)
    assert "1 MiB" in end.detail


def test_a_host_that_can_check_nothing_is_told_from_one_that_can(tmp_path: Path) -> None:
    for missing in ({"cksum"}, {"sha256sum"}, {"cksum", "sha256sum"}, {"cksum", "df"}):
        folder = tmp_path / "-".join(sorted(missing))
        folder.mkdir()
        tools = folder / "tools"
        tools.mkdir()
        for name in set(TOOLS.split()) - missing:
            path = shutil.which(name)
            assert path is not None
            (tools / name).symlink_to(path)
        spoken = Spoken(folder, HERE[0], PATH=str(tools))
        answers = spoken.open() if missing != {"cksum", "sha256sum"} else []
        if len(missing) == 1:
            spoken.ask(say.starting([spoken.start(1, "echo well")]))
            end = spoken.result(1)
            assert isinstance(end, Result) and end.out == b"well\n"
        elif "df" in missing:
            assert "can't do without df" in getattr(answers[0], "why", "")
        else:
            assert spoken.run(message(b"echo no")) == b""
        spoken.close()


def test_a_full_disk_refuses_starts_and_loses_no_result(plain: Spoken, tmp_path: Path) -> None:
    disk = tmp_path / "base"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True
    ).returncode:
        pytest.skip("only root may mount")
    go = tmp_path / "go"
    try:
        plain.open()
        plain.ask(say.starting([plain.start(1, f"while [ ! -e {go} ]; do sleep 0.1; done; exit 5")]))
        wait_until(lambda: plain.begun(1))
        with (disk / "filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                pass
        (refused,) = plain.ask(say.starting([plain.start(2, "true")]))
        assert isinstance(refused, Refused) and "disk" in refused.why
        go.touch()
        wait_until(lambda: list((plain.spool / "a" / "0000000001").glob("r,exit,5,*")))
        (disk / "filler").unlink()
        end = plain.result(1)
        assert isinstance(end, Result) and end.code == 5 and plain.begun(2) == 0
    finally:
        go.touch()
        plain.close()
        subprocess.run(["umount", str(disk)], check=True)


def test_what_older_runs_left_is_swept_and_what_is_younger_or_no_spool_is_not(plain: Spoken) -> None:
    plain.open()
    base = plain.spool.parent.parent
    old, young, other = (base / name for name in ("a" * 32, "b" * 32, "c" * 32))
    for folder in (old / "0.sh", young / "0.sh", other / "0"):
        for part in ("a", "t", "s"):
            (folder / part).mkdir(parents=True)
    for folder in (old / "0.sh", other / "0"):
        for path in (*folder.iterdir(), folder):
            os.utime(path, (time.time() - 9 * 86400,) * 2)
    plain.ask(b"_hdetach sweep 7\n")
    wait_until(lambda: not old.exists(), what="the old spool gone")
    assert (young / "0.sh" / "a").is_dir() and (other / "0" / "a").is_dir()


def test_the_old_line_is_told_and_does_nothing_more(plain: Spoken) -> None:
    plain.open(epoch=2)
    (parting,) = plain.ask(say.starting([plain.start(1, "true")]))[:1]
    assert getattr(parting, "fatal", False) and plain.begun(1) == 0
    (parting,) = plain.open(epoch=1)
    assert "newer controller" in getattr(parting, "why", "")
    shutil.rmtree(plain.spool)
    assert not isinstance(plain.ask(b"")[0], Began)


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a process that a plain user can't end")
def test_what_a_plain_user_can_not_end_is_told_by_its_pid() -> None:
    """The job becomes root's by a program that may do so."""
    folder = Path(tempfile.mkdtemp(prefix="hostler-plain-", dir="/var/tmp"))
    folder.chmod(0o777)
    setpriv = shutil.which("setpriv")
    assert setpriv is not None
    shutil.copy(setpriv, folder / "become")
    (folder / "become").chmod(0o4755)
    spoken = Spoken(folder, HERE[0])
    spoken.prefix = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups"]
    spoken.effects.chmod(0o666)
    pid = 0
    try:
        spoken.open()
        text = f"{folder}/become --reuid=0 --regid=0 --clear-groups sh -c 'echo $$; exec sleep 74' & sleep 75"
        spoken.ask(
            say.starting([spoken.start(1, text, timeout=0.5), spoken.start(2, "echo well", timeout=30)])
        )
        end = spoken.result(1)
        assert isinstance(end, Result) and end.ending is Ending.KILL_FAILED and end.out is not None
        pid = int(end.out)
        assert end.detail == f"still alive: pid {pid}"
        second = spoken.result(2)
        assert isinstance(second, Result) and second.out == b"well\n"
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
        spoken.close()
        shutil.rmtree(folder)
