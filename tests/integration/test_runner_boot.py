"""How a runner begins: from whole messages only, once, under any shell, in whatever a login has prepared."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from hostler.model.jobs import Ending
from hostler.remote import source
from hostler.remote.runner import wire
from tests.integration.runner_rig import (
    Forked,
    Line,
    Rig,
    bare_environment,
    eventually,
    rigged,
    runner_source,
    start_frame,
)

SHELLS = [
    path
    for name in ("sh", "bash", "dash", "csh", "tcsh", "fish", "zsh", "ksh")
    if (path := shutil.which(name))
]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rigged(tmp_path) as made:
        yield made


# -- messages that are cut ------------------------------------------------------------------------------------


def test_a_source_that_is_cut_anywhere_runs_nothing(rig: Rig) -> None:
    boot = compile(source.BOOT % "str(5)", "<boot>", "exec")
    whole = source.parcel()
    places = [*range(0, 74, 5), *random.Random(1).sample(range(74, len(whole)), 30), len(whole) - 1]
    damaged = [whole[:place] for place in places]
    damaged += [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in (80, 5000, len(whole) - 1)]
    for text in damaged:
        line = Line(Forked(boot))
        rig.lines.append(line)
        line.send(
            text, wire.frame(wire.HELLO, json.dumps(rig.hello).encode()) if len(text) == len(whole) else b""
        )
        line.stdin.close()
        assert line.end() == b"" and not line.noise
    assert not rig.base.exists()


TRY_EACH_CUT = """
whole = {whole!r}
for place in range(len(whole)):
    reading, writing = os.pipe()
    os.write(writing, whole[:place])
    os.close(writing)
    os.dup2(reading, 0)
    try:
        main()
    except SystemExit as error:
        os.write(1, str(error).encode() + bytes([10]))
"""


def test_a_hello_that_is_cut_anywhere_leaves_nothing(rig: Rig) -> None:
    whole = wire.frame(wire.HELLO, json.dumps(rig.hello).encode())
    text = runner_source().replace("__hostler__", "each cut") + TRY_EACH_CUT.format(whole=whole)
    line = Line(Forked(compile(text, "<cuts>", "exec")))
    rig.lines.append(line)
    line.end()
    assert line.noise == b"hostler runner: no whole hello came\n" * len(whole)
    assert not rig.base.exists()


def test_a_start_message_that_is_cut_anywhere_starts_nothing(rig: Rig) -> None:
    whole = start_frame(1, f"echo >>{rig.folder}/began")
    first = rig.line()
    for place in range(1, len(whole)):
        line = rig.attach(ready=False)
        line.send(whole[:place])
        line.close()
    last = rig.line(ask=[1])
    assert last.answer()["standings"] == [[1, 0]]
    last.send(whole)
    last.result(1)
    assert (rig.folder / "began").read_text() == "\n"
    assert first.end()[1:] == b"another line came"


def test_a_start_message_whose_digest_is_wrong_starts_nothing_and_ends_the_line(rig: Rig) -> None:
    whole = bytearray(start_frame(1, f"echo >>{rig.folder}/began"))
    for at in (5, 36, 60, len(whole) - 1):
        bad = bytearray(whole)
        bad[at] ^= 4
        line = rig.line()
        line.send(bytes(bad))
        assert b"made no sense" in line.end()
    line = rig.line(ask=[1])
    assert line.answer()["standings"] == [[1, 0]]
    assert not (rig.folder / "began").exists()


def test_frames_that_make_no_sense_end_their_line_and_nothing_else(rig: Rig) -> None:
    chance = random.Random(7)
    line = rig.line(slots=1)
    pid = line.answer()["pid"]
    line.start(1, "sleep 60")
    line.until(lambda: line.read(0.1) or line.reports)
    kinds = [*b"HSVKANFCB", 0, 255]
    bad = [
        wire.frame(kind, chance.randbytes(chance.choice((1, 7, 9, 23))))
        for kind in kinds
        if kind != wire.HELLO
    ]
    bad += [
        b"\xff" * 9,
        wire.HEAD.pack(1 << 31, wire.ACK),
        chance.randbytes(400),
        wire.frame(wire.RENEW, b""),
        wire.frame(wire.RENEW, wire.numbers([1, 0, 99])),  # of which it has seen none
    ]
    bad = [text for text in bad if text[4] != wire.BYE]
    for text in bad:
        line = rig.attach(slots=1)
        line.send(text)
        assert b"made no sense" in line.end(), text
    line = rig.line(slots=1, ask=[1])
    assert line.answer()["pid"] == pid and line.answer()["standings"] == [[1, 2]]


@pytest.mark.parametrize(
    "change",
    [{"epoch": "x"}, {"lease": -1}, {"lease": float("nan")}, {"ask": 5}, {"ask": ["a"]}, {"slots": "many"}],
    ids=str,
)
def test_a_hello_that_makes_no_sense_is_refused_in_one_line(rig: Rig, change: dict[str, object]) -> None:
    line = rig.fork()
    line.hello(**{**rig.hello, **change})
    line.end()
    assert line.errors().strip().splitlines()[-1].startswith("hostler runner: ") and not line.greeted
    eventually(lambda: not rig.processes())
    living = rig.line()
    other = rig.fork()
    other.hello(**{**rig.hello, **change})
    other.end()
    assert not other.greeted
    living.start(1, "echo still here")
    assert living.result(1).out == b"still here\n"


@pytest.mark.parametrize("text", [b"[]", b"{}", b"{", b"\xff", b'{"uid": "../../x", "token": "00"}'])
def test_a_hello_without_a_run_makes_no_folder(rig: Rig, text: bytes) -> None:
    line = rig.fork()
    line.send(wire.frame(wire.HELLO, text))
    line.end()
    assert line.errors().startswith("hostler runner: ") and "Traceback" not in line.errors()
    assert not rig.base.exists()


def test_a_controller_of_another_protocol_is_told_so(rig: Rig) -> None:
    line = rig.fork()
    line.hello(**{**rig.hello, "protocol": 99})
    assert line.end() == wire.NEVER + b"its runner speaks protocol 1, and not yours"


# -- one runner -----------------------------------------------------------------------------------------------


def test_of_two_that_begin_at_once_one_is_the_runner_and_the_newer_controller_is_served(rig: Rig) -> None:
    for turn in range(20):
        lines = [rig.fork(), rig.fork()]
        for epoch, line in enumerate(lines if turn % 2 else lines[::-1], start=2 * turn + 1):
            line.hello(**{**rig.hello, "epoch": epoch})
        older, newer = lines if turn % 2 else lines[::-1]
        pid = newer.answer()["pid"]
        assert older.end() == wire.NEVER + b"a newer controller has taken this run over"
        newer.ready()
        newer.start(turn + 1, "echo $PPID")
        assert int(newer.result(turn + 1).out or b"") == pid
        if turn % 3 == 0:  # the next two find no runner, but what it left
            newer.bye()
            newer.end()
    runners = {pid for pid in rig.processes() if os.readlink(f"/proc/{pid}/fd/1").endswith("/errors")}
    assert len(runners) == 1


def test_a_line_that_comes_while_the_runner_leaves_finds_the_next_one(rig: Rig) -> None:
    for serial in range(1, 16):
        line = rig.line()
        line.start(serial, "true")
        line.result(serial)
        line.ack(serial)
        other = rig.fork()
        line.bye()
        other.hello(**{**rig.hello, "epoch": 2})
        assert other.answer()["slots"] == 4
        other.bye()
        other.end()
        line.end()
    eventually(rig.deserted)


# -- whatever the login has prepared ----------------------------------------------------------------------------


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_line_is_understood_by(rig: Rig, shell: str) -> None:
    rig.command = (shell, "-c", source.command())
    rig.env = dict(bare_environment(HOME=str(rig.folder)))  # fish writes there
    line = rig.line(real=True)
    line.start(1, "echo", 'it\'s $HOME; "quoted" \\ `x` !x')
    assert line.result(1).out == b'it\'s $HOME; "quoted" \\ `x` !x\n'


def test_a_login_that_prints_does_not_confuse_the_line(rig: Rig) -> None:
    noise = "printf 'Welcome!\\n\\000hostler-ru\\377\\n'; printf 'H\\000\\000' ; echo on stderr >&2; "
    rig.command = ("/bin/sh", "-c", noise + source.command())
    line = rig.line(real=True)
    assert line.noise == b"Welcome!\n\x00hostler-ru\xff\nH\x00\x00"
    line.start(1, "true")
    assert line.result(1).code == 0


def test_a_host_without_python_says_so_in_one_line(rig: Rig, tmp_path: Path) -> None:
    rig.env = {"PATH": str(tmp_path)}
    line = rig.call()
    line.hello(**rig.hello)
    line.end()
    assert line.errors() == "hostler: no python3 on this host\n"
    assert line.process.wait() == 127


def test_the_interpreter_asked_for_is_tried_first(rig: Rig, tmp_path: Path) -> None:
    mine = tmp_path / "my-python"
    mine.symlink_to("/usr/bin/python3")
    rig.command = ("/bin/sh", "-c", source.command(str(mine)))
    line = rig.line(real=True)
    assert Path(f"/proc/{line.answer()['pid']}/cmdline").read_bytes().startswith(bytes(mine))


def interpreters() -> list[ParameterSet]:
    """Every Python 3 that is here: the system's, and those of pyenv, of which all but the oldest wait for `slow`."""
    system = [
        path for path in Path("/usr/bin").glob("python3*") if re.fullmatch(r"python3(\.\d+)?", path.name)
    ]
    mine = sorted(
        Path.home().glob(".pyenv/versions/3.*/bin/python3"), key=lambda p: int(p.parts[-3].split(".")[1])
    )
    quick = [pytest.param(str(path)) for path in [*sorted(system), *mine[:1]]]
    return [*quick, *(pytest.param(str(path), marks=pytest.mark.slow) for path in mine[1:])]


@pytest.mark.parametrize("python", interpreters())
def test_every_interpreter_that_is_here_runs_it(rig: Rig, python: str) -> None:
    rig.command = ("/bin/sh", "-c", source.command(python))
    line = rig.line(real=True)
    for serial in range(1, 30):
        line.start(serial, f"echo {serial}; echo err >&2; exit {serial % 3}")
    for serial in range(1, 30):
        result = line.result(serial)
        assert (result.code, result.out, result.err) == (serial % 3, b"%d\n" % serial, b"err\n")
    line.ack(*range(1, 30))
    line.start(30, "head -c 300000 /dev/zero; sleep 60")
    line.start(31, "no-such-command", b"x")
    assert line.result(31).code == 127
    line.until(lambda: len(line.stream(30, 1)) == 300_000, "output")
    line.kill(30)
    assert line.result(30).ending is Ending.CANCELLED
    os.kill(line.answer()["pid"], signal.SIGKILL)
    line.end()
    again = rig.line(real=True, ask=[1, 30, 32])
    assert again.answer()["standings"] == [[1, 4], [30, 3], [32, 0]]
    assert again.result(30).out_size == 300_000
    again.bye()
    again.end()
    eventually(rig.deserted)


def test_without_posix_spawn_it_forks(rig: Rig) -> None:
    """As under Python 3.6 and 3.7."""
    rig.changes = [('hasattr(os, "posix_spawn")', "False")]
    line = rig.line()
    line.start(
        1, "ps -o pid=,sid= -p $$; ls -l /proc/self/fd | grep -c spool; cat; echo err >&2; kill -TERM $$"
    )
    line.start(2, "no-such-command", b"x")
    line.start(3, "/etc/passwd", b"x")
    line.start(4, "true", b"b\0c")
    line.start(5, "true", *["x" * 100_000] * 40)
    assert [line.result(serial).code for serial in (2, 3, 4, 5)] == [127, 126, 126, 126]
    result = line.result(1)
    assert (result.signal, result.err) == (15, b"err\n")
    pid, session = (result.out or b"").split()[:2]
    assert pid == session


def test_jobs_get_the_environment_of_the_login_and_no_more(rig: Rig) -> None:
    rig.env = {
        **bare_environment(HOME=str(rig.folder)),
        "KEEP": "a b\nc=d",
        "SSH_AUTH_SOCK": "/x",
        "SHLVL": "0",
        "LANG": "",
    }
    line = rig.line(real=True)
    line.start(1, "/usr/bin/env", b"-0")
    words = (line.result(1).out or b"").decode().rstrip("\0").split("\0")
    got = dict(word.split("=", 1) for word in words)
    assert got.pop("HOSTLER_ATTEMPT") == f"{rig.uid}/101/1"
    numbers = {name: got.pop(f"HOSTLER_{name}") for name in ("JOB", "RUN", "HOST", "SLOT")}
    assert numbers == {"JOB": "101", "RUN": "7", "HOST": "rig", "SLOT": "1"}
    wanted = {**bare_environment(HOME=str(rig.folder)), "KEEP": "a b\nc=d", "SHLVL": "1", "LANG": ""}
    for name in ("PWD", "OLDPWD", "_"):  # shells on the way set these
        got.pop(name, None)
    assert got == wanted


def test_jobs_get_nothing_to_read_and_no_open_files(rig: Rig) -> None:
    line = rig.line()
    line.start(1, "cat; wc -c; for f in /proc/self/fd/*; do readlink $f; done")
    lines = (line.result(1).out or b"").decode().split()
    assert lines[0] == "0" and lines[1] == "/dev/null"
    assert [Path(name).name for name in lines[2:4]] == ["1.out", "1.err"]
    assert all("/proc/" in name for name in lines[4:])


def test_jobs_are_deaf_to_no_signal(rig: Rig) -> None:
    line = rig.line(real=True)
    line.start(1, "grep -E 'Sig(Ign|Blk)' /proc/self/status")
    masks = [int(word, 16) for word in (line.result(1).out or b"").split() if b"Sig" not in word]
    assert [mask & 0x7FFFFFFF for mask in masks] == [0, 0]  # 32 and 33 are the C library's own


def test_a_job_begins_where_the_login_does(rig: Rig, tmp_path: Path) -> None:
    rig.cwd = tmp_path / "home"
    rig.cwd.mkdir()
    script = rig.cwd / "mine"
    script.write_text("echo $0 in $PWD\n")
    script.chmod(0o755)
    line = rig.line(real=True)
    line.start(1, "./mine", b"as every shell would, without a first line for the kernel")
    assert (line.result(1).out or b"").decode() == f"./mine in {rig.cwd}\n"


@pytest.mark.parametrize(
    ("shell", "runs"), [("/bin/bash", "bash"), ("/usr/sbin/nologin", "sh"), ("/bin/fish", "sh")]
)
def test_shell_text_runs_under_the_account_s_shell_if_that_speaks_sh(rig: Rig, shell: str, runs: str) -> None:
    line = rig.line(shell=shell)
    line.start(1, "echo ${BASH_VERSION:+bash}; echo $0", shell=True)
    out = (line.result(1).out or b"").split()
    assert out[-1].endswith(runs.encode()) and (b"bash" in out) == (runs == "bash")


def test_what_is_sent_stays_small() -> None:
    assert len(source.parcel()) < 24 << 10
    assert len(shlex.split(source.command())) == 4
