"""P7: after a timeout, a stop or a lease's end no process of a job remains, or it is said which ones do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostler.model.jobs import Ending
from hostler.model.reports import Began
from hostler.remote.runner import hunting
from hostler.remote.runner.hunting import Ladder, Prey, end_all, look_up
from tests.integration.runner_rig import Rig, cpu_seconds, eventually, rigged

HERE = '$$ >"$D"'


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rigged(tmp_path) as made:
        yield made


def alive(pid: int) -> bool:
    """Whether a process lives; a zombie doesn't."""
    try:
        return b") Z" not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


#: Ways in which a job's processes get away from their parent. Each writes the pid of one to the file $D.
ESCAPES = {
    "a child": "sh -c 'echo $$ >$D; sleep 60; :'; :",
    "a child in the background": "sh -c 'echo $$ >$D; sleep 60; :' & wait",
    "deaf to TERM": "trap '' TERM HUP INT; echo $$ >$D; while :; do sleep 0.1; done",
    "a deaf child of one that obeys": "sh -c \"trap '' TERM; echo \\$\\$ >$D; while :; do sleep 0.1; done\" & sleep 60",
    "a session of its own": "setsid sh -c 'echo $$ >$D; sleep 60; :'; :",
    "a session of its own, deaf": "setsid sh -c \"trap '' TERM; echo \\$\\$ >$D; while :; do sleep 0.1; done\"; :",
    "a double fork": "(setsid sh -c 'echo $$ >$D; sleep 60; :' &) ; sleep 60",
    "a daemon without our files": "(setsid sh -c 'echo $$ >$D; sleep 60; :' </dev/null >/dev/null 2>&1 &) ; sleep 60",
    "another environment": "env -i D=$D PATH=$PATH setsid sh -c 'echo $$ >$D; sleep 60; :'; :",
    "another environment, a double fork": (
        "(env -i D=$D PATH=$PATH setsid sh -c 'echo $$ >$D; sleep 60; :' &) ; sleep 60"
    ),
    "another environment and files, by descent": (
        "env -i D=$D PATH=$PATH setsid sh -c 'echo $$ >$D; sleep 60; :' >/dev/null 2>&1; :"
    ),
    "another environment and files, a double fork": (
        "(env -i D=$D PATH=$PATH setsid sh -c 'echo $$ >$D; sleep 60; :' </dev/null >/dev/null 2>&1 &) ; sleep 60"
    ),
    "many that multiply": (
        "b() { [ $1 -gt 9 ] || { b $(($1+1)) & b $(($1+1)) & }; sleep 0.3; sh -c 'echo $$ >$D; sleep 60; :'; }; b 5"
    ),
    "a stopped one": "sh -c 'echo $$ >$D; kill -STOP $$; :'; :",
}


@pytest.mark.parametrize("way", ESCAPES)
def test_nothing_of_a_killed_job_survives(rig: Rig, way: str) -> None:
    line = rig.line()
    line.start(1, f"export D={rig.folder}/pid; {ESCAPES[way]}")
    pid = rig.number("pid")
    line.kill(1, grace=0.2)
    result = line.result(1)
    assert result.ending is Ending.CANCELLED and not alive(pid)


QUICK = ("deaf to TERM", "another environment and files, a double fork")


@pytest.mark.parametrize(
    "way", [*QUICK, *(pytest.param(way, marks=pytest.mark.slow) for way in ESCAPES if way not in QUICK)]
)
def test_nothing_of_a_plain_user_s_killed_job_survives(rig: Rig, way: str) -> None:
    if os.getuid() == 0:
        rig.folder = Path(tempfile.mkdtemp(prefix="hostler-plain-", dir="/var/tmp"))
        rig.folder.chmod(0o777)
        rig.base = rig.folder / "base"
        rig.hello["spool"] = str(rig.base)
        words = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        rig.command = (*words, *rig.command)
    try:
        line = rig.line(real=True)
        line.start(1, f"export D={rig.folder}/pid; {ESCAPES[way]}")
        pid = rig.number("pid")
        assert Path(f"/proc/{pid}").stat().st_uid == (os.getuid() or 65534)
        line.kill(1, grace=0.2)
        assert line.result(1).ending is Ending.CANCELLED and not alive(pid)
    finally:
        if os.getuid() == 0:
            rig.clean()
            shutil.rmtree(rig.folder)


def test_what_a_killed_runner_left_is_found_by_its_mark_alone(rig: Rig) -> None:
    line = rig.line()
    line.start(1, f"export D={rig.folder}/pid; {ESCAPES['another environment and files, a double fork']}")
    pid = rig.number("pid")
    os.kill(line.answer()["pid"], signal.SIGKILL)
    line.end()
    assert rig.line(ask=[1]).answer()["standings"] == [[1, 4]] and not alive(pid)


def test_an_account_with_a_limit_of_its_own_keeps_it(rig: Rig) -> None:
    """Then there are no marks: all other ways of finding a job's processes are as good as ever."""
    rig.command = ("/bin/sh", "-c", "exec prlimit --rttime=7000000 " + rig.command[2].removeprefix("exec "))
    line = rig.line(real=True)
    line.start(1, "grep 'realtime timeout' /proc/self/limits")
    assert (line.result(1).out or b"").split()[3:5] == [b"7000000", b"7000000"]
    line.start(2, f"export D={rig.folder}/pid; {ESCAPES['another environment, a double fork']}")
    pid = rig.number("pid")
    line.kill(2, grace=0.2)
    assert line.result(2).ending is Ending.CANCELLED and not alive(pid)


def test_nothing_of_a_job_survives_its_timeout_or_the_end_of_all(rig: Rig) -> None:
    line = rig.line(slots=8, grace=0.2)
    for serial, way in enumerate(list(ESCAPES)[:6], start=1):
        line.start(
            serial, f"export D={rig.folder}/{serial}; {ESCAPES[way]}", timeout=1.5 if serial < 4 else 0.0
        )
    pids = [rig.number(str(serial)) for serial in range(1, 7)]
    assert [line.result(serial).ending for serial in (1, 2, 3)] == [Ending.TIMEOUT] * 3
    assert not any(map(alive, pids[:3])) and all(map(alive, pids[3:]))
    line.bye()
    line.end()
    assert not any(map(alive, pids))
    eventually(rig.deserted)


def test_a_daemon_of_a_job_that_ended_by_itself_is_left_alone(rig: Rig) -> None:
    line = rig.line()
    line.start(1, f"export D={rig.folder}/pid; (setsid sh -c 'echo $$ >$D; sleep 60; :' &) ; echo done")
    pid = rig.number("pid")
    assert line.result(1).out == b"done\n" and alive(pid)
    line.ack(1)
    line.start(2, "sleep 60")
    line.one(Began, 2)
    line.kill(2)
    line.result(2)
    line.bye()
    line.end()
    assert alive(pid)


def test_a_job_that_ends_in_time_by_itself_keeps_its_own_ending(rig: Rig) -> None:
    """A kill that comes for a job which has ended already changes nothing."""
    line = rig.line(slots=4)
    for serial in range(1, 40):
        line.start(serial, "exit 4", timeout=0.0)
        line.kill(serial, ending="interrupted")
    ends = {(line.result(serial).ending, line.result(serial).code) for serial in range(1, 40)}
    assert (Ending.EXIT, 4) in ends
    assert ends <= {(Ending.EXIT, 4), (Ending.INTERRUPTED, None), (Ending.INTERRUPTED, 4)}


def test_a_slot_is_not_given_away_while_anything_of_its_job_lives(rig: Rig) -> None:
    line = rig.line(slots=1)
    line.start(
        1,
        f"D={rig.folder}/pid; sh -c \"trap '' TERM; echo \\$\\$ >$D; while :; do sleep 0.05; done\" & sleep 60",
    )
    pid = rig.number("pid")
    line.start(2, f"grep State: /proc/{pid}/status | grep -v Z; echo $HOSTLER_SLOT")
    line.kill(1, grace=0.5)
    assert line.result(2).out == b"1\n" and line.result(1).ending is Ending.CANCELLED


def test_many_jobs_are_ended_in_a_few_looks_at_the_process_table(rig: Rig) -> None:
    count = 150
    line = rig.line(slots=count)
    pid = line.answer()["pid"]
    for serial in range(1, count + 1):
        line.start(serial, "exec sleep 60" if serial % 5 else "trap '' TERM; while :; do sleep 1; done")
    for serial in range(1, count + 1):
        line.one(Began, serial)
    before = cpu_seconds(pid)
    line.kill(*range(1, count + 1), grace=0.3)
    assert all(line.result(serial).ending is Ending.CANCELLED for serial in range(1, count + 1))
    assert cpu_seconds(pid) - before < 3.0


def test_more_jobs_run_at_once_than_the_account_may_open_files_for(rig: Rig) -> None:
    rig.command = ("/bin/sh", "-c", "ulimit -n 200; " + rig.command[2])
    line = rig.line(real=True, slots=150)
    for serial in range(1, 151):
        line.start(serial, f"echo {serial}; sleep 1; echo {serial} >&2")
    for serial in range(1, 151):
        assert line.result(serial).code == 0
        assert (line.stream(serial, 1), line.stream(serial, 2)) == (b"%d\n" % serial,) * 2
    line.ack(*range(1, 151))
    line.start(151, "ulimit -n")
    assert line.result(151).out == b"200\n"


# -- the hunt itself --------------------------------------------------------------------------------------------


class Undead(Prey):
    """One that no signal reaches, as a process of another account's."""

    __slots__ = ()

    def send(self, number: int) -> None:
        """Nothing."""


def sleeper(**env: str) -> subprocess.Popen[bytes]:
    """A process in a session of its own."""
    return subprocess.Popen(["sleep", "60"], env={**os.environ, **env}, start_new_session=True)


def test_what_can_not_be_ended_is_told_by_its_pid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hunting, "ROUNDS", 3)
    with sleeper(HOSTLER_ATTEMPT="u/1/1") as process:
        try:
            ladder = Ladder()
            ladder.add(1, Undead(process.pid, b"u/1/1", ()), 0.05, time.monotonic())
            over = eventually(lambda: ladder.climb(time.monotonic()))
            assert over == [(1, True, [process.pid])] and not ladder.rungs
        finally:
            process.kill()


def test_a_number_that_nobody_of_the_attempt_holds_any_more_is_not_trusted() -> None:
    """Once the last of a session is gone, its number may be another process's."""
    with sleeper() as process:
        try:
            prey = Prey(process.pid, b"u/1/1", ())
            process.terminate()
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            look_up([prey])
            assert (prey.session, prey.left) == (0, [])
        finally:
            process.kill()
    with sleeper() as stranger:
        try:
            prey.session = 0
            prey.known = {stranger.pid: 1}  # the number was an attempt's once, by another start time
            end_all([prey], 0.2)
            assert prey.left == [] and stranger.poll() is None
        finally:
            stranger.kill()


def test_a_name_is_an_attempt_s_only_as_a_whole() -> None:
    """u/1/1 is not u/1/11, nor what some other variable holds."""
    others = [{"HOSTLER_ATTEMPT": "u/1/11"}, {"X": "HOSTLER_ATTEMPT=u/1/1"}, {"XHOSTLER_ATTEMPT": "u/1/1"}]
    processes = [sleeper(**env) for env in [*others, {"A": "1", "HOSTLER_ATTEMPT": "u/1/1"}]]
    try:
        prey = Prey(0, b"u/1/1", ())
        look_up([prey])
        assert prey.left == [processes[-1].pid]
        end_all([prey], 5.0)
        assert processes[-1].wait(10) == -signal.SIGKILL
        assert [process.poll() for process in processes[:-1]] == [None] * 3
    finally:
        for process in processes:
            process.kill()
            process.wait(10)


def test_a_process_found_once_is_found_again_after_its_parents_are_gone(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"env -i setsid sh -c 'echo $$ >{child}; exec sleep 60' & wait"
    parent = subprocess.Popen(["sh", "-c", script], start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: child.exists() and child.read_text())
        pid = int(child.read_text())
        prey = Prey(parent.pid, b"u/1/1", ())
        look_up([prey])
        assert {parent.pid, pid} <= set(prey.left)
        parent.kill()
        parent.wait(10)
        look_up([prey])
        assert prey.left == [pid]
        end_all([prey], 5.0)
        assert not alive(pid)
    finally:
        parent.kill()
        parent.wait(10)


def test_the_hunter_never_finds_itself() -> None:
    prey = Prey(os.getsid(0), b"u/1/1", ())
    look_up([prey])
    assert os.getpid() not in prey.left and sys.executable
