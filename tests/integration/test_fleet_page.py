"""docs/fleet.md, its examples run as they stand, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.command import Hostler
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.integration.test_batch_page import shown

#: Long: `make test-all` tries these, `make test` what the shorter modules hold of the same.
pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "fleet.md"
EXAMPLES = re.findall(r"```sh\n((?:(?!```).)*)```\n\n```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
SECONDS = re.compile(r" in [0-9.]+m?s$", re.MULTILINE)


def test_every_example_shows_what_it_says(hostler: Hostler) -> None:
    assert len(EXAMPLES) >= 5
    for script, text in EXAMPLES:
        assert SECONDS.sub("", shown(hostler, script)) == SECONDS.sub("", text), script
