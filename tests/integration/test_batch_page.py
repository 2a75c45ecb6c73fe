"""docs/batch.md, its examples run as they stand."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.command import PROGRAM, Hostler
from tests.command import ground as ground
from tests.command import hostler as hostler

PAGE = Path(__file__).parents[2] / "docs" / "batch.md"
EXAMPLES = re.findall(r"```sh\n((?:(?!```).)*)```\n\n```text\n(.*?)```", PAGE.read_text(), re.DOTALL)


def shown(hostler: Hostler, script: str) -> str:
    env = {**hostler.env, "PATH": f"{PROGRAM.parent}:/usr/bin:/bin"}
    done = subprocess.run(
        ["bash", "-c", script],
        env=env,
        cwd=hostler.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) >= 5


def test_the_first_and_the_last_show_what_they_say(hostler: Hostler) -> None:
    for script, text in (EXAMPLES[0], EXAMPLES[-1]):
        assert shown(hostler, script) == text


@pytest.mark.slow
def test_each_shows_what_it_says(hostler: Hostler) -> None:
    for script, text in EXAMPLES:
        assert shown(hostler, script) == text
