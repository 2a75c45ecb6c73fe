"""What becomes of jobs, results and lines when the runner dies, is told to go, is frozen, or is left alone."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from hostler.model.jobs import Ending
from hostler.model.reports import Began, Lost, Output, Refused, Result, Revoked
from hostler.remote.runner import wire
from tests.integration.runner_rig import Line, Rig, cpu_seconds, eventually, rigged


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rigged(tmp_path) as made:
        yield made


def runner(line: Line) -> int:
    """The runner's pid."""
    return int(line.answer()["pid"])


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return b") Z" in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return True


def end_of(pid: int) -> None:
    """Wait for a process's end."""
    eventually(lambda: gone(pid), f"the end of {pid}")


def gone_relay(line: Line) -> bool:
    """Whether the process that held the session open has ended."""
    return line.process.poll() is not None  # type: ignore[union-attr]


def counted(line: Line, count: int) -> bool:
    """Whether so many results have come."""
    return len(line.of(Result)) >= count


# -- killed ---------------------------------------------------------------------------------------------------


def test_after_a_kill_of_the_runner_results_stand_survivors_are_killed_and_the_rest_is_lost(rig: Rig) -> None:
    line = rig.line(slots=6)
    pid, spool = runner(line), line.answer()["spool"]
    line.start(1, "echo kept; echo too >&2; exit 3")
    line.start(2, "head -c 100000 /dev/zero")
    line.start(3, "echo acknowledged")
    first = [line.result(serial) for serial in (1, 2, 3)]
    line.ack(3)
    line.start(4, f"echo $$ >{rig.folder}/4; sleep 60; :")
    line.start(5, f"trap '' TERM HUP; setsid sh -c 'echo $$ >{rig.folder}/5; sleep 61'; :")
    line.start(6, f"(setsid sh -c 'echo $$ >{rig.folder}/6; sleep 62; :' &) ; sleep 63")
    jobs = [rig.number(name) for name in "456"]
    os.kill(pid, signal.SIGKILL)
    line.end()
    assert not any(gone(job) for job in jobs)
    again = rig.line(ask=[1, 2, 3, 4, 5, 6, 7], slots=6)
    assert again.answer()["spool"] == spool and runner(again) != pid
    assert again.answer()["standings"] == [[1, 3], [2, 3], [3, 4], [4, 4], [5, 4], [6, 4], [7, 0]]
    assert all(gone(job) for job in jobs)
    assert [again.one(Lost, serial).why for serial in (4, 5, 6)] == [
        "its runner died and nobody saw how it ended"
    ] * 3
    assert again.result(1) == first[0]
    assert again.result(2).elapsed == first[1].elapsed and again.stream(2, 1) == bytes(100_000)
    assert not again.of(Result, 3)
    again.start(3, f"touch {rig.folder}/twice")
    again.start(4, f"touch {rig.folder}/twice")
    again.start(7, "echo new")
    assert again.result(7).out == b"new\n" and again.one(Lost, 3)
    assert not (rig.folder / "twice").exists()


def test_a_runner_killed_at_any_time_loses_no_result_and_starts_nothing_twice(rig: Rig) -> None:
    """The jobs' own marks are the judge."""
    serial, kills = 0, 8
    told: dict[int, Result] = {}
    effects = rig.folder / "effects"
    for turn in range(kills):
        line = rig.line(ask=list(range(1, serial + 1)))
        for _, standing in line.answer()["standings"]:
            assert standing in (0, 3, 4)
        for again, standing in line.answer()["standings"]:
            if standing == 0:
                line.start(again, f"echo {again} >>{effects}; exit 5")
        for _ in range(12):
            serial += 1
            line.start(serial, f"echo {serial} >>{effects}; exit 5")
        line.until(partial(counted, line, 3 + turn), "some results")
        os.kill(runner(line), signal.SIGKILL)
        line.end()
        told.update({result.serial: result for result in line.of(Result)})
        for result in line.of(Result):
            assert result.code == 5
    last = rig.line(ask=list(range(1, serial + 1)))
    for again, standing in last.answer()["standings"]:
        if standing == 0:
            last.start(again, f"echo {again} >>{effects}; exit 5")
    last.until(lambda: len(last.of(Result)) + len(last.of(Lost)) == serial, "everything")
    marks = [int(word) for word in effects.read_text().split()]
    assert len(marks) == len(set(marks)), "something ran twice"
    done = {result.serial: result for result in last.of(Result)}
    assert set(told) <= set(done), "a result that was told is gone"
    assert set(done) <= set(marks)


def test_what_still_writes_to_an_attempt_s_file_is_found_although_it_has_another_environment(
    rig: Rig,
) -> None:
    line = rig.line()
    line.start(1, f"env -i PATH=$PATH setsid sh -c 'echo $$ >{rig.folder}/1; sleep 60; :' & sleep 61")
    job = rig.number("1")
    os.kill(runner(line), signal.SIGKILL)
    rig.line(ask=[1])
    assert gone(job)


def test_a_runner_that_is_told_to_end_ends_its_jobs_and_keeps_their_results(rig: Rig) -> None:
    line = rig.line(slots=2)
    line.start(1, "echo kept")
    line.result(1)
    line.start(2, "trap 'echo bye; exit 9' TERM; echo on; sleep 60 & wait")
    line.start(3, "sleep 60")
    line.start(4, "echo never yet")
    line.until(lambda: line.stream(2, 1), "output")
    pid = runner(line)
    os.kill(pid, signal.SIGTERM)
    assert line.end() == wire.AGAIN + b"the runner is being ended"
    end_of(pid)
    again = rig.line(ask=[1, 2, 3, 4])
    assert again.answer()["standings"] == [[1, 3], [2, 3], [3, 3], [4, 0]]
    assert again.result(1).out == b"kept\n"
    assert (again.result(2).ending, again.result(2).code, again.result(2).out) == (
        Ending.INTERRUPTED,
        9,
        b"on\nbye\n",
    )
    assert again.result(3).ending is Ending.INTERRUPTED


# -- epochs and lines -----------------------------------------------------------------------------------------


def answer(line: Line, serial: int) -> list[Result | Refused]:
    """How an attempt ended, or why it did not begin; nothing while that is open."""
    return [*line.of(Result, serial), *line.of(Refused, serial)]


@pytest.mark.parametrize(
    "harm",
    [
        "rm -rf $s/*", "rm -rf $s", "rm $s/lock", "rm $s/socket", "head -c 5000 /dev/urandom >$s/log",
        "prlimit --pid $PPID --nofile=4:4", "prlimit --pid $PPID --fsize=10:10", "kill -USR1 $PPID; kill -HUP $PPID",
    ],
)  # fmt: skip
def test_a_job_that_harms_its_runner_has_every_job_answered_and_none_run_twice(rig: Rig, harm: str) -> None:
    line, effects = rig.line(slots=2), rig.folder / "effects"
    line.start(1, f"s=$(readlink /proc/$$/fd/2); s=${{s%/*}}; echo 1 >>{effects}; {harm}; :")
    line.result(1)
    for serial in range(2, 8):
        line.start(serial, f"echo {serial} >>{effects}")
    answered = [line.until(partial(answer, line, serial)) for serial in range(2, 8)]
    begun = sorted(effects.read_text().split())
    assert begun == ["1", *sorted(str(each[0].serial) for each in answered if isinstance(each[0], Result))]


def test_a_stale_controller_is_refused_by_the_next_runner_too(rig: Rig) -> None:
    line = rig.line(epoch=5)
    os.kill(runner(line), signal.SIGKILL)
    line.end()
    stale = rig.fork()
    stale.hello(**{**rig.hello, "epoch": 4})
    assert stale.end() == wire.NEVER + b"a newer controller has taken this run over"
    eventually(lambda: not rig.processes(), "the end of the runner that refused")
    assert rig.line(epoch=5).answer()["slots"] == 4


def test_nothing_that_an_older_line_says_is_heard_once_another_has_come(rig: Rig) -> None:
    old = rig.line()
    new = rig.attach()
    old.start(1, f"touch {rig.folder}/heard")
    assert old.end() == wire.AGAIN + b"another line came"
    new.start(2, "true")
    new.result(2)
    assert not (rig.folder / "heard").exists()


def test_the_relay_ends_with_its_line_and_with_the_runner(rig: Rig) -> None:
    first = rig.line()
    second = rig.line()
    eventually(lambda: gone_relay(first), "the end of the first relay, which is let go")
    second.stdin.close()
    eventually(lambda: gone_relay(second), "the end of a relay whose session is closed")
    third = rig.line()
    os.kill(runner(third), signal.SIGKILL)
    third.end()
    eventually(lambda: gone_relay(third), "the end of a relay whose runner is gone")


def test_a_session_that_ended_before_it_had_the_spool_becomes_no_runner(rig: Rig) -> None:
    """Else it would begin, behind the run's own end, what an old line had sent."""
    rig.spool.mkdir(mode=0o700, parents=True)
    for folder in (rig.base, rig.base / "hostler", rig.spool.parent):
        folder.chmod(0o700)
    with (rig.spool / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # as a runner that leaves
        line = rig.fork()
        line.hello(**rig.hello)
        line.start(1, f"echo >{rig.folder}/begun")
        line.close()
    line.process.wait()
    assert rig.deserted() and not (rig.folder / "begun").exists()


def test_a_relay_does_not_outlive_its_session_although_the_runner_is_frozen(rig: Rig) -> None:
    line = rig.line()
    pid = runner(line)
    os.kill(pid, signal.SIGSTOP)
    waiting = rig.fork()
    waiting.hello(**rig.hello)
    assert not waiting.read(0.3)
    for each in (line, waiting):
        each.stdin.close()
        eventually(partial(gone_relay, each), "the end of a relay")
    os.kill(pid, signal.SIGCONT)
    again = rig.line()
    assert runner(again) == pid
    again.start(1, "echo hello")
    assert again.result(1).out == b"hello\n"


def test_a_relay_that_stalls_holds_nothing_up(rig: Rig) -> None:
    line = rig.line()
    stalled = []
    for _ in range(12):  # more than the runner waits for at a time
        child = rig.fork()
        child.hello(**{**rig.hello, "epoch": 0})
        stalled.append(child)
        os.kill(child.process.pid, signal.SIGSTOP)  # type: ignore[union-attr]
    line.start(1, "echo hello")
    assert line.result(1).out == b"hello\n"
    for child in stalled:
        os.kill(child.process.pid, signal.SIGCONT)  # type: ignore[union-attr]
        assert child.end()[:1] == wire.NEVER


# -- the lease ------------------------------------------------------------------------------------------------


def test_a_hello_whose_answer_nobody_heard_gives_jobs_no_more_time(rig: Rig) -> None:
    """Else the controller, which counts from what it heard, could give the job to another host meanwhile."""
    line = rig.line(lease=1.5)
    line.start(1, f"echo $$ >{rig.folder}/1; sleep 60; :")
    job = rig.number("1")
    line.close()

    def once_more() -> bool:
        deaf = rig.attach(ready=False, renew=False, lease=1.5)
        deaf.close()
        return gone(job)

    eventually(once_more, "the end of a job that nobody asks for")
    line = rig.line(ask=[1])
    assert line.result(1).ending is Ending.INTERRUPTED


def test_whoever_renews_keeps_the_jobs_alive(rig: Rig) -> None:
    line = rig.line(lease=2.0)
    line.start(1, "sleep 60")
    until = time.monotonic() + 3
    while time.monotonic() < until:
        line.renew()
        line.read(0.2)
    assert not line.of(Result) and not line.over


def test_after_its_lease_a_runner_has_left_and_kept_what_was_not_acknowledged(rig: Rig) -> None:
    line = rig.line(lease=0.7, slots=2)
    line.start(1, "echo kept")
    line.start(2, "echo part; sleep 60")
    line.start(3, "trap '' TERM; while :; do sleep 0.1; done")
    line.start(4, "echo waits")
    pid = runner(line)
    assert line.end() == wire.AGAIN + b"the lease has ended"
    end_of(pid)
    assert not rig.processes()
    assert sum(file.stat().st_blocks * 512 for file in rig.spool.iterdir()) < 1 << 20
    again = rig.line(ask=[1, 2, 3, 4], slots=2)
    assert again.answer()["standings"] == [[1, 3], [2, 3], [3, 3], [4, 0]]
    assert again.result(1).out == b"kept\n"
    assert [again.result(serial).ending for serial in (2, 3)] == [Ending.INTERRUPTED] * 2
    again.start(4, "echo waits")
    assert again.result(4).out == b"waits\n"


def test_a_host_that_sleeps_counts_that_for_its_lease_and_not_for_its_jobs_own_time(rig: Rig) -> None:
    """A sleep is played by the clock that goes on meanwhile, ahead of the other by the size of a file."""
    slept = rig.folder / "slept"
    slept.touch()
    clock = "return time.clock_gettime(AWAKE_OR_NOT)"
    rig.changes = [(clock, f"{clock} + os.stat({str(slept)!r}).st_size")]
    line = rig.line(lease=3600.0)
    line.start(1, "sleep 60", timeout=1200)
    os.truncate(slept, 1800)
    line.start(2, "true")
    line.result(2)
    assert not line.of(Result, 1) and not line.over
    os.truncate(slept, 4000)
    assert line.end() == wire.AGAIN + b"the lease has ended"
    assert rig.line(ask=[1]).result(1).ending is Ending.INTERRUPTED


def test_what_waited_when_the_lease_ended_is_as_if_never_seen(rig: Rig) -> None:
    line = rig.line(lease=0.5, slots=1, grace=1.5)
    line.start(1, "trap '' TERM; while :; do sleep 0.1; done")
    line.start(2, f"echo 2 >>{rig.folder}/begun")
    line.start(3, f"echo 3 >>{rig.folder}/begun")
    line.end()
    again = rig.line(ask=[1, 2, 3], slots=1)
    standings = dict(again.answer()["standings"])
    assert standings[1] in (2, 3) and (standings[2], standings[3]) == (0, 0)
    again.send(wire.frame(wire.REVOKE, wire.numbers([3])))
    again.one(Revoked, 3)
    again.start(2, f"echo 2 >>{rig.folder}/begun")
    again.start(3, f"echo 3 >>{rig.folder}/begun")
    again.result(2)
    again.until(lambda: len(again.of(Revoked, 3)) == 2, "the same answer again")
    assert again.result(1).ending is Ending.INTERRUPTED
    assert (rig.folder / "begun").read_text() == "2\n"


# -- waiting costs nothing --------------------------------------------------------------------------------------


def spent(pid: int, seconds: float = 1.0) -> float:
    """The part of a processor that a process uses over some seconds."""
    before = cpu_seconds(pid)
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / seconds


def test_a_runner_that_waits_does_not_spin(rig: Rig) -> None:
    line = rig.line(slots=8, credit=0, grace=30.0)
    pid = runner(line)
    for serial in range(1, 5):
        line.start(serial, "sleep 60")
    line.start(5, "head -c 50000 /dev/zero")  # waits for credit
    line.start(6, "head -c 50000 /dev/zero; sleep 60")
    line.start(7, "trap '' TERM; while :; do sleep 1; done")
    line.one(Began, 7)
    line.kill(7, grace=30.0)
    time.sleep(0.5)
    assert spent(pid) < 0.15
    line.credit(1 << 20)
    line.one(Output, 5)


def test_a_runner_whose_line_takes_no_more_does_not_spin(rig: Rig) -> None:
    line = rig.line(slots=8)
    pid = runner(line)
    line.start(1, "head -c 3000000 /dev/zero; sleep 60")
    line.start(2, "head -c 3000000 /dev/zero")
    line.start(3, "while :; do echo more; sleep 0.1; done")
    time.sleep(1.0)  # nobody reads
    assert spent(pid) < 0.15
    line.kill(1, 3)
    assert line.result(3).ending is Ending.CANCELLED and line.result(2).out_size == 3_000_000


def test_a_runner_that_nobody_listens_to_does_not_spin_while_it_ends_its_jobs(rig: Rig) -> None:
    line = rig.line(lease=0.5, grace=4.0)
    pid = runner(line)
    line.start(1, "trap '' TERM; while :; do sleep 0.5; done")
    line.end()
    time.sleep(0.5)
    assert spent(pid) < 0.15
