"""The parts of a command line, and jobs from words and from lines."""

from __future__ import annotations

import io
import os
import threading
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostler.cli.splitter import BLOCK, LONGEST_LINE, JobLines, split, words_as_bytes
from hostler.errors import UsageError


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (
            "batch -j 3 -- convert {} {.}.png ::: a b",
            (["batch", "-j", "3"], ["convert", "{}", "{.}.png"], (("a", "b"),)),
        ),
        ("batch ::: a b", (["batch"], None, (("a", "b"),))),
        ("batch -- ls -l", (["batch"], ["ls", "-l"], ())),
        ("batch -x", (["batch", "-x"], None, ())),
        ("", ([], None, ())),
        ("batch --", (["batch"], [], ())),
        ("batch -- ::: a", (["batch"], [], (("a",),))),
        ("batch ::: a -- b", (["batch"], None, (("a", "--", "b"),))),
        ("batch -- a -- b ::: c -- d", (["batch"], ["a", "--", "b"], (("c", "--", "d"),))),
        ("batch ::: a b ::: 1 2 :::", (["batch"], None, (("a", "b"), ("1", "2"), ()))),
        ("batch -- x ::: --help -j", (["batch"], ["x"], (("--help", "-j"),))),
        ("-- a", ([], ["a"], ())),
        (":::", ([], None, ((),))),
        ("batch :::: f", (["batch"], None, (("f",),))),
        ("batch ::: a :::+ b ::::+ c", (["batch"], None, (("a",), ("b",), ("c",)))),
    ],
)
def test_a_command_line_is_cut_at_the_first_mark(line: str, parts: tuple) -> None:
    done = split(line.split())
    assert (done.options, done.command, done.sources) == parts
    assert len(done.marks) == len(done.sources)


def test_options_are_never_read_from_the_command_or_the_arguments() -> None:
    words = ["run", "--", "--help", "", " ", "\n", ":::", "--version"]
    assert split(words).options == ["run"]
    assert words == ["run", "--", "--help", "", " ", "\n", ":::", "--version"]


def test_each_list_is_known_by_its_mark() -> None:
    assert split(["--", "x", ":::", "a", ":::+", "b", "::::", "c", "::::+", "d"]).marks == (
        ":::",
        ":::+",
        "::::",
        "::::+",
    )


def jobs_from_lines(stream: BinaryIO, *, name: str = "stdin") -> JobLines:
    return JobLines(stream, name=name)


def test_words_of_any_bytes_come_through_and_nul_is_refused() -> None:
    assert words_as_bytes([os.fsdecode(b"\xff"), "é"]) == [b"\xff", "é".encode()]
    with pytest.raises(UsageError, match="holds a NUL byte"):
        words_as_bytes(["a\0"])


def test_items_that_end_with_nul_may_hold_newlines() -> None:
    lines = JobLines(io.BytesIO(b"a\nb\0\0c"), name="stdin", end=b"\0")
    assert list(lines) == [b"a\nb", b"c"] and lines.skipped == 1


@pytest.mark.parametrize(
    ("data", "jobs", "skipped"),
    [
        (b"a\nb\n", [b"a", b"b"], 0),
        (b"a\nb", [b"a", b"b"], 0),
        (b"", [], 0),
        (b"\n\n", [], 2),
        (b"\na\n\n\nb\n\n", [b"a", b"b"], 4),
        (b" a b \n\t\n", [b" a b ", b"\t"], 0),
        (b"a\r\nb\r\n", [b"a\r", b"b\r"], 0),
        (b"\xff\xfe\n'\"$;\n", [b"\xff\xfe", b"'\"$;"], 0),
    ],
)
def test_a_line_is_one_argument_and_empty_ones_are_counted(
    data: bytes, jobs: list[bytes], skipped: int
) -> None:
    lines = jobs_from_lines(io.BytesIO(data))
    assert list(lines) == jobs and lines.skipped == skipped


class Dribble(io.RawIOBase):
    """A stream that gives a few bytes at a time, as a slow pipe does."""

    def __init__(self, data: bytes, step: int) -> None:
        self._data, self._step = io.BytesIO(data), step

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._data.read(self._step)


@given(
    st.lists(st.sampled_from([b"", b"a", b"bc", b"\n", b"\n\n", b"d" * 20])).map(b"".join), st.integers(1, 9)
)
def test_where_blocks_end_makes_no_difference(data: bytes, step: int) -> None:
    stream: BinaryIO = Dribble(data, step)  # type: ignore[assignment]
    lines = jobs_from_lines(stream)
    wanted = [line for line in data.split(b"\n") if line]
    assert list(lines) == wanted
    assert lines.skipped == data.count(b"\n") - len(wanted) + (not data.endswith(b"\n") and bool(data))


def test_long_lines_cross_blocks_and_have_a_limit() -> None:
    long = b"x" * 100_000
    data = b"\n".join([long] * 20) + b"\n"
    assert len(data) > 3 * BLOCK
    assert list(jobs_from_lines(io.BytesIO(data))) == [long] * 20
    most = b"y" * LONGEST_LINE
    assert list(jobs_from_lines(io.BytesIO(b"a\n" + most + b"\nb"))) == [b"a", most, b"b"]
    with pytest.raises(UsageError, match=r"^jobs\.txt: line 3 is longer than 16 MiB$"):
        list(jobs_from_lines(io.BytesIO(b"a\n\n" + most + b"y\nb"), name="jobs.txt"))


@pytest.mark.parametrize(
    ("data", "line"),
    [(b"\0", 1), (b"a\nb\n\nc\0\n", 4), (b"a\n" * BLOCK + b"\0", BLOCK + 1), (b"x" * BLOCK + b"\0\n", 1)],
)
def test_nul_is_refused_with_the_line(data: bytes, line: int) -> None:
    with pytest.raises(UsageError, match=f"^stdin: line {line} holds a NUL byte"):
        list(jobs_from_lines(io.BytesIO(data)))


def test_a_line_is_given_on_before_the_next_is_written() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb", buffering=0) as sink:
        jobs = iter(jobs_from_lines(source))
        for word in (b"a", b"b"):
            sink.write(word + b"\nrest of ")
            got: list[bytes] = []
            thread = threading.Thread(target=lambda got=got: got.append(next(jobs)))
            thread.start()
            thread.join(20)
            assert got and got[0].endswith(word)


def test_an_endless_list_is_never_held() -> None:
    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            return b"job\n" * 100

    jobs = iter(jobs_from_lines(Endless()))  # type: ignore[arg-type]
    assert [next(jobs) for _ in range(1000)] == [b"job"] * 1000
