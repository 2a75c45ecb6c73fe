"""The far end of copying as it is sent: one source for any Python from 3.6 on."""

from __future__ import annotations

import ast
from importlib.resources import files

import pytest

from hostler.remote import files_source, source
from tests.unit.test_source import Undocumented


@pytest.mark.parametrize("name", files_source.MODULES)
def test_only_comments_and_docstrings_are_left_out(name: str) -> None:
    text = (files("hostler.remote.files") / f"{name}.py").read_text()
    assert ast.dump(ast.parse(source.bare(text))) == ast.dump(Undocumented().visit(ast.parse(text)))


def test_every_module_is_sent() -> None:
    there = {path.name for path in files("hostler.remote.files").iterdir() if path.name.endswith(".py")}
    assert there == {f"{name}.py" for name in files_source.MODULES} | {"__init__.py"}


def test_the_whole_has_the_grammar_of_python_3_6_and_imports_nothing_of_ours() -> None:
    tree = ast.parse(files_source.source(), feature_version=(3, 6))
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert imported and not [name for name in imported if name.startswith("hostler")]


def test_no_two_modules_use_one_name_for_two_things() -> None:
    seen: dict[str, str] = {}
    for name in files_source.MODULES:
        tree = ast.parse((files("hostler.remote.files") / f"{name}.py").read_text())
        for node in tree.body:
            names = [node.name] if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
            if isinstance(node, ast.Assign):
                names = [
                    each.id
                    for target in node.targets
                    for each in ast.walk(target)
                    if isinstance(each, ast.Name)
                ]
            for each in set(names) - {"TYPE_CHECKING"}:
                assert each not in seen, f"{each} of {name} and {seen[each]}"
                seen[each] = name
    assert len(seen) > 50
