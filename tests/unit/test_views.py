"""Nothing that a job prints may drive the terminal, and nothing harmless may be changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostler.views.text import HOSTILE, Visible, columns, fit, last_line, one_line, visible, visible_stream

CORPUS = {
    "clipboard": (b"\x1b]52;c;cm0gLXJmIC8=\x07ok\n", b"^[]52;c;cm0gLXJmIC8=^Gok\n"),
    "title": (b"\x1b]0;root@prod\x1b\\ok\n", b"^[]0;root@prod^[\\ok\n"),
    "report that types an answer": (b"\x1b[6n\x1b[c", b"^[[6n^[[c"),
    "eight-bit CSI as a stray byte": (b"\x9b31mred\x9b0m", b"<9B>31mred<9B>0m"),
    "eight-bit CSI as a character": ("\x9b31mred".encode(), b"<U+009B>31mred"),
    "overwriting by CR": (b"all is lost\rall is fine\n", b"all is lost^Mall is fine\n"),
    "overwriting by backspace": (b"lost\b\b\b\bfine\n", b"lost^H^H^H^Hfine\n"),
    "up and over": (b"\x1b[2A\x1b[2Kfake line\n", b"^[[2A^[[2Kfake line\n"),
    "bell and nul": (b"\a\0\x0e", b"^G^@^N"),
    "delete": (b"a\x7fb", b"a^?b"),
    "form feed and vertical tab": (b"a\x0cb\x0bc", b"a^Lb^Kc"),
    "right-to-left override": ("cod\u202egpj.exe".encode(), b"cod<U+202E>gpj.exe"),
    "isolates": ("\u2066x\u2069".encode(), b"<U+2066>x<U+2069>"),
    "arabic letter mark": ("\u061c".encode(), b"<U+061C>"),
    "zero width": ("ad\u200bmin".encode(), b"ad<U+200B>min"),
    "line separator": ("a\u2028b".encode(), b"a<U+2028>b"),
    "tag characters": ("\U000e0041".encode(), b"<U+E0041>"),
    "invalid UTF-8": (b"caf\xe9 \xff\xfe\xc0\xaf", b"caf<E9> <FF><FE><C0><AF>"),
    "a surrogate in UTF-8": (b"\xed\xa0\x80", b"<ED><A0><80>"),
    "cut short": (b"\xe4\xb8", b"<E4><B8>"),
    "line ends of another system": (b"one\r\ntwo\r\n", b"one\ntwo\n"),
    "a CR before a CR LF": (b"one\r\r\n", b"one^M\n"),
}
HARMLESS = (
    "👩\u200d🔬 می\u200cخواهم".encode(),
    b"",
    b"plain\n\ttabbed\n",
    "naïve – 不要回 👍🏽\n".encode(),
    "e\u0301".encode(),
)


@pytest.mark.parametrize("name", CORPUS)
def test_what_would_drive_a_terminal_is_shown_instead(name: str) -> None:
    data, shown = CORPUS[name]
    assert visible(data) == shown


@pytest.mark.parametrize("data", HARMLESS)
def test_harmless_text_is_left_alone(data: bytes) -> None:
    assert visible(data) == data


@given(st.binary())
def test_nothing_shown_holds_a_control(data: bytes) -> None:
    assert not HOSTILE.search(visible(data).decode("utf-8"))


@given(st.lists(st.sampled_from([b"\r", b"\n", b"a", b"\x1b[", b"\xe4", b"\xb8", b"\x8d", b"\xff", b"\x9b"])))
def test_text_in_pieces_is_shown_like_the_whole(pieces: list[bytes]) -> None:
    assert b"".join(visible_stream(pieces)) == visible(b"".join(pieces))


def test_a_piece_is_shown_as_soon_as_it_can_be() -> None:
    shown = Visible()
    assert shown.feed(b"almost \xe4\xb8") == b"almost "
    assert shown.feed(b"\x8d\r") == "不".encode()
    assert shown.end() == b"^M"


@pytest.mark.parametrize(
    ("text", "width"), [("abc", 3), ("né", 2), ("不要", 4), ("e\u0301", 1), ("👍", 2), ("", 0)]
)
def test_columns_are_counted_as_a_terminal_does(text: str, width: int) -> None:
    assert columns(text) == width


@given(st.text(), st.integers(1, 40))
def test_what_is_fitted_fits(text: str, width: int) -> None:
    assert columns(fit(text, width)) <= width
    assert fit(text, width) == text or fit(text, width).endswith("…")


def test_a_long_command_is_cut_with_an_ellipsis() -> None:
    assert one_line(b"convert " + b"x" * 100_000, width=12) == "convert xxx…"


def test_a_command_of_many_lines_becomes_one() -> None:
    assert one_line(b"a\n\tb\x1b[0m") == "a\\n\\tb^[[0m"


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"one\ntwo\n", "two"),
        (b"one\ntwo\n\n  \n", "two"),
        (b"10%\r20%\rNo space left\r\n", "No space left"),
        (b"", ""),
        (b"\n\n", ""),
    ],
)
def test_the_last_line_is_the_last_that_says_something(data: bytes, line: str) -> None:
    assert last_line(data, width=80) == line
