"""Copying as it is seen: the live line, the table, and what a dry run prints; harmless whatever names hold."""

from __future__ import annotations

import pytest

from hostler.engine.copyplan import Plan, Rules, plan
from hostler.model.sizes import format_size
from hostler.model.trees import FILE, FOLDER, LINK, Copied, Entry, exit_code, tree
from hostler.views.copies import Figures, difference, live_line, plan_text, result_facts, results_text

FIGURES = Figures(
    verb="put", hosts=12, over=3, bad=1, files=30, files_total=900, done=1 << 20, total=4 << 20, rate=2048.0
)


def test_the_live_line_gives_way_part_by_part_and_never_exceeds_its_width() -> None:
    whole = live_line(FIGURES, width=200)
    assert "hosts 3/12 (1 failed)" in whole and "1 MiB/4 MiB 25%" in whole and "ETA" in whole
    for width in range(1, 100):
        assert len(live_line(FIGURES, width=width)) <= width
    assert "hosts 3/12" in live_line(FIGURES, width=40)


def test_before_anything_is_known_it_says_that_it_looks() -> None:
    assert live_line(Figures(verb="get", hosts=2, over=0), width=80) == "get  hosts 0/2  looking"


def test_the_table_names_what_failed_and_what_was_left_out() -> None:
    results = [
        Copied(host="a", files=3, size=2048, unchanged=7),
        Copied(
            host="b",
            failed=2,
            failures=((b"x\x1b[2Jy", "Permission denied"), (b"", "gone")),
            remarks=("p: left out",),
        ),
        Copied(host="c", error="no route to host", reached=False),
    ]
    text = results_text(results, width=120, colour=False)
    assert "b: x^[[2Jy: Permission denied" in text and "b: .: gone" in text and "b: p: left out" in text
    assert "no route to host" in text and "\x1b" not in text
    assert exit_code(results) == 4 and exit_code(results[:2]) == 1 and exit_code(results[:1]) == 0


def test_many_failures_are_counted_beyond_the_first() -> None:
    failures = tuple((b"f%d" % at, "no") for at in range(30))
    text = results_text([Copied(host="a", failures=failures, failed=5000)], width=80, colour=False)
    assert text.count("a: f") == 20 and "and 4980 more failures" in text


def test_a_plan_has_a_line_for_each_change_and_the_texts_beneath() -> None:
    wanted = tree(
        Entry(b"", FOLDER, 0o755), Entry(b"d", FOLDER), Entry(b"a", FILE, size=4),
        Entry(b"l", LINK, more=b"\x1b]0;x\x07"), Entry(b"r", FILE, 0o700, size=1),
    )  # fmt: skip
    there = tree(
        Entry(b"", FOLDER, 0o755),
        Entry(b"a", FILE, size=2),
        Entry(b"old", FILE),
        Entry(b"r", FILE, 0o600, size=1),
    )
    made = plan(wanted, there, Rules(equal=True, delete=True))
    lines = plan_text("h", b"/srv", made, {b"a": (b"x\n", b"x\ny\n")}, ()).splitlines()
    assert lines[0] == "h: /srv: 5 changes, 4 B to send"
    assert lines[1:] == [
        "  + d/",
        "  + l -> ^[]0;x^G",
        "  = r 0700",
        "  ~ a 4 B",
        "     x",
        "    +y",
        "  - old",
    ]


def test_nothing_to_do_is_one_line() -> None:
    assert plan_text("h", b"/srv", Plan(), {}, ()) == "h: /srv: nothing changes\n"


def test_what_is_no_text_is_not_shown() -> None:
    assert difference(b"a\0", b"b") == ["(no text)"] and difference(b"\xff\n", b"") == ["-<FF>"]


def test_names_that_are_no_text_can_be_told_to_programs() -> None:
    facts = result_facts(Copied(host="a", failed=1, failures=((b"\xff", "no"),)))
    assert facts["failures"] == [{"path": "\\xff", "why": "no"}] and facts["ok"] is False


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (5 << 40, "5 TiB"), (1 << 60, "1048576 TiB")],
)
def test_amounts_of_bytes_are_short(size: int, text: str) -> None:
    assert format_size(size) == text
