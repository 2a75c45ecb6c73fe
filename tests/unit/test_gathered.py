"""Answers of many hosts put together: who said the same, who differs, and what is shown of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hypothesis import given
from hypothesis import strategies as some

from hostler.model.hosts import Host
from hostler.views.gathered import Answer, Gathering, Group, block, difference, header, lines, outliers
from hostler.views.text import visible_stream


def said(name: str, text: bytes, how: str = "") -> Answer:
    return Answer(host=Host(name=name, address=name), how=how, read=lambda: [text[:3], text[3:]])


def gathered(*answers: Answer, masks: tuple[str, ...] = ()) -> Gathering:
    found = Gathering(masks=masks)
    for answer in answers:
        found.add(answer)
    return found


def shown(found: Gathering) -> str:
    """What a screen has, group by group."""
    parts: list[bytes] = []
    for group, names in found.fresh():
        parts += block(group, names, width=80, colour=False, shown=visible_stream)
        group.told += len(names)
    return b"".join(parts).decode()


def test_hosts_that_said_the_same_are_one_block_and_those_that_ended_otherwise_another() -> None:
    found = gathered(
        said("n1", b"up\n"), said("n2", b"up\n", "exit 1"), said("n3", b"up\n"), said("n4", b"down")
    )
    assert shown(found) == (
        "---------------\nn[1,3] (2)\n---------------\nup\n"
        "---------------\nn4\n---------------\ndown\n"
        "---------------\nn2: exit 1\n---------------\nup\n"
    )


def test_who_comes_later_with_what_was_shown_is_named_and_the_text_is_not_repeated() -> None:
    found = gathered(said("n1", b"up\n"), said("n2", b"up\n"))
    assert shown(found).endswith("n[1-2] (2)\n---------------\nup\n") and shown(found) == ""
    found.add(said("n3", b"up\n"))
    found.add(said("n4", b"up\n"))
    found.add(said("n5", b"other\n"))
    assert shown(found) == "n[3-4] (2): as n1\n---------------\nn5\n---------------\nother\n"


def test_masked_texts_are_alike_and_that_is_said() -> None:
    texts = [said(f"n{n}", b"n%d: pid %d\n" % (n, 100 + n)) for n in (1, 2)]
    assert len(gathered(*texts).groups()) == 2
    [group] = gathered(*texts, masks=("host", "pid")).groups()
    assert not group.exact and b"n[1-2] (2), alike; n1 is shown" in header(
        group, group.names, width=80, colour=False
    )
    [group] = gathered(texts[0], texts[0], masks=("host",)).groups()
    assert group.exact


def test_the_reference_of_a_difference_ended_well_and_is_what_most_said() -> None:
    found = gathered(
        said("n1", b"a\nb\n"),
        said("n2", b"a\nb\n"),
        said("n3", b"a\nc\n"),
        *(said(f"m{n}", b"", "exit 2") for n in range(5)),
    )
    text = b"".join(difference(found.groups(), colour=False, shown=visible_stream)).decode()
    assert text == (
        "--- n[1-2] (2)\n+++ n3\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
        "--- n[1-2] (2)\n+++ m[0-4] (5): exit 2\n@@ -1,2 +0,0 @@\n-a\n-b\n"
    )


def test_the_same_text_with_another_end_is_still_a_difference() -> None:
    found = gathered(said("n1", b"a\n"), said("n2", b"a\n", "exit 1"))
    assert (
        b"".join(difference(found.groups(), colour=False, shown=visible_stream))
        == b"--- n1\n+++ n2: exit 1\n"
    )


def test_outliers_are_named_where_most_agree() -> None:
    most = [said(f"n{n:03}", b"same") for n in range(197)]
    found = gathered(*most, said("n900", b"x"), said("n901", b"x"), said("n902", b"y", "exit 1"))
    assert outliers(found.groups(), total=200) == "3 of 200 differ: n[900-901], n902"
    assert outliers(gathered(*most).groups(), total=197) == ""
    assert outliers(gathered(said("a", b"1"), said("b", b"2")).groups(), total=2) == ""


def test_what_would_drive_a_terminal_is_shown_harmless_in_blocks_and_differences() -> None:
    found = gathered(said("n1", b"\x1b[2Jx\n"), said("n2", b"\xff\n"))
    assert "\x1b" not in shown(found)
    assert b"\x1b" not in b"".join(difference(found.groups(), colour=False, shown=visible_stream))


def test_a_text_is_read_and_not_kept() -> None:
    reads = 0

    def endless() -> Iterator[bytes]:
        nonlocal reads
        reads += 1
        for _ in range(400):
            yield bytes(1 << 20)

    group = gathered(Answer(host=Host(name="n1", address="n1"), how="", read=endless)).groups()[0]
    assert reads == 1 and sum(map(len, block(group, ["n1"], width=80, colour=False, shown=iter))) > 400 << 20


@given(some.lists(some.binary(max_size=20)), some.integers(1, 7))
def test_lines_are_the_text_however_it_was_cut(pieces: list[bytes], longest: int) -> None:
    found = list(lines(pieces, longest=longest))
    assert b"".join(found) == b"".join(pieces) and all(found)
    whole = list(lines([b"".join(pieces)]))
    assert list(lines(pieces)) == whole and all(line.find(b"\n") in (-1, len(line) - 1) for line in found)


@given(some.lists(some.tuples(some.sampled_from("ab"), some.sampled_from(["", "exit 1"])), min_size=1))
def test_every_host_is_in_one_group_whoever_came_first(answers: list[tuple[str, str]]) -> None:
    found = gathered(*(said(f"n{n}", text.encode(), how) for n, (text, how) in enumerate(answers)))
    names: Iterable[str] = [name for group in found.groups() for name in group.names]
    assert sorted(names) == sorted(f"n{n}" for n in range(len(answers)))
    assert len(found.groups()) == len(set(answers))


def test_a_long_set_is_cut_to_the_width() -> None:
    group = Group(how="", first=said("n", b""), digest=b"")
    text = header(group, [f"x{n * 7}y{n * n}" for n in range(50)], width=40, colour=False).decode()
    assert all(len(line) <= 40 for line in text.splitlines())
