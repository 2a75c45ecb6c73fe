"""Whatever jobs print and whatever their arguments are: what is shown drives no terminal, and stays in its columns.

Screens, tags, the files of hosts and the joblog, by their real ways out; however the bytes were cut on their way.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from hypothesis import example, given
from hypothesis import strategies as st

from hostler.model.endings import Begun, Ended
from hostler.model.events import AttemptEnded, AttemptStarted
from hostler.model.jobs import Ending, JobState, OutputRef
from hostler.model.templates import Template
from hostler.views.console import Console
from hostler.views.joblog import HEADER, joblog_line
from hostler.views.tags import tag_of, tagged, tagged_stream
from hostler.views.text import HOSTILE, last_line, one_line
from hostler.views.words import command_words
from hostler.views.workerlogs import Told, WorkerLogs
from tests.spoiling import CUTS, pieces, spoilt

GOOD = "one line\r\n\ttwo é 不 👍\nno end".encode()
TOKENS = [
    b"\x1b]52;c;eA==\x07", b"\x1b[2J", b"\x9b2J", "\x9b2J".encode(), b"\r", b"\r\r\n", b"\n",
    b"\n\n", b"\b", b"\0", b"\x7f",
    b"\x85", "\x85".encode(), "\u202e".encode(), "\u2066".encode(), "\u200b".encode(),
    "\u2028".encode(), "\ufeff".encode(),
    "\U000e0041".encode(), "\u061c".encode(), b"\xff", b"\xed\xa0\x80", b"\xe4\xb8", b"\x8d", b"\xc3",
    b"\xf0\x9f", b"\t",
    b"\x0b", b"\x0c", b"\x1c", b"\xf4\x90\x80\x80", b"== job 1/1 ends", b"{raw}", b"{}",
]  # fmt: skip
TEXTS = st.one_of(
    spoilt(GOOD, TOKENS), st.lists(st.sampled_from(TOKENS), max_size=8).map(b"".join), st.binary()
)
ARGS = st.lists(TEXTS.map(lambda text: text.replace(b"\0", b"")), min_size=1, max_size=3).map(tuple)
#: Lines of what is shown: no other byte than \n ends one, on no screen.
NOT_ONE_LINE = "\n\t\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


def on_a_terminal(act: Callable[[Console], None]) -> bytes:
    """What a console sends to one."""
    with TemporaryFile() as file:
        console = Console(file.fileno(), file.fileno(), terminal=(True, True))
        act(console)
        console.close()
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        return file.read()


def harmless(shown: bytes) -> bool:
    return not HOSTILE.search(shown.decode("utf-8"))


@example(b"10%\r", [], (b"a",), "")
@example(b"\xe4\xb8", [1], (b"\r",), "{}\t")
@given(TEXTS, CUTS, ARGS, st.sampled_from(["", "{}\t", "{host} {#} | ", "{1/.}{raw}: "]))
def test_on_a_terminal_output_is_harmless_and_the_same_in_whatever_pieces(
    text: bytes, cuts: list[int], args: tuple[bytes, ...], tag: str
) -> None:
    mark = tag_of(tag)(7, args, "web1")
    cut = pieces(text, cuts)
    whole = on_a_terminal(lambda console: console.job_output(tagged(text, mark) if mark else text))
    by_pieces = on_a_terminal(
        lambda console: console.job_output(tagged_stream(cut, mark) if mark else iter(cut))
    )

    def lines(console: Console) -> None:
        if mark:
            console.tags[1] = mark
        for piece in cut:
            console.chunk(1, 1, piece)
        console.ended(1)

    assert harmless(whole)
    assert by_pieces == whole == on_a_terminal(lines)


@given(TEXTS, st.integers(2, 90))
def test_a_line_for_people_is_one_harmless_line(text: bytes, width: int) -> None:
    for shown in (one_line(text), one_line(text, width=width), last_line(text, width=width)):
        assert harmless(shown.encode()) and not set(shown) & set(NOT_ONE_LINE)


COMMANDS = st.sampled_from([["echo"], ["echo {} | wc"], ["x", "{1/.}", "y{}z"], [], ["printf '{}'"]])


def ended(args: tuple[bytes, ...], *, detail: str = "", out: int = 0) -> Ended:
    return Ended(
        job=1, n=1, args=args, host="web1", ending=Ending.LOST if detail else Ending.OK, code=None if detail else 0,
        signal=None, detail=detail, started_at=1.0, ended_at=2.0, elapsed=1.0,
        last=True, output=OutputRef(file="f", offset=0, out=out, err=0) if out else None,
    )  # fmt: skip


@given(COMMANDS, ARGS)
def test_a_joblog_has_its_columns_whatever_the_arguments_are(
    words: list[str], args: tuple[bytes, ...]
) -> None:
    command = command_words(Template.parse(words), args, 1)
    line = joblog_line(ended(args), command)
    assert line.endswith("\n") and len(line.splitlines()) == 1 and harmless(line.encode())
    columns = line[:-1].split("\t")
    assert len(columns) == HEADER.count(b"\t") + 1 and columns[:2] == ["1", "web1"] and columns[8] == command
    assert [float(column) for column in columns[2:8]] == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]


@given(TEXTS, CUTS, COMMANDS, ARGS, TEXTS)
def test_a_host_s_file_is_harmless_and_each_of_our_lines_is_one_of_it(
    text: bytes, cuts: list[int], words: list[str], args: tuple[bytes, ...], why: bytes
) -> None:
    template, there = Template.parse(words), bytearray()
    detail = why.decode("utf-8", "replace")
    last = ended(args, detail=detail, out=len(text))
    source = Told(
        ended=lambda keys: [last] * len(keys),
        ended_since=lambda seq: [],
        begun=lambda keys: [Begun(job=1, n=1, args=args, host="web1", started_at=1.0)] * len(keys),
        running=list,
        command=lambda args, job: command_words(template, args, job),
        size=lambda job, n: len(there),
        read=lambda file, at, size: text[at : at + size],
    )
    with TemporaryDirectory() as folder:
        said: list[str] = []
        logs = WorkerLogs(
            Path(folder), run=1, source=source, later=lambda seconds, call: None, say=said.append
        )
        logs.begin(0)
        logs.saw([AttemptStarted(at=1.0, job=1, n=1)])
        logs.flush()
        for piece in pieces(text, cuts):
            there += piece
            for _ in range(2):
                logs.flush()
        logs.saw([AttemptEnded(at=2.0, job=1, n=1, ending=last.ending, then=JobState.OK, tries=1)])
        logs.flush()
        assert not said
        written = Path(folder, "web1.log").read_bytes()
    assert harmless(written)
    lines = written.decode().split("\n")
    assert lines[0].startswith("== job 1/1 begins ") and lines[-1] == ""
    assert lines[-2].startswith("== job 1/1 ends ") and len(lines) >= 3
