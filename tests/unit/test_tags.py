"""Tags before lines: on every line, never within one, however the text is cut."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostler.clock import SystemClock
from hostler.errors import UsageError
from hostler.views.console import LONGEST_LINE, Console
from hostler.views.outlet import Text
from hostler.views.tags import ARGUMENTS, WHO, tag_of, tagged, tagged_stream

PIECES = st.lists(st.text(alphabet="ab\n", max_size=6).map(str.encode), max_size=6)


def by_lines(text: bytes, tag: bytes) -> bytes:
    return (
        b"".join(tag + line + b"\n" for line in text.split(b"\n")[: -1 if text.endswith(b"\n") else None])
        if text
        else b""
    )


@given(PIECES)
def test_a_stream_has_the_tags_that_the_whole_text_has(pieces: list[bytes]) -> None:
    text = b"".join(pieces)
    assert b"".join(tagged_stream(pieces, b"> ")) == by_lines(text, b"> ")
    assert tagged(text, b"> ").rstrip(b"\n") == by_lines(text, b"> ").rstrip(b"\n")


def test_tags_are_one_line_and_know_job_host_and_arguments() -> None:
    assert tag_of(ARGUMENTS)(3, (b"a\nb", b"c"), "web1") == b"a b c\t"
    assert tag_of(WHO)(3, (b"a",), "web1") == b"web1 3 | "
    assert tag_of("fixed ")(3, (), "web1") == b"fixed "
    assert (
        tag_of("{2}.{1/.}@{host} ")(3, (b"x/y.z",), "web1") == b"web1 "
    )  # a part that lacks its argument is empty
    assert tag_of("{raw}")(1, (b"\xff",), "h") == b"\xff"
    with pytest.raises(UsageError, match="slot"):
        tag_of("{%}")


def printed(act: object) -> bytes:
    read, write = os.pipe()
    null = os.open(os.devnull, os.O_WRONLY)
    console = Console(write, null, terminal=(False, False), clock=SystemClock())
    act(console)  # type: ignore[operator]
    console.close()
    os.close(write)
    with open(read, "rb") as file:
        return file.read()


def test_lines_of_several_jobs_keep_their_tags_and_a_long_one_has_its_own_once() -> None:
    def act(console: Console) -> None:
        console.tags.update({1: b"one ", 2: b"two "})
        console.chunk(1, 1, b"a\nb")
        console.chunk(2, 1, b"x\ny\n")
        console.chunk(1, 1, b"c\n")
        console.ended(1)
        console.ended(2)
        assert not console.tags

    assert printed(act) == b"one a\ntwo x\ntwo y\none bc\n"


def test_a_line_too_long_to_be_held_has_its_tag_once() -> None:
    piece = b"z" * (LONGEST_LINE // 2 + 1)
    seen: list[bytes] = []

    class Kept(Console):
        def _put(
            self, stream: int, text: Text, *, harmless: bool = False, tag: bytes = b"", within: bool = False
        ) -> None:
            assert isinstance(text, bytes)
            seen.append(tagged(text, tag, within=within))

    null = os.open(os.devnull, os.O_WRONLY)
    console = Kept(null, null, terminal=(False, False))
    console.tags[1] = b"t "
    for _ in range(4):
        console.chunk(1, 1, piece)
    console.ended(1)
    os.close(null)
    assert b"".join(seen) == b"t " + 4 * piece + b"\n"
