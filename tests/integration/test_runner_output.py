"""What jobs write: whole, in order, bounded in memory, each its own, whatever they do to their files."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostler.model.jobs import Ending
from hostler.model.reports import Began, Output, Result
from hostler.remote.runner import wire
from tests.integration.runner_rig import Line, Rig, eventually, rigged

PYTHON = "/usr/bin/python3"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rigged(tmp_path) as made:
        yield made


def memory(pid: int) -> int:
    """The most memory that a process has had so far, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def read_and_credit(line: Line, serial: int, stream: int) -> tuple[int, str]:
    """Take in a whole stream without holding it, giving credit as it comes; its length and digest."""
    digest, size = hashlib.sha256(), 0
    while not line.of(Result, serial):
        for piece in line.of(Output, serial):
            assert piece.stream == stream and piece.offset == size
            digest.update(piece.data)
            size += len(piece.data)
            line.credit(len(piece.data))
        line.reports.clear()
        line.heard.clear()
        line.until(lambda: line.reports, "output")
    for piece in line.of(Output, serial):
        digest.update(piece.data)
        size += len(piece.data)
    return size, digest.hexdigest()


def test_two_hundred_megabytes_pass_in_little_memory(rig: Rig) -> None:
    script = (
        "import hashlib, os, sys\n"
        "digest, out = hashlib.sha256(), sys.stdout.buffer\n"
        "block = os.urandom(1 << 20)\n"
        "for i in range(200):\n"
        "    data = block[i:] + block[:i]\n"
        "    out.write(data); digest.update(data)\n"
        "out.flush(); sys.stderr.write(digest.hexdigest())\n"
    )
    line = rig.line(real=True, credit=1 << 20)
    pid = line.answer()["pid"]
    before = memory(pid)
    line.start(1, PYTHON, "-c", script.replace("sys.stderr.write", f"open('{rig.folder}/digest', 'w').write"))
    size, digest = read_and_credit(line, 1, 1)
    assert size == 200 << 20 and digest == (rig.folder / "digest").read_text()
    assert line.result(1).out_size == size
    assert memory(pid) - before < 16 << 20


@pytest.mark.parametrize("instead", ["", "mkfifo $o", "ln -s /etc/passwd $o", "mkdir $o"])
def test_output_whose_file_a_job_removes_is_missed_in_words_and_holds_nobody_up(
    rig: Rig, instead: str
) -> None:
    line = rig.line()
    line.start(1, f"o=$(readlink /proc/$$/fd/1); rm $o; {instead or ':'}; echo never")
    result = line.result(1)
    assert (result.ending, result.out) == (Ending.OK, b"")
    assert result.detail == "its stdout was removed from its host before it was seen"
    line.start(
        2, "cd $(dirname $(readlink /proc/$$/fd/1)); rm -f *.out; for i in 2 3 4 5; do mkfifo $i.out; done"
    )
    line.result(2)
    for serial in range(3, 9):
        line.start(serial, "echo on")
    line.until(lambda: any(each.out == b"on\n" for each in line.of(Result)), "jobs that go on")


def test_bytes_are_never_taken_for_text(rig: Rig) -> None:
    data = bytes(range(256)) * 20 + b"\r\n\x1b]0;title\x07\xff\xfe" + b"\0" * 100
    (rig.folder / "data").write_bytes(data)
    line = rig.line()
    line.start(1, f"cat {rig.folder}/data; cat {rig.folder}/data >&2")
    line.start(2, "cat", f"{rig.folder}/data")
    assert line.result(2).out == data and line.result(1).out_size == len(data)
    assert line.stream(1, 1) == line.stream(1, 2) == data


def test_arguments_arrive_as_they_left(rig: Rig) -> None:
    hostile = [
        b"", b" ", b"'", b'"', b"$HOME", b"`x`", b"$(x)", b";", b"a\nb", b"\\", b"*", b"~", b"-n", b"--", b"!x",
        b"\xff\xfe\x80", b"\x01\x1b[31m", "ü€".encode(), b"x" * 100_000, b"%s%n", b"#", b"&&", b"|", b"\t",
    ]  # fmt: skip
    script = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(os.fsencode(a) for a in sys.argv[1:]))"
    line = rig.line()
    line.start(1, PYTHON, "-c", script, *hostile)
    line.result(1)
    assert line.stream(1, 1) == b"\0".join(hostile)


def test_what_is_not_there_or_not_a_program_ends_as_in_a_shell(rig: Rig) -> None:
    plain = rig.folder / "plain"
    plain.write_text("#!/bin/sh\n")
    lame = rig.folder / "lame"
    lame.write_text("#!/no/such/interpreter\n")
    lame.chmod(0o755)
    line = rig.line()
    commands = ["no-such-command", "/no/such", str(plain), str(lame), str(rig.folder), "/etc/passwd/x"]
    for serial, command in enumerate(commands, start=1):
        line.start(serial, command, "x")
    line.start(7, "true", b"with a \0 in it")
    line.start(8, "true", *["x" * 100_000] * 40)
    codes = [line.result(serial).code for serial in range(1, 9)]
    assert codes == [127, 127, 126, 127, 126, 127, 126, 126]
    texts = [(line.result(serial).err or b"").decode() for serial in range(1, 9)]
    assert texts[0].startswith("hostler: no-such-command: command not found (PATH is /")
    assert texts[2] == f"hostler: {plain}: Permission denied\n"
    assert "interpreter" in texts[3] and "NUL" in texts[6] and "Argument list too long" in texts[7]
    line.start(9, "echo alive")
    assert line.result(9).out == b"alive\n"


def test_a_command_that_comes_goes_or_moves_is_found_as_it_is(rig: Rig, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    rig.env = {"PATH": f"{one}:{two}:/usr/bin:/bin"}
    line = rig.line(real=True)

    def put(folder: Path, text: str) -> Path:
        path = folder / "mine"
        path.write_text(f"#!/bin/sh\necho {text}\n")
        path.chmod(0o755)
        return path

    line.start(1, "mine", b"x")
    assert line.result(1).code == 127
    first = put(one, "one")
    line.start(2, "mine", b"x")
    assert line.result(2).out == b"one\n"
    put(two, "two")
    first.unlink()
    line.start(3, "mine", b"x")
    assert line.result(3).out == b"two\n"
    (two / "mine").chmod(0o644)
    line.start(4, "mine", b"x")
    assert line.result(4).code == 126


def test_a_result_waits_for_no_daemon_and_no_daemon_writes_into_another_s_output(rig: Rig) -> None:
    """A file is used again only once nobody can write to it any more."""
    line = rig.line(slots=2)
    line.start(1, "(while :; do echo stray; echo stray >&2; sleep 0.01; done) & echo $!; exit 7")
    result = line.result(1)
    assert result.code == 7
    line.ack(1)
    for serial in range(2, 150):
        line.start(serial, f"echo {serial}; echo {serial} >&2")
    for serial in range(2, 150):
        result = line.result(serial)
        assert (result.out, result.err) == (b"%d\n" % serial,) * 2
        line.ack(serial)


def test_output_files_are_used_again_and_none_is_left(rig: Rig) -> None:
    line = rig.line(slots=2)
    for serial in range(1, 120):
        line.start(serial, "echo", f"some output of {serial}")
        assert line.result(serial).out == b"some output of %d\n" % serial
        line.ack(serial)
        assert len(list(rig.spool.glob("*.out"))) <= 3
    line.start(120, "head -c 1000000 /dev/zero")
    line.result(120)
    line.ack(120)
    line.start(121, "wc -c </dev/stdout")
    assert line.result(121).out == b"0\n"
    assert sum(path.stat().st_size for path in rig.spool.glob("*.out")) < 100


def test_without_leases_every_job_has_files_of_its_own(rig: Rig) -> None:
    rig.changes = [('hasattr(fcntl, "F_SETLEASE")', "False")]
    line = rig.line(slots=2)
    names = set()
    for serial in range(1, 20):
        line.start(serial, "readlink /proc/$$/fd/1")
        names.add(line.result(serial).out)
        line.ack(serial)
    assert len(names) == 19
    line.start(20, "true")
    line.result(20)
    assert len(list(rig.spool.glob("*.out"))) == 1


def test_many_small_pieces_come_in_order_and_soon(rig: Rig) -> None:
    line = rig.line()
    line.start(1, "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done; sleep 60")
    text = b"".join(b"%d\n" % i for i in range(3000))
    line.until(lambda: line.stream(1, 1) == text, "every line")
    assert not line.of(Result)
    at = 0
    for piece in line.of(Output, 1):
        assert piece.offset == at
        at += len(piece.data)


# -- what jobs do to their own files ----------------------------------------------------------------------------


def test_a_job_that_truncates_its_output_goes_on_behind_what_was_sent(rig: Rig) -> None:
    """`echo … >/dev/stderr` does that, as scripts often do."""
    line = rig.line()
    line.start(
        1,
        f"echo first >&2; while [ ! -e {rig.folder}/go ]; do sleep 0.02; done; echo b >/dev/stderr; sleep 60",
    )
    line.until(lambda: line.stream(1, 2) == b"first\n", "the first line")
    (rig.folder / "go").touch()
    line.until(lambda: line.stream(1, 2) == b"first\nb\n", "what was written after it")
    line.kill(1)
    assert line.result(1).err_size == 8
    assert [piece.offset for piece in line.of(Output, 1)] == [0, 6]


def test_a_result_tells_what_there_is_when_its_job_cut_its_own_output(rig: Rig) -> None:
    line = rig.line()
    line.start(1, "echo one two three; : >/dev/stdout; echo x")
    assert line.result(1).out == b"x\n"
    line.start(2, "head -c 50000 /dev/zero; sleep 0.5; : >/dev/stdout; echo x")
    line.result(2)
    whole = line.stream(2, 1)
    assert line.result(2).out_size == len(whole) and whole.endswith(b"x\n")


def test_output_that_is_gone_from_the_disk_is_told_and_confuses_nobody(rig: Rig) -> None:
    line = rig.line(credit=0)
    line.start(1, "head -c 50000 /dev/zero")
    line.start(2, "echo small; echo err >&2")
    line.start(3, "head -c 50000 /dev/zero; sleep 60")
    line.result(2)
    line.one(Began, 3)
    eventually(lambda: len([p for p in rig.spool.glob("*.out") if p.stat().st_size == 50_000]) == 2)
    line.close()
    os.kill(line.answer()["pid"], 9)
    for path in [*rig.spool.glob("*.out"), *rig.spool.glob("*.err")]:
        path.unlink()
    again = rig.line(ask=[1, 2, 3], ready=False)
    assert again.answer()["standings"] == [[1, 3], [2, 3], [3, 4]]
    again.follow(1, 20_000, 0)
    again.ready()
    first, second = again.result(1), again.result(2)
    assert (first.out_size, first.out, again.of(Output)) == (20_000, None, [])
    assert first.detail == "30000 bytes of its output are gone from its host"
    assert (second.out_size, second.err_size) == (0, 0) and "10 bytes" in second.detail
    again.start(4, "echo hello")
    assert again.result(4).out == b"hello\n"


def test_a_running_job_whose_file_is_removed_still_ends_as_it_does(rig: Rig) -> None:
    line = rig.line()
    line.start(1, f"echo early; while [ ! -e {rig.folder}/go ]; do sleep 0.02; done; echo late; exit 3")
    line.until(lambda: line.stream(1, 1) == b"early\n", "output")
    for path in rig.spool.glob("*.out"):
        path.unlink()
    (rig.folder / "go").touch()
    result = line.result(1)
    assert result.code == 3 and result.out_size == len(line.stream(1, 1)) >= 6


def test_a_follow_beyond_what_there_is_gets_what_comes_after(rig: Rig) -> None:
    line = rig.line()
    line.start(1, f"echo 12345; while [ ! -e {rig.folder}/go ]; do sleep 0.02; done; echo more; sleep 60")
    line.until(lambda: line.stream(1, 1) == b"12345\n", "output")
    again = rig.attach(ready=False)
    again.follow(1, 1000, 0)
    again.ready()
    (rig.folder / "go").touch()
    again.until(lambda: again.stream(1, 1).endswith(b"more\n"), "what came after")
    assert again.of(Output, 1)[0].offset == 1000


# -- limits -----------------------------------------------------------------------------------------------------


def test_a_stream_beyond_the_limit_ends_its_job_and_no_other(rig: Rig) -> None:
    """Where the file system refuses holes; here every one does."""
    rig.changes = [("PUNCH = 3", "PUNCH = 1 << 20")]
    line = rig.line(output_limit=1 << 20)
    line.start(1, "exec cat /dev/zero")
    line.start(2, "echo fine; sleep 1.5; echo still")
    line.start(3, "head -c 3000000 /dev/zero >&2; exit 0")
    line.start(4, "head -c 1048576 /dev/zero")
    for serial in (1, 3):
        result = line.result(serial)
        assert (
            result.ending is Ending.OUTPUT_LIMIT and "passed 1.0 MiB; the rest was dropped" in result.detail
        )
    assert line.result(1).out_size == len(line.stream(1, 1)) == 1 << 20
    assert line.result(3).err_size == len(line.stream(3, 2)) == 1 << 20
    assert line.result(4).ending is Ending.OK and line.result(4).out_size == 1 << 20
    line.result(2)
    assert line.stream(2, 1) == b"fine\nstill\n"
    assert sum(path.stat().st_size for path in rig.spool.glob("*.out")) < 3 << 20


def test_no_more_is_started_while_much_output_waits(rig: Rig) -> None:
    rig.changes = [("BACKLOG = 256 << 20", "BACKLOG = 100000")]
    line = rig.line(slots=1, credit=0)
    for serial in range(1, 6):
        line.start(serial, f"head -c 60000 /dev/zero; echo {serial} >>{rig.folder}/begun")
    begun = rig.folder / "begun"
    eventually(lambda: begun.exists() and begun.read_text() == "1\n2\n")
    time.sleep(0.5)
    assert begun.read_text() == "1\n2\n"
    line.credit(1 << 20)
    assert [line.result(serial).out_size for serial in range(1, 6)] == [60_000] * 5


def test_a_controller_that_reads_nothing_costs_little_memory(rig: Rig) -> None:
    line = rig.line(real=True, slots=4)
    pid = line.answer()["pid"]
    before = memory(pid)
    for serial in range(1, 5):
        line.start(serial, "head -c 20000000 /dev/zero; sleep 60")
    time.sleep(1.0)
    line.renew()
    eventually(lambda: sum(path.stat().st_size for path in rig.spool.glob("*.out")) == 80_000_000)
    time.sleep(0.5)
    assert memory(pid) - before < 8 << 20
    line.send(wire.frame(wire.BYE, b""))
    line.end()


CUT = re.compile(rb"\n\[(\d+\.\d [KM]iB) cut out here\]\n")
LIMIT = 1 << 20
HEAD, TAIL = LIMIT - LIMIT // 4, LIMIT // 4
#: Writes numbered lines of ten bytes, and stops halfway until it may go on.
COUNTING = (
    "import os, sys, time\n"
    "def lines(a, b): os.write(1, b''.join(b'%09d\\n' % i for i in range(a, b)))\n"
    "for i in range(0, {half}, 10000): lines(i, i + 10000)\n"
    "while not os.path.exists({go!r}): time.sleep(0.02)\n"
    "for i in range({half}, {whole}, 10000): lines(i, i + 10000)\n"
)


def numbered(start: int, end: int) -> bytes:
    """What COUNTING wrote there, in bytes."""
    text = b"".join(b"%09d\n" % i for i in range(start // 10, end // 10 + 1))
    return text[start % 10 : start % 10 + end - start]


def test_the_middle_of_a_stream_beyond_the_limit_is_cut_out_and_that_is_said(rig: Rig) -> None:
    whole = 1_000_000
    line = rig.line(output_limit=LIMIT)
    go = rig.folder / "go"
    line.start(1, PYTHON, "-c", COUNTING.format(half=whole // 2, whole=whole, go=str(go)))
    eventually(lambda: sum(path.stat().st_size for path in rig.spool.glob("*.out")) == 5 * whole)
    [file] = [path for path in rig.spool.glob("*.out") if path.stat().st_size]
    line.until(lambda: len(line.stream(1, 1)) == HEAD, "its head, while it runs")
    eventually(lambda: file.stat().st_blocks * 512 < 2 * LIMIT)
    go.touch()
    result = line.result(1)
    told, size = line.stream(1, 1), 10 * whole
    found = CUT.search(told)
    assert found and result.ending is Ending.OK and result.out_size == len(told)
    assert told[: found.start()] == numbered(0, HEAD)
    assert told[found.end() :] == numbered(size - TAIL, size)
    assert found[1] == b"8.5 MiB" and result.detail == "8.5 MiB of its stdout cut out"
    assert file.stat().st_blocks * 512 < 2 * LIMIT

    again = rig.attach(ready=False, ask=[1])  # told again from anywhere, it is the same
    again.follow(1, HEAD - 10, 0)
    again.ready()
    again.result(1)
    assert again.stream(1, 1) == told[HEAD - 10 :]
    again.close()
    os.kill(line.answer()["pid"], 9)
    line.end()
    last = rig.line(output_limit=LIMIT, ask=[1])
    assert last.result(1).detail == "8.5 MiB of its stdout cut out" and last.stream(1, 1) == told
    last.ack(1)
    eventually(lambda: not file.exists())


def test_a_job_faster_than_any_look_is_cut_as_well_and_a_killed_one_keeps_its_tail(rig: Rig) -> None:
    line = rig.line(output_limit=LIMIT)
    line.start(1, f"head -c {LIMIT} /dev/zero; exit 7")
    line.start(2, "head -c 3000000 /dev/zero | tr '\\0' x >&2; printf end >&2; exit 9")
    line.start(3, "yes; :", timeout=1.0)
    result = line.result(1)
    assert (result.code, result.out_size, result.detail) == (7, LIMIT, "")
    result = line.result(2)
    assert (result.code, result.ending) == (9, Ending.EXIT) and "of its stderr cut out" in result.detail
    assert CUT.search(line.stream(2, 2)) and line.stream(2, 2).endswith(b"xxend")
    result = line.result(3)
    assert result.ending is Ending.TIMEOUT and len(line.stream(3, 1)) < LIMIT + 64
    assert line.stream(3, 1).endswith(b"y\n")


def test_a_job_that_truncates_its_output_again_and_again_is_bounded_too(rig: Rig) -> None:
    line = rig.line(output_limit=LIMIT)
    line.start(1, "while :; do : >/dev/stdout; sleep 0.4; head -c 600000 /dev/zero; sleep 0.4; done")
    result = line.result(1)
    assert result.ending is Ending.OUTPUT_LIMIT and len(line.stream(1, 1)) <= LIMIT
