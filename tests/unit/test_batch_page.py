"""docs/batch.md: what it promises to those who come from other tools can be pasted."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from hostler.cli.main import main

PAGE = Path(__file__).parents[2] / "docs" / "batch.md"
ROWS = re.findall(r"^\| `(?:[^`]*)` \| `(hostler batch [^`]*)` \|$", PAGE.read_text(), re.MULTILINE)


def test_the_page_has_a_table_for_those_who_come_from_other_tools() -> None:
    assert len(ROWS) >= 15


@pytest.mark.parametrize("line", [row for row in ROWS if "--retry" not in row])
def test_each_of_its_commands_is_one(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKEN", "x")
    monkeypatch.setenv("HOSTLER_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "hosts").write_text("a\nb\n")
    (tmp_path / "table").write_text("name,age\nx,1\n")
    for name in ("list", "commands"):
        (tmp_path / name).write_text("one\ntwo\n")
    words = [word for word in shlex.split(line)[1:] if word != "--dry-run"]
    assert main(["batch", "--dry-run", *words[1:]]) == 0, capfd.readouterr().err
    assert capfd.readouterr().out
    assert not (tmp_path / "state").exists()
