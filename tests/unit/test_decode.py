"""What a host says, as reports: nothing that it may send can do more than end its own line."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostler.errors import HostRefused
from hostler.links.decode import HIGHEST, decode, hello, vitals
from hostler.model.health import Vitals
from hostler.model.jobs import Ending
from hostler.model.reports import Began, Hello, Lost, Output, Refused, Result, Revoked, Standing
from hostler.remote.runner import wire

KINDS = [
    wire.R_BEGAN, wire.R_OUTPUT, wire.R_RESULT, wire.R_REVOKED, wire.R_REFUSED, wire.R_LOST, wire.R_HELLO, 0, 255,
]  # fmt: skip
GOOD = {
    "protocol": 1, "spool": "a" * 32, "boot": "1f-2e", "uid": 0, "pid": 1, "python": "3.11.2", "slots": 8,
    "standings": [[1, 2], [2, 0]],
}  # fmt: skip


def result_body(
    serial: int = 7, ending: int = 0, code: int = 0, signal: int = 0, elapsed: float = 0.5, out_size: int = 2,
    err_size: int = 3, inline: int = 1, out: bytes = b"ab", err: bytes = b"cde", detail: bytes = b"",
) -> bytes:  # fmt: skip
    """The body of a result's frame."""
    head = wire.RESULT.pack(
        serial, ending, code, signal, elapsed, out_size, err_size, inline, len(out), len(err), len(detail)
    )
    return head + out + err + detail


def one(kind: int, body: bytes) -> object:
    """The one report of a frame."""
    [report] = decode(kind, body)
    return report


def test_every_report_is_read() -> None:
    assert one(wire.R_RESULT, result_body()) == Result(7, Ending.OK, 0, None, 0.5, 2, 3, b"ab", b"cde")
    assert one(wire.R_OUTPUT, wire.OUTPUT.pack(7, 2, 100) + b"\xff") == Output(7, 2, 100, b"\xff")
    assert one(wire.R_BEGAN, wire.BEGAN.pack(7, 0.25)) == Began(7, 0.25)
    assert list(decode(wire.R_REVOKED, wire.numbers([7, 9]))) == [Revoked(7), Revoked(9)]
    assert one(wire.R_REFUSED, wire.NUMBER.pack(7) + b"disk \xff") == Refused(7, "disk �")
    assert one(wire.R_LOST, wire.NUMBER.pack(7) + "warum ü".encode()) == Lost(7, "warum ü")


def test_words_of_a_host_are_one_line_that_drives_no_terminal() -> None:
    said = one(wire.R_LOST, wire.NUMBER.pack(7) + "gone\nhostler: all ok\r\x1b[2J\x9b1m\u202e".encode())
    assert said == Lost(7, "gone hostler: all ok ?[2J?1m?")
    why = HostRefused("web1", "\x1b]0;title\x07 no\nhostler: all ok").why
    assert why == "?]0;title? no hostler: all ok"


def test_a_result_with_more_output_in_it_than_any_runner_puts_there_is_refused() -> None:
    text = b"x" * (wire.INLINE + 1)
    with pytest.raises(ValueError, match="bytes of output in it"):
        one(wire.R_RESULT, result_body(out_size=len(text), err_size=0, out=text, err=b""))


def test_a_result_behind_its_output_has_none_and_one_that_was_killed_no_exit_code() -> None:
    body = result_body(ending=6, code=wire.NO_CODE, signal=9, inline=0, out=b"", err=b"", detail=b"pid 4")
    assert one(wire.R_RESULT, body) == Result(7, Ending.CANCELLED, None, 9, 0.5, 2, 3, None, None, "pid 4")


@pytest.mark.parametrize(
    "body",
    [
        result_body()[:-1],
        result_body() + b"x",
        result_body(out_size=3),
        result_body(inline=0),
        result_body(ending=len(wire.ENDINGS)),
        result_body(ending=255),
        result_body(ending=wire.ENDINGS.index("lost")),
        result_body(ending=0, code=1),
        result_body(ending=1, code=0),
        result_body(ending=1, code=256),
        result_body(ending=1, code=-5),
        result_body(ending=2, code=wire.NO_CODE, signal=0),
        result_body(ending=2, code=1, signal=9),
        result_body(ending=2, code=wire.NO_CODE, signal=200),
        result_body(ending=2, code=wire.NO_CODE, signal=-1),
        result_body(elapsed=-1.0),
        result_body(elapsed=math.nan),
        result_body(elapsed=math.inf),
        result_body(serial=2**63),
        result_body(inline=0, out=b"", err=b"", out_size=2**64 - 1),
        b"",
    ],
)
def test_a_result_that_makes_no_sense_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        list(decode(wire.R_RESULT, body))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (wire.R_OUTPUT, wire.OUTPUT.pack(7, 0, 0) + b"x"),
        (wire.R_OUTPUT, wire.OUTPUT.pack(7, 3, 0) + b"x"),
        (wire.R_OUTPUT, wire.OUTPUT.pack(7, 1, 2**64 - 1) + b"x"),
        (wire.R_OUTPUT, wire.OUTPUT.pack(7, 1, 0)),
        (wire.R_BEGAN, wire.BEGAN.pack(7, math.nan)),
        (wire.R_BEGAN, wire.BEGAN.pack(7, -1.0)),
        (wire.R_REVOKED, b"1234567"),
        (wire.R_REVOKED, wire.numbers([2**64 - 1])),
        (wire.R_HELLO, b"{}"),
    ],
)
def test_what_can_not_be_stored_or_counted_with_is_refused(kind: int, body: bytes) -> None:
    with pytest.raises(ValueError):
        list(decode(kind, body))


@given(st.sampled_from(KINDS), st.binary(max_size=200))
def test_whatever_comes_is_reports_or_a_value_error(kind: int, body: bytes) -> None:
    try:
        reports = list(decode(kind, body))
    except ValueError:
        return
    for report in reports:
        assert 0 <= getattr(report, "serial", 0) <= HIGHEST


@given(
    st.integers(0, 20), st.integers(-(2**31), 2**31 - 1), st.integers(-300, 300), st.floats(), st.integers(0, 2**64 - 1)
)  # fmt: skip
def test_whatever_a_result_says_it_can_be_stored_or_is_refused(
    ending: int, code: int, signal: int, elapsed: float, size: int
) -> None:
    body = result_body(
        ending=ending, code=code, signal=signal, elapsed=elapsed, out_size=size, inline=0, out=b"", err=b""
    )
    try:
        report = one(wire.R_RESULT, body)
    except ValueError:
        return
    assert isinstance(report, Result) and 0 <= report.elapsed < 1e10 and report.out_size < 2**63
    assert report.code is None or 0 <= report.code <= 255
    assert report.signal is None or 0 < report.signal <= 128


def test_words_of_a_host_are_cut() -> None:
    assert one(wire.R_LOST, wire.NUMBER.pack(7) + b"x" * 10_000) == Lost(7, "x" * 500)


def test_a_hello_is_read() -> None:
    assert hello(json.dumps(GOOD).encode(), [1, 2, 3]) == Hello(
        spool="a" * 32, boot="1f-2e", account="0", python="3.11.2", slots=8,
        standings={1: Standing.RUNNING, 2: Standing.UNKNOWN, 3: Standing.UNKNOWN},
    )  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"spool": "A" * 32}, {"spool": "a" * 31}, {"spool": "\ud800" * 32}, {"spool": None}, {"boot": "\x1b[31m"},
        {"boot": 5.5}, {"python": ""}, {"python": "x" * 99}, {"uid": "root"}, {"uid": 1e999}, {"slots": "many"},
        {"slots": 1e999}, {"spool": int("1" * 32)}, {"boot": int("9" * 60)}, {"python": 3.11}, {"uid": 10**4000},
        {"standings": [[1, 9]]}, {"standings": [[1]]}, {"standings": 5}, {"standings": [[1e999, 1]]},
    ],
    ids=str,
)  # fmt: skip
def test_a_hello_that_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="made no sense"):
        hello(json.dumps({**GOOD, **change}).encode(), [1])


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000, b'{"spool":' * 1000],
    ids=lambda t: repr(t[:9]),
)
def test_a_hello_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="made no sense"):
        hello(text, [])


def test_a_hello_s_slots_are_kept_within_reason() -> None:
    assert hello(json.dumps({**GOOD, "slots": 10**9}).encode(), []).slots == 10_000
    assert hello(json.dumps({**GOOD, "slots": -4}).encode(), []).slots == 1


@pytest.mark.parametrize(
    "said",
    [
        None,
        7,
        [],
        {},
        {"now": "x", "free": None, "load": [], "cpus": {}},
        {"now": float("nan"), "free": float("inf"), "load": -1.0, "cpus": -4},
        {"now": 1e300, "free": 1 << 80, "load": float("inf"), "cpus": 1 << 40},
    ],
    ids=str,
)
def test_what_a_host_tells_of_itself_that_can_not_be_counts_as_not_said(said: object) -> None:
    assert vitals(said) == Vitals()


def test_what_a_host_tells_of_itself_is_taken_where_it_can_be() -> None:
    told = vitals({"now": 1.8e9, "free": 1 << 40, "load": 0.25, "cpus": 8, "more": "x"})
    assert told == Vitals(now=1.8e9, free=1 << 40, load=0.25, cpus=8)
