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


#: What came after Python 3.6 and would be easy to use by mistake.
NEWER = {
    "os": "posix_spawn POSIX_SPAWN_DUP2 waitstatus_to_exitcode pidfd_open memfd_create eventfd register_at_fork "
    "pwritev preadv copy_file_range splice process_cpu_count login_tty unshare setns",
    "time": "time_ns monotonic_ns thread_time clock_gettime_ns",
    "signal": "raise_signal strsignal valid_signals pidfd_send_signal",
    "socket": "send_fds recv_fds create_server has_dualstack_ipv6",
    "hashlib": "file_digest",
}
METHODS = "removeprefix removesuffix isascii bit_count is_relative_to"


def test_nothing_is_used_that_python_3_6_does_not_have_but_where_it_is_asked_for_first() -> None:
    tree = ast.parse(source.source())
    guarded = {"posix_spawn", "POSIX_SPAWN_DUP2"}  # only where os has posix_spawn, or fork_process is used
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            assert node.attr not in METHODS.split(), node.attr
            if isinstance(node.value, ast.Name) and node.value.id in NEWER:
                newer = set(NEWER[node.value.id].split()) - guarded
                assert node.attr not in newer, f"{node.value.id}.{node.attr} at line {node.lineno}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert not {word.arg for word in node.keywords} & {"strict"}, f"line {node.lineno}"
    assert b'hasattr(os, "posix_spawn")' in source.source()


def test_no_two_parts_of_it_use_one_name_for_two_things() -> None:
    """They are modules of their own here, and one there."""
    names: dict[str, str] = {}
    for module in source.MODULES:
        tree = ast.parse((files("hostler.remote.runner") / f"{module}.py").read_text())
        for node in tree.body:
            defined = []
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                defined = [node.name]
            elif isinstance(node, ast.Assign):
                defined = [
                    n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)
                ]
            for name in defined:
                assert names.setdefault(name, module) == module, f"{name} in {names[name]} and {module}"
    assert "Table" in names


def test_the_name_of_an_interpreter_is_no_way_into_the_command_line() -> None:
    assert "/opt/python-3.9/bin/python3" in source.command("/opt/python-3.9/bin/python3")
    for name in ("python3; id", "$(id)", "a b", "'", "~/python"):
        with pytest.raises(ValueError, match="interpreter"):
            source.command(name)


def test_what_is_sent_is_told_by_its_length_and_digest() -> None:
    import hashlib
    import zlib

    parcel = source.parcel()
    assert int(parcel[:8]) == len(parcel) - 72
    assert parcel[8:72] == hashlib.sha256(parcel[72:]).hexdigest().encode()
    assert zlib.decompress(parcel[72:]) == source.source()
