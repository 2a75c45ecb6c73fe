"""What lines and words make of jobs: columns, their names, combinations."""

from __future__ import annotations

import re

import pytest

from hostler.cli.rows import Form, checked_names, column_separator, combined, with_numbers
from hostler.errors import UsageError


def rows(*words: str) -> list[tuple[bytes, ...]]:
    return [(word.encode(),) for word in words]


def shown(made: object) -> list[str]:
    return [b"".join(row).decode() for row in made]  # type: ignore[attr-defined]


def test_lists_give_every_combination_in_the_order_of_input() -> None:
    assert shown(combined([rows("a", "b"), rows("1", "2")], [False, False])) == ["a1", "a2", "b1", "b2"]
    assert list(combined([rows("a", "", "a b")], [False])) == [(b"a",), (b"",), (b"a b",)]
    assert list(combined([rows("a"), []], [False, False])) == [] == list(combined([], []))


def test_a_list_in_step_goes_as_far_as_both_go() -> None:
    lists = [rows("a", "b", "c"), rows("1", "2"), rows("x", "y")]
    assert shown(combined(lists, [False, True, False])) == ["a1x", "a1y", "b2x", "b2y"]
    assert shown(combined(lists, [False, False, True])) == ["a1x", "a2y", "b1x", "b2y", "c1x", "c2y"]


def test_linked_lists_go_in_step_and_the_shorter_begin_again() -> None:
    assert shown(combined([rows("a", "b", "c"), rows("1", "2")], [False, False], link=True)) == [
        "a1",
        "b2",
        "c1",
    ]


def test_a_product_of_many_is_not_held() -> None:
    many = combined([rows(*map(str, range(1000)))] * 6, [False] * 6)
    assert next(many) == (b"0",) * 6


@pytest.mark.parametrize(
    ("line", "args"),
    [
        (rb"a  b 'c d' \'e", (b"a", b"b", b"c d", b"'e")),
        (b'"" x#y # z', (b"", b"x#y", b"#", b"z")),
        (b"\xff\xfe\t\xe9", (b"\xff\xfe", b"\xe9")),
        (b"$HOME `id` *", (b"$HOME", b"`id`", b"*")),
        (b"  ", ()),
    ],
)
def test_words_are_cut_as_a_shell_would_and_nothing_else_is_done_to_them(
    line: bytes, args: tuple[bytes, ...]
) -> None:
    assert Form(words=True).cut(line) == args


@pytest.mark.parametrize("line", [b"it's", b'a "b', b"a\\"])
def test_a_quote_that_is_not_closed_is_refused(line: bytes) -> None:
    with pytest.raises(UsageError, match="quote that is not closed"):
        Form(words=True).cut(line)


def test_columns_are_cut_by_a_pattern_whose_groups_are_no_columns() -> None:
    assert Form(colsep=re.compile(rb"(,|;) *")).cut(b"a, b;c,") == (b"a", b"b", b"c", b"")


@pytest.mark.parametrize("text", ["(", "[", "", "x*", "a|", "^"])
def test_what_separates_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--colsep"):
        column_separator(text)


def test_names_stand_for_numbers_with_any_part_of_a_path() -> None:
    names = ["from", "to", "n.x", "é"]
    assert with_numbers(["cp", "{from}", "-{to/.}", "{n.x}", "{é//}", "{}", "{2}"], names) == [
        "cp", "{1}", "-{2/.}", "{3}", "{4//}", "{}", "{2}",
    ]  # fmt: skip


def test_braces_of_a_shell_and_of_awk_are_left_alone() -> None:
    text = "awk '{ print $1 }' ${HOME} {raw} {} {a,b}"
    assert with_numbers([text], ["x"]) == [text]


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=re.escape("asks for {form}; the columns are from, to")):
        with_numbers(["cp", "{form}"], ["from", "to"])


@pytest.mark.parametrize("names", [(b"",), (b"a", b"a"), (b"1",), (b"raw",), (b"a{b",), (b"a/b",)])
def test_names_that_could_not_be_asked_for_are_refused(names: tuple[bytes, ...]) -> None:
    with pytest.raises(UsageError, match="line 1"):
        checked_names(names, where="f: line 1")
