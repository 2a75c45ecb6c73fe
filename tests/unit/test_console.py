"""Output leaves whole, in order, without making the run wait, whatever its reader does."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostler.views import console as console_module
from hostler.views.console import Console
from hostler.views.outlet import Outlet, may_block
from tests.unit.screens import Screen, StillClock, settle


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def files(tmp_path: Path) -> Iterator[tuple[int, int, Path, Path]]:
    out, err = tmp_path / "out", tmp_path / "err"
    fds = [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for path in (out, err)]
    yield fds[0], fds[1], out, err
    for fd in fds:
        os.close(fd)


NO_TERMINAL = (False, False)


def test_job_output_goes_to_stdout_and_its_errors_to_stderr_byte_for_byte(files) -> None:
    out, err, out_path, err_path = files
    console = Console(out, err, terminal=NO_TERMINAL)
    console.job_output(b"\x1b[31mred\r\n\xff no newline", b"oops\x07\n")
    console.job_output(b"second\n")
    console.flush()
    console.close()
    assert out_path.read_bytes() == b"\x1b[31mred\r\n\xff no newlinesecond\n"
    assert err_path.read_bytes() == b"oops\x07\n"


def test_output_shows_at_the_flush_and_not_only_at_the_end(files) -> None:
    out, err, out_path, _ = files
    console = Console(out, err, terminal=NO_TERMINAL)
    console.job_output(b"now\n")
    console.flush()
    assert out_path.read_bytes() == b"now\n"
    console.close()


def test_a_big_output_is_read_only_when_it_is_printed(files) -> None:
    out, err, out_path, _ = files
    console = Console(out, err, terminal=NO_TERMINAL)
    read = []

    def pieces() -> Iterator[bytes]:
        for number in range(3):
            read.append(number)
            yield b"%d" % number * 10

    console.job_output(pieces())
    assert read == []
    console.job_output(b"after\n")
    console.close()
    assert out_path.read_bytes() == b"0000000000" + b"1111111111" + b"2222222222" + b"after\n"


def test_an_output_that_cannot_be_read_is_said_and_the_others_go_on(files) -> None:
    out, err, out_path, err_path = files

    def broken() -> Iterator[bytes]:
        yield b"begun\n"
        raise FileNotFoundError(2, "No such file", "out/7.dat")

    console = Console(out, err, terminal=NO_TERMINAL)
    console.job_output(broken())
    console.job_output(b"next\n")
    console.close()
    assert out_path.read_bytes() == b"begun\nnext\n"
    assert (
        err_path.read_text()
        == "hostler: an output could not be printed: [Errno 2] No such file: 'out/7.dat'\n"
    )


def test_lines_of_many_jobs_mix_only_as_whole_lines(files) -> None:
    out, err, out_path, err_path = files
    console = Console(out, err, terminal=NO_TERMINAL)
    console.chunk("a", 1, b"a1 ")
    console.chunk("b", 1, b"b1\nb2 ")
    console.chunk("a", 2, b"error of a")
    console.chunk("a", 1, b"more\na2\n")
    console.chunk("b", 1, b"end")
    console.ended("b")
    console.ended("a")
    console.close()
    assert out_path.read_bytes() == b"b1\na1 more\na2\nb2 end\n"
    assert err_path.read_bytes() == b"error of a\n"


def test_a_job_that_ended_its_last_line_gets_no_newline_of_ours(files) -> None:
    out, err, out_path, _ = files
    console = Console(out, err, terminal=NO_TERMINAL)
    console.chunk("a", 1, b"one\n")
    console.ended("a")
    console.ended("never seen")
    console.close()
    assert out_path.read_bytes() == b"one\n"


def test_lines_left_by_jobs_that_nobody_ended_are_printed_at_the_close(files) -> None:
    out, err, out_path, _ = files
    console = Console(out, err, terminal=NO_TERMINAL)
    console.chunk("a", 1, b"half")
    console.close()
    assert out_path.read_bytes() == b"half\n"


def test_an_endless_line_passes_through_and_is_never_glued_to_another_job_s(files, monkeypatch) -> None:
    monkeypatch.setattr(console_module, "LONGEST_LINE", 10)
    out, err, out_path, _ = files
    console = Console(out, err, terminal=NO_TERMINAL)
    console.chunk("a", 1, b"x" * 11)
    console.chunk("a", 1, b"y" * 11)
    console.chunk("b", 1, b"line of b\n")
    console.chunk("a", 1, b"z" * 11)
    console.ended("a")
    console.close()
    assert out_path.read_bytes() == b"x" * 11 + b"y" * 11 + b"\nline of b\n" + b"z" * 11 + b"\n"


def test_many_endless_lines_together_are_bounded(files, monkeypatch) -> None:
    monkeypatch.setattr(console_module, "ALL_PARTS", 100)
    out, err, out_path, _ = files
    console = Console(out, err, terminal=NO_TERMINAL)
    console.chunk("long", 1, b"l" * 40)
    for number in range(10):
        console.chunk(number, 1, b"%d" % number * 10)
    assert console._parts_size <= 100
    console.flush()
    assert out_path.read_bytes().startswith(b"l" * 40)
    console.close()


def test_a_closed_stdout_is_said_once_and_the_run_goes_on(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    err_path = tmp_path / "err"
    err = os.open(err_path, os.O_WRONLY | os.O_CREAT)
    console = Console(theirs, err, terminal=NO_TERMINAL, log_command="hostler log 42")
    os.close(ours)
    for _ in range(100):
        console.job_output(b"data\n", b"")
        console.flush()
    console.close()
    assert console.stdout_failed is not None and console.stdout_failed.errno == errno.EPIPE
    assert err_path.read_text() == (
        "hostler: stdout was closed: no more output is printed, the run goes on (see: hostler log 42)\n"
    )
    os.close(theirs)
    os.close(err)


def test_a_full_disk_under_stdout_is_said_once_and_not_raised(tmp_path: Path) -> None:
    err_path = tmp_path / "err"
    err = os.open(err_path, os.O_WRONLY | os.O_CREAT)
    full = os.open("/dev/full", os.O_WRONLY)
    console = Console(full, err, terminal=NO_TERMINAL)
    for _ in range(3):
        console.job_output(b"data\n", b"kept\n")
        console.flush()
    console.close()
    assert err_path.read_text().splitlines() == [
        "kept",
        "hostler: stdout: No space left on device: no more output is printed, the run goes on (see: hostler log last)",
        "kept",
        "kept",
    ]
    os.close(full)
    os.close(err)


def test_both_streams_failing_is_no_error() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    console = Console(full, full, terminal=NO_TERMINAL)
    console.job_output(b"data\n", b"data\n")
    console.flush()
    console.note("hostler: nobody hears this")
    console.close()
    os.close(full)


def test_a_reader_that_does_not_read_keeps_nobody_waiting_and_misses_nothing(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    outlet = Outlet(waits=may_block(theirs), most=100_000, folder=str(tmp_path))
    wanted = []
    for number in range(300):
        text = b"%06d " % number * 1000
        wanted.append(text)
        outlet.put(theirs, text if number % 50 else iter([text[:3000], text[3000:]]))
        outlet.flush()
    assert outlet.backlog > 1_000_000
    assert outlet._held <= 100_000 + 7000
    got = bytearray()

    def read() -> None:
        while data := os.read(ours, 65536):
            got.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    outlet.close()
    os.close(theirs)
    reader.join()
    os.close(ours)
    assert bytes(got) == b"".join(wanted)
    assert outlet.backlog == 0


def test_a_descriptor_that_somebody_made_non_blocking_gets_every_byte() -> None:
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    outlet = Outlet(waits=True)
    outlet.put(theirs, b"x" * 1_000_000)
    outlet.flush()
    size = 0
    while size < 1_000_000:
        size += len(os.read(ours, 65536))
    outlet.close()
    os.close(ours)
    os.close(theirs)


async def test_waiting_for_readers_can_be_given_up(clock: StillClock) -> None:
    ours, theirs = os.pipe()
    console = Console(theirs, theirs, terminal=NO_TERMINAL, clock=clock)
    console.job_output(b"x" * 200_000)
    console.flush()
    assert console.backlog
    os.close(ours)
    await console.drained()
    assert console.backlog == 0
    console.close()
    os.close(theirs)


def test_on_a_terminal_nothing_that_a_job_prints_acts(clock: StillClock) -> None:
    screen = Screen()
    console = Console(screen.fd, screen.fd, terminal=(True, True), clock=clock)
    console.job_output(b"\x1b]0;owned\x07 no newline", iter([b"big \xe4\xb8", b"\x8d \x9b", b"2J"]))
    console.job_output(b"next\n")
    console.close()
    assert screen.text() == "^[]0;owned^G no newline\nbig 不 <9B>2J\nnext\n".encode()


def test_the_live_line_is_taken_away_before_text_and_drawn_again_after_it(clock: StillClock) -> None:
    screen = Screen()
    console = Console(screen.fd, screen.fd, terminal=(True, True), clock=clock)
    console.show("1/10")
    settle(console)
    console.job_output(b"hello\n")
    clock.time += 1
    console.flush()
    settle(console)
    console.show("2/10")
    console.note("n07: gone")
    console.close()
    assert screen.text() == (
        b"\r\x1b[K1/10" + b"\r\x1b[Khello\n" + b"\r\x1b[K1/10" + b"\r\x1b[K2/10" + b"\r\x1b[Kn07: gone\n"
    )


def test_the_same_live_line_is_not_drawn_twice(clock: StillClock) -> None:
    screen = Screen()
    console = Console(screen.fd, screen.fd, terminal=(True, True), clock=clock)
    for _ in range(5):
        console.show("1/10")
        clock.time += 1
    console.close()
    assert screen.text() == b"\r\x1b[K1/10" + b"\r\x1b[K"


def test_beside_a_live_line_thousands_of_outputs_are_drawn_some_times_a_second(clock: StillClock) -> None:
    screen = Screen()
    console = Console(screen.fd, screen.fd, terminal=(True, True), clock=clock)
    console.show("working")
    for _ in range(1000):
        console.job_output(b"x\n")
        console.flush()
        clock.time += 0.001
    console.close()
    seen = screen.text()
    assert seen.count(b"x\n") == 1000
    assert seen.count(b"working") <= 11


def test_stdout_in_a_pipe_leaves_the_live_line_alone(clock: StillClock, tmp_path: Path) -> None:
    screen = Screen()
    out = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    console = Console(out, screen.fd, terminal=(False, True), clock=clock)
    console.show("1/10")
    console.job_output(b"\x1b[2Jdata\n")
    console.flush()
    assert (tmp_path / "out").read_bytes() == b"\x1b[2Jdata\n"
    console.close()
    assert screen.text() == b"\r\x1b[K1/10" + b"\r\x1b[K"
    os.close(out)


def test_a_report_keeps_its_colours_and_is_set_off_on_a_terminal(clock: StillClock) -> None:
    screen = Screen()
    console = Console(screen.fd, screen.fd, terminal=(True, True), clock=clock)
    console.job_output(b"hello\n")
    console.report("\x1b[1mbatch 1\x1b[0m\n")
    console.close()
    assert screen.text() == b"hello\n\n\x1b[1mbatch 1\x1b[0m\n"
