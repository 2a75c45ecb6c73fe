"""SECURITY.md: that every test which it names is there, and that what no test can try is nowhere in the source."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
PAGE = (TOP / "SECURITY.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))
#: Modules that make objects or code of data.
LOADERS = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "jsonpickle", "yaml"}


@pytest.mark.parametrize(("file", "name"), NAMED, ids=lambda word: word.rpartition("/")[2])
def test_what_the_page_names_is_there(file: str, name: str) -> None:
    assert re.search(rf"^ *(async )?def {name}\(", (TOP / file).read_text(), re.MULTILINE)


def test_every_rule_of_the_page_has_its_test() -> None:
    rows = PAGE[PAGE.index("## Which test holds which rule") :].partition("\n## Not")[0].splitlines()
    rules = [row for row in rows if row.startswith("| ")][1:]
    assert len(rules) > 15 and not [row for row in rules if "::" not in row]


def test_nothing_loads_code_from_data() -> None:
    found = []
    for path in sorted((TOP / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{path}: {name}" for name in names if name.partition(".")[0] in LOADERS]
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("eval", "exec")
            ):
                found.append(f"{path}: {node.func.id}()")
            if isinstance(node, ast.keyword) and node.arg == "shell" and isinstance(node.value, ast.Constant):
                found += (
                    [f"{path}: shell=True"]
                    if node.value.value is True and "subprocess" in path.read_text()
                    else []
                )
    assert found == []
