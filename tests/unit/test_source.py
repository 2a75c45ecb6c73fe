"""The runner as it is sent: one source of several modules, for any Python from 3.6 on."""

from __future__ import annotations

import ast
from importlib.resources import files

import pytest

from hostler.remote import source


class Undocumented(ast.NodeTransformer):
    """Drops docstrings."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                node.body = body[1:]  # type: ignore[attr-defined]
        return super().generic_visit(node)


@pytest.mark.parametrize("name", source.MODULES)
def test_only_comments_and_docstrings_are_left_out(name: str) -> None:
    text = (files("hostler.remote.runner") / f"{name}.py").read_text()
    assert ast.dump(ast.parse(source.bare(text))) == ast.dump(Undocumented().visit(ast.parse(text)))


def test_every_module_of_the_runner_is_sent() -> None:
    there = {path.name for path in files("hostler.remote.runner").iterdir() if path.name.endswith(".py")}
    assert there == {f"{name}.py" for name in source.MODULES} | {"__init__.py"}


def test_the_whole_has_the_grammar_of_python_3_6_and_imports_nothing_of_ours() -> None:
    tree = ast.parse(source.source(), feature_version=(3, 6))
    imported = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    assert imported and not {name for name in imported if name.startswith("hostler")}


def test_the_command_line_holds_nothing_that_a_login_shell_would_read_in_its_own_way() -> None:
    line = source.command("/usr/bin/python3")
    inside = line[len("exec /bin/sh -c '") : -1]
    assert not set(inside) & set("'\\!\n") and line.endswith("'")
