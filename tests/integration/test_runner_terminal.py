"""A terminal for jobs whose programs hold their output back without one: what they see, and what becomes of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostler.model.jobs import Ending
from hostler.remote import source
from tests.integration.runner_rig import Rig, cpu_seconds, eventually, rigged
from tests.integration.test_runner_boot import interpreters
from tests.integration.test_runner_kills import ESCAPES, alive

PYTHON = "/usr/bin/python3"


@pytest.fixture(params=["posix_spawn", "fork"])
def rig(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A rig whose jobs get terminals; also as under Python 3.6 and 3.7."""
    with rigged(tmp_path) as made:
        made.hello["pty"] = True
        if request.param == "fork":
            made.changes = [('hasattr(os, "posix_spawn")', "False")]
        yield made


def test_a_program_that_holds_back_elsewhere_is_heard_at_once(rig: Rig) -> None:
    line = rig.line()
    go = str(rig.folder / "go")
    script = f"import os, time\nprint('early')\nwhile not os.path.exists({go!r}): time.sleep(0.02)"
    line.start(1, PYTHON, "-c", script)
    line.until(lambda: line.stream(1, 1) == b"early\n", "what it printed and didn't flush")
    (rig.folder / "go").touch()
    assert line.result(1).code == 0


def test_a_job_s_terminal_is_its_own_and_of_a_known_size(rig: Rig) -> None:
    line = rig.line()
    line.start(1, "test -t 1 && test -t 2 && ! test -t 0; echo $? $TERM; stty size </dev/tty; wc -c; cat /dev/tty; "
                  "ps -o tpgid= -o pgid= -o sess= -p $$; echo err >&2; printf 'a\\r\\nb\\tc\\n'")  # fmt: skip
    result = line.result(1)
    lines = (result.out or b"").split(b"\n")
    assert lines[:3] == [f"0 {os.environ.get('TERM', 'dumb')}".encode(), b"24 80", b"0"]
    assert len(set(lines[3].split())) == 1  # the leader of a session whose terminal it is
    assert lines[4:] == [b"err", b"a\r", b"b\tc", b""] and result.err == b""


def test_what_a_terminal_gets_is_kept_byte_by_byte_and_whole(rig: Rig) -> None:
    data = bytes(range(256)) * 4000
    (rig.folder / "data").write_bytes(data)
    line = rig.line(slots=4)
    for serial in range(1, 5):
        line.start(serial, f"cat {rig.folder}/data; exit {serial}")
    for serial in range(1, 5):
        assert line.result(serial).code == serial
        assert line.stream(serial, 1) == data
    for serial in range(5, 40):
        line.start(serial, f"echo {serial}")
    for serial in range(5, 40):
        assert line.result(serial).out == b"%d\n" % serial
    assert not [fd for fd in os.listdir(f"/proc/{line.answer()['pid']}/fd") if is_terminal(line, fd)]


def is_terminal(line, fd: str) -> bool:
    """Whether the runner has a terminal open there."""
    try:
        target = os.readlink(f"/proc/{line.answer()['pid']}/fd/{fd}")
    except OSError:
        return False
    return target.startswith(("/dev/pts/", "/dev/ptmx"))


def test_what_is_left_behind_in_a_terminal_is_hung_up(rig: Rig) -> None:
    """As when a window is closed: TERM is not sent, HUP is; a job's result waits for nobody."""
    line = rig.line()
    line.start(1, f"sh -c 'echo $$ >{rig.folder}/pid; sleep 60; :' & sleep 0.3; exit 3")
    pid = rig.number("pid")
    assert line.result(1).code == 3
    eventually(lambda: not alive(pid))


def test_a_daemon_that_writes_without_end_holds_no_result_up(rig: Rig) -> None:
    line = rig.line()
    line.start(1, "trap '' HUP; (setsid sh -c 'while :; do echo stray; done' &); sleep 0.2; exit 4")
    assert line.result(1).code == 4
    line.start(2, "echo on")
    assert line.result(2).out == b"on\n"


def test_a_job_that_closes_its_terminal_costs_nothing_while_it_runs(rig: Rig) -> None:
    line = rig.line()
    line.start(1, f"exec >/dev/null 2>&1; echo $$ >{rig.folder}/pid; sleep 1; echo late >/dev/tty; exit 5")
    rig.number("pid")
    before = cpu_seconds(line.answer()["pid"])
    result = line.result(1)
    assert (result.code, result.out) == (5, b"late\n")
    assert cpu_seconds(line.answer()["pid"]) - before < 0.3


@pytest.mark.parametrize("way", ["deaf to TERM", "a session of its own, deaf", "another environment"])
def test_the_kill_ladder_reaches_jobs_on_terminals(rig: Rig, way: str) -> None:
    line = rig.line()
    line.start(1, f"export D={rig.folder}/pid; {ESCAPES[way]}")
    pid = rig.number("pid")
    line.kill(1, grace=0.2)
    assert line.result(1).ending is Ending.CANCELLED and not alive(pid)


def test_output_goes_on_by_offset_on_the_next_line(rig: Rig) -> None:
    line = rig.line()
    line.start(1, f"echo one; while [ ! -e {rig.folder}/go ]; do sleep 0.02; done; echo two; sleep 60")
    line.until(lambda: line.stream(1, 1) == b"one\n", "the first line")
    again = rig.attach(ready=False)
    again.follow(1, 4, 0)
    again.ready()
    (rig.folder / "go").touch()
    again.until(lambda: again.stream(1, 1) == b"two\n", "the second")
    os.kill(line.answer()["pid"], signal.SIGKILL)
    again.end()
    last = rig.line(ask=[1])
    assert last.answer()["standings"] == [[1, 4]]


def test_a_command_that_is_not_there_is_told_in_its_terminal_s_output(rig: Rig) -> None:
    line = rig.line()
    line.start(1, "no-such-command", "x")
    result = line.result(1)
    assert result.code == 127 and b"command not found" in (result.out or b"") + (result.err or b"")


@pytest.mark.parametrize("python", interpreters())
def test_every_interpreter_that_is_here_does_terminals_cuts_and_marks(tmp_path: Path, python: str) -> None:
    way = "another environment and files, a double fork"
    with rigged(tmp_path) as rig:
        rig.command = ("/bin/sh", "-c", source.command(python))
        line = rig.line(real=True, pty=True, output_limit=1 << 20)
        line.start(1, "test -t 1 && tty </dev/tty; echo err >&2; exit 3")
        result = line.result(1)
        assert (result.code, result.err) == (3, b"") and (result.out or b"").startswith(b"/dev/tty\n")
        line.start(2, "yes | head -c 4000000; echo; echo end")
        assert "2.8 MiB of its stdout cut out" in line.result(2).detail
        assert line.stream(2, 1).endswith(b"y\n\nend\n") and b"2.8 MiB cut out here" in line.stream(2, 1)
        line.start(3, f"export D={rig.folder}/pid; {ESCAPES[way]}")
        pid = rig.number("pid")
        line.kill(3, grace=0.2)
        assert line.result(3).ending is Ending.CANCELLED and not alive(pid)
