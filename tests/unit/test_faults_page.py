"""The pages of faults, promises and attacks: every test that they name is there, and no row is without one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.faults.frame import found

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs" / "faults.md").read_text()
PROMISES = (TOP / "docs" / "promises.md").read_text()
ATTACKS = (TOP / "docs" / "attacks.md").read_text()
NAME = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
NAMED = sorted(set(NAME.findall(PAGE + PROMISES + ATTACKS)))


@pytest.mark.parametrize(("file", "name"), NAMED, ids=lambda word: word.rpartition("/")[2])
def test_what_a_page_names_is_there(file: str, name: str) -> None:
    assert re.search(rf"^ *(async )?def {name}\(", (TOP / file).read_text(), re.MULTILINE)


def test_every_fault_that_is_tried_stands_on_the_page() -> None:
    named = {f"{Path(file).stem}.{name}" for file, name in NAME.findall(PAGE + PROMISES)}
    missing = {each.key for each in found("faults")} - named
    assert missing == set()


def test_no_row_is_without_a_test_but_those_that_are_planned() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "::" not in line]
    begun = PAGE.index("## Which test holds which fault")
    bare = [row for row in rows if PAGE.index(row) > begun and "planned" not in row and "held by" not in row]
    assert bare == []


def test_no_attack_is_without_a_test_but_those_that_are_not_held() -> None:
    rows = [
        line for line in ATTACKS.splitlines() if line.startswith("| ") and not line.startswith("| attack |")
    ]
    assert rows and [row for row in rows if not NAME.search(row) and "not held:" not in row] == []
    assert [row for row in rows if row.count(" | ") != 3 or not row.endswith(" |")] == []


def test_every_promise_that_is_kept_names_a_test() -> None:
    kept = re.findall(r"^## (P[0-9]) .*\n\n(?!\*Planned)", PROMISES, re.MULTILINE)
    assert kept and {name for name in kept if f"| {name} | `tests/" not in PROMISES} == set()
