"""What masks hide, and what they must leave alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from hostler.errors import UsageError
from hostler.model.hosts import Host
from hostler.model.masks import KINDS, mask, parse_masks

WEB = Host(name="web1.example.com", address="10.0.0.5")


@pytest.mark.parametrize(
    ("kind", "line", "masked"),
    [
        ("host", b"Linux web1 6.1", b"Linux <host> 6.1"),
        ("host", b"web1.example.com: ok; WEB1 too", b"<host>: ok; <host> too"),
        ("host", b"web10 web1a xweb1 web1-b", b"web10 web1a xweb1 web1-b"),
        ("host", b"listening on 10.0.0.5:80", b"listening on <host>:80"),
        ("host", b"10.0.0.50", b"10.0.0.50"),
        ("address", b"inet 192.168.1.17/24 brd", b"inet <address> brd"),
        ("address", b"fe80::5054:ff:fe12:3456%eth0 and ::1", b"<address> and <address>"),
        ("address", b"link/ether 52:54:00:12:34:56", b"link/ether <address>"),
        ("address", b"version 1.2.3.4.5 and std::string", b"version 1.2.3.4.5 and std::string"),
        ("time", b"2026-12-01T02:13:48Z started", b"<time> started"),
        ("time", b"2026-12-01 02:13:48,123 +0100 x", b"<time> x"),
        ("time", b"Dec  1 02:13:48 web1 sshd", b"<time> web1 sshd"),
        ("time", b"Tue Dec  1 02:13:48 UTC 2026", b"<time>"),
        ("time", b"Tue, 01 Dec 2026 02:13:48 GMT", b"<time>"),
        ("time", b" 02:13:48 up 48 min", b" <time> up 48 min"),
        ("time", b"a:b 1:2 May be", b"a:b 1:2 May be"),
        ("pid", b"sshd[811]: pid=12, pid 13", b"sshd[<pid>]: pid=<pid>, pid <pid>"),
        ("pid", b"rapid 5 [7]", b"rapid 5 [7]"),
        ("number", b"load 0.13, 5 users", b"load <number>, <number> users"),
    ],
)
def test_a_mask_hides_its_kind_and_nothing_else(kind: str, line: bytes, masked: bytes) -> None:
    assert mask([kind], WEB)(line) == masked


def test_masks_are_laid_in_an_order_in_which_none_spoils_another() -> None:
    line = b"web1 2026-12-01 02:13:48 10.0.0.9 sshd[4]: 7 of 9"
    assert mask(KINDS, WEB)(line) == b"<host> <time> <address> sshd[<pid>]: <number> of <number>"


@given(some.binary(max_size=300))
def test_a_mask_takes_any_bytes_and_without_kinds_changes_none(line: bytes) -> None:
    assert mask((), WEB)(line) == line
    mask(KINDS, WEB)(line)


@given(some.from_regex(rb"\A[0-9a-fA-F:.%/ \[\]a-z-]{0,2000}\Z"))
def test_a_mask_takes_long_lines_in_no_time(line: bytes) -> None:
    assert len(mask(KINDS, WEB)(line * 5)) >= 0


def test_kinds_are_named_and_all_is_every_one() -> None:
    assert parse_masks(" number , host") == ("host", "number") and parse_masks("all") == KINDS
    for wrong in ("", ",", "dates"):
        with pytest.raises(UsageError, match="host, time, address, pid, number, or all"):
            parse_masks(wrong)
