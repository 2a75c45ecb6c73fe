"""What the Link over attempt.sh reads, keeps and says, without a host."""

from __future__ import annotations

import subprocess
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostler.links.attempt_answers import Answer, Answers, Grown, Parting, Piece, Stands, Told
from hostler.links.attempt_state import BATCH, Held, choose
from hostler.links.attempt_words import entering, environment, starting
from hostler.model.jobs import Ending, Start
from hostler.model.reports import Began, Lost, Output, Refused, Result, Revoked
from hostler.remote import attempt_source as source

WHOLE = (
    b"welcome to this host\r\nhostler-sh n\nT 100\nB 0000000001 7\nS 0000000001 5 0\nK 0000000002 3\n"
    b"E 0000000001 exit 3 0 120 3 2 1 \nabc\n\nE 0000000004 kill-failed - 9 5 9000 0 0 still alive: pid 7\n"
    b"O 0000000005 err 10 4\n\nT 9R 0000000006\nL 0000000007 it is forgotten\nF 0000000008 its disk is full\n"
    b"E 0000000009 lost - 0 5 0 0 1 \nX ! another\n. 130\n"
)
FOUND = [
    Told(100, False), Began(1, 0.07), Grown(1, 5, 0), Stands(2, 3),
    Result(1, Ending.EXIT, 3, None, 1.2, 3, 2, b"abc", b"\n\n", ""),
    Result(4, Ending.KILL_FAILED, None, 9, 0.05, 9000, 0, None, None, "still alive: pid 7"),
    Piece(5, 2, 10, b"\nT 9"), Revoked(6), Lost(7, "it is forgotten"), Refused(8, "its disk is full"),
    Lost(9, "its worker there died and nobody saw how it ended"), Parting("another", True), Told(130, True),
]  # fmt: skip


@given(st.lists(st.integers(0, len(WHOLE)), max_size=6))
def test_answers_are_the_same_in_whatever_pieces_they_come(cuts: list[int]) -> None:
    answers, at = Answers("n"), 0
    found: list[Answer] = []
    for cut in [*sorted(cuts), len(WHOLE)]:
        found += answers.feed(WHOLE[at:cut])
        at = cut
    assert found == FOUND and answers.begun


@pytest.mark.parametrize(
    "line",
    [
        b"", b"Z 1", b"E", b"E 1 ok 0 0 5", b"E 1 ok 1 0 5 0 0 1 ", b"E 1 exit 0 0 5 0 0 1 ",
        b"E 1 exit 300 0 5 0 0 1 ", b"E 1 signal - 0 5 0 0 1 ", b"E 1 revoked 0 0 5 0 0 1 ",
        b"E 1 nonsense 0 0 5 0 0 1 ", b"E 1 ok 0 0 5 99999999 0 1 ",
        b"E -1 ok 0 0 5 0 0 1 ", b"S 1 x 0", b"S 99999999999999999999 1 1", b"O 1 in 0 0", b"O 1 out 0 99999999", b"T",
        b"T x", b"H a b c", b"K 1", b"\xff\xff",
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_an_error_and_never_a_report(line: bytes) -> None:
    with pytest.raises(ValueError):
        list(Answers("n").feed(b"hostler-sh n\n" + line + b"\n" + bytes(16)))


@given(st.binary(max_size=200))
def test_any_bytes_are_answers_or_an_error(data: bytes) -> None:
    with suppress(ValueError):
        list(Answers("n").feed(b"hostler-sh n\n" + data))


def test_a_login_or_a_line_without_end_is_an_error() -> None:
    with pytest.raises(ValueError, match="prints without end"):
        list(Answers("n").feed(b"x" * (300 << 10)))
    with pytest.raises(ValueError, match="without end"):
        list(Answers("n").feed(b"hostler-sh n\n" + b"x" * (2 << 20)))


def test_output_is_asked_for_within_the_credit_and_each_attempt_has_its_turn() -> None:
    held = {i: Held(i, size=[size, 0]) for i, size in ((1, 3 << 20), (2, 100), (3, 50_000))}
    pieces = choose(held, 1 << 20)
    assert sum(length for *_, length in pieces) <= BATCH and {serial for serial, *_ in pieces} == {1, 2, 3}
    assert sum(length for *_, length in choose(held, 77)) == 77 and choose(held, 0) == []


def test_a_result_is_due_behind_all_of_its_output_which_has_no_gap() -> None:
    held = Held(1)
    held.follow(4, 0)
    held.grown(10, 0)
    held.ended(Result(1, Ending.OK, 0, None, 1.0, 10, 0, b"0123456789", b""))
    assert held.due() is None and choose({1: held}, 100) == [(1, 1, 4, 4, 6)]
    assert (
        list(held.took(0, 4, b"456789")) == [Output(1, 1, 4, b"456789")]
        and list(held.took(0, 4, b"456")) == []
    )
    assert held.due() == Result(1, Ending.OK, 0, None, 1.0, 10, 0, None, None)


def test_a_file_that_its_job_has_cut_begins_anew_behind_what_was_delivered() -> None:
    held = Held(1, size=[100, 0], sent=[100, 0])
    held.grown(30, 0)
    assert choose({1: held}, 1000) == [(1, 1, 100, 0, 30)]
    list(held.took(0, 100, b""))
    assert not held.left(0)


def test_words_of_ours_are_one_line_whatever_is_in_them() -> None:
    text = starting([Start(1, 1, 1, (b"a\nb", b"'; rm -rf /; '", b"$(x)", b"\xff"))])
    assert text.count(b"\n") == 3
    ran = subprocess.run(
        ["/bin/sh"], input=b"_hl='\n'; _hroom() { :; }; _hbegin() { :; }\n"
        b"_hstart() { eval \"set -- $3\"; for _hq; do printf '<%s>' \"$_hq\"; done; }\n" + text, capture_output=True,
    )  # fmt: skip
    assert ran.stdout == b"<a\nb><'; rm -rf /; '><$(x)><\xff>"
    given = environment({"A": "it's\n$HOME", "no-name": "x"}, "/a b")
    ran = subprocess.run(["/bin/sh"], input=given + b'printf "%s|%s" "$A" "$_hcd"', capture_output=True)
    assert ran.stdout == b"it's\n$HOME|/a b"
    assert b"'/it'\\''s'/attempt.sh" in entering(b"/it's", epoch=1, line="x", stamp=0)


@pytest.mark.parametrize("data", [b"", b"a", b"123456789", b"x" * 70_000, bytes(300), b"\xff\n" * 77])
def test_our_cksum_is_that_of_the_program(data: bytes) -> None:
    told = subprocess.run(["cksum"], input=data, capture_output=True, check=True).stdout.split()
    assert (source.cksum(data), len(data)) == (int(told[0]), int(told[1]))


def test_the_boot_line_is_the_same_to_every_login_shell() -> None:
    assert source.BOOT.startswith("exec /bin/sh -c '") and source.BOOT.endswith("'")
    assert not set(source.BOOT[len("exec /bin/sh -c '") : -1]) & set("'!\n\\")


def test_all_of_attempt_sh_is_sent_and_defines_no_name_that_a_job_could_know() -> None:
    from importlib.resources import files

    there = {path.name for path in (files("hostler.remote") / "attempt").iterdir()}
    assert there == {f"{part}.sh" for part in source.PARTS} | {"job.sh"}
    listed = subprocess.run(["/bin/bash", "-c", 'eval "$(cat)"; compgen -A function; compgen -v'], capture_output=True,
                            input=source.program(), check=True).stdout.decode().split()  # fmt: skip
    before = (
        subprocess.run(["/bin/bash", "-c", "compgen -v; echo PIPESTATUS"], capture_output=True, check=True)
        .stdout.decode()
        .split()
    )
    assert [name for name in listed if not name.startswith("_h") and name not in before] == []
