"""`hostler run -b`, `--diff` and `--mask` on real hosts."""

from __future__ import annotations

import pytest

from tests.command import Hostler
from tests.command import ground as ground
from tests.command import hostler as hostler

SAID = "echo same; [ $HOSTLER_HOST = sandbox2 ] && echo more && exit 4; true"


@pytest.fixture(autouse=True)
def three(ground: object) -> None:
    ground.shared(3)  # type: ignore[attr-defined]


def test_what_hosts_said_alike_is_printed_once_and_who_differs_is_named(hostler: Hostler) -> None:
    done = hostler("run", "sandbox[1-3]", "-b", "--", SAID)
    assert done.code == 1
    rule = "-" * 15
    assert done.lines == [
        rule,
        "sandbox[1,3] (2)",
        rule,
        "same",
        rule,
        "sandbox2: exit 4",
        rule,
        "same",
        "more",
    ]
    assert "1 of 3 differs: sandbox2" in done.err and "sandbox2: exit 4" in done.err


def test_a_difference_is_shown_against_what_most_said(hostler: Hostler) -> None:
    done = hostler("run", "sandbox[1-3]", "--diff", "--", SAID)
    assert done.lines[3:] == [
        "same", "--- sandbox[1,3] (2)", "+++ sandbox2: exit 4", "@@ -1 +1,2 @@", " same", "+more",
    ]  # fmt: skip


def test_masked_hosts_are_alike_and_kinds_that_are_none_are_refused(hostler: Hostler) -> None:
    done = hostler("run", "sandbox[1-3]", "-b", "--mask", "host,pid", "--", "echo pid $$ of $HOSTLER_HOST")
    assert done.lines[1].startswith("sandbox[1-3] (3), alike; sandbox") and len(done.lines) == 4
    hostler("run", "sandbox1", "--mask", "weather", "--", "true").refused("host, time, address, pid, number")
    hostler("run", "sandbox1", "-b", "--json", "--", "true").refused("one or the other")


def test_hosts_that_said_nothing_or_could_not_be_had_are_told_of_at_the_end_alone(hostler: Hostler) -> None:
    done = hostler("run", "sandbox[1-3],me@127.0.0.1:9", "-b", "--", "true")
    assert done.code == 4 and done.lines == []
    assert "3 ok, 1 unreachable" in done.err
