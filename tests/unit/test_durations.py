"""Lengths of time: what is read, what is refused, how they are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostler.errors import UsageError
from hostler.model.durations import LONGEST, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("2h", 7200),
        ("1d", 86400),
        ("250ms", 0.25),
        ("90", 90),
        ("1.5", 1.5),
        (".5", 0.5),
        ("0", 0),
        ("0s", 0),
        ("1h30m", 5400),
        ("1d2h3m4s5ms", 93784.005),
        ("1m1ms", 60.001),
        ("1.5h", 5400),
        (" 5m ", 300),
        ("3650d", LONGEST),
    ],
)
def test_a_length_of_time_is_read_as_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "-1", "-5m", "+5", "nan", "inf", "-inf", "1e3", "1_000", "5 m", "m", "s5", "5mm", "5x", "5M",
        "30m1h", "5m5m", "1h30", "1,5h", "٣s", "0x10", ".", "5min", "forever", "5s\x00", "9" * 70,
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_the_forms_that_are_read(text: str) -> None:
    with pytest.raises(
        UsageError, match="not a length of time: write 30s, 5m, 2h, 1d, 250ms, 1h30m or plain"
    ) as caught:
        parse_duration(text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["3651d", "99999999999", "9" * 60])
def test_a_huge_length_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="too long a time: at most 3650d"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0001, "0s"),
        (0.04, "40ms"),
        (0.0994, "99ms"),
        (0.0996, "0.1s"),
        (0.4, "0.4s"),
        (0.26, "0.3s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (12, "12s"),
        (59.4, "59s"),
        (59.7, "1m00s"),
        (185, "3m05s"),
        (3599.4, "59m59s"),
        (3599.6, "1h00m"),
        (7800, "2h10m"),
        (86399, "1d00h"),
        (100_800, "1d04h"),
        (3650 * 86400, "3650d00h"),
        (-3, "-3.0s"),
        (-0.0001, "0s"),
        (float("nan"), "?"),
        (float("inf"), "?"),
    ],
)
def test_a_length_is_shown_in_at_most_two_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(min_value=0, max_value=LONGEST - 7200))
def test_what_is_shown_can_be_read_back(seconds: float) -> None:
    back = parse_duration(format_duration(seconds))
    # Below ten seconds tenths are shown, beyond that two units: nobody is told more than was rounded away.
    assert back == pytest.approx(seconds, rel=0.06, abs=0.0501 if seconds >= 0.0995 else 0.00051)
    assert format_duration(back) == format_duration(seconds)
