"""What the package shows, what it carries, and what its start-up costs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import hostler

TOP = Path(__file__).parents[2]
HEAVY = ("asyncssh", "sqlalchemy", "alembic", "pydantic", "rich", "textual", "ruamel", "ClusterShell")


def python(code: str) -> str:
    """Run `code` in an interpreter of its own and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_public_names_are_these_and_no_others() -> None:
    names = ["Host", "HostError", "HostlerError", "Inventory", "UsageError", "__version__"]
    assert sorted(hostler.__all__) == names
    assert dir(hostler) == names


@pytest.mark.parametrize("name", hostler.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(hostler, name) is getattr(hostler, name)


def test_a_name_that_is_not_public_is_an_attribute_error_like_any_module_s() -> None:
    with pytest.raises(AttributeError, match="module 'hostler' has no attribute 'Manager'"):
        _ = hostler.Manager  # type: ignore[attr-defined]


def test_importing_hostler_imports_nothing_else_of_it() -> None:
    loaded = python("import sys, hostler; print(*sorted(m for m in sys.modules if m.startswith('hostler')))")
    assert loaded.split() == ["hostler"]


def test_the_command_s_module_loads_nothing_heavy() -> None:
    loaded = python(
        "import sys, hostler.cli.main; print(*{m.partition('.')[0] for m in sys.modules})"
    ).split()
    assert "hostler" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_help_loads_nothing_heavy() -> None:
    loaded = python(
        "import sys, io, contextlib\n"
        "from hostler.cli.main import main\n"
        "sys.argv = ['hostler', '--help']\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main()\n"
        "print(*{m.partition('.')[0] for m in sys.modules})"
    ).split()
    assert [name for name in HEAVY if name in loaded] == []


@pytest.mark.parametrize("module", ["top", "top_reading", "top_pages", "top_output", "top_asking"])
def test_only_the_dashboard_s_own_screen_loads_textual(module: str) -> None:
    loaded = python(f"import sys, hostler.cli.{module}; print(*{{m.partition('.')[0] for m in sys.modules}})")
    assert not {"textual", "rich"} & set(loaded.split())


def test_python_dash_m_is_the_command_too() -> None:
    done = subprocess.run([sys.executable, "-m", "hostler", "--help"], capture_output=True, text=True)
    assert (done.returncode, "batch" in done.stdout) == (0, True), done.stderr


def test_the_extra_all_names_every_extra_but_development_s() -> None:
    extras = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    [everything] = extras["all"]
    named = everything.removeprefix("hostler[").removesuffix("]").split(",")
    assert sorted(named) == sorted(set(extras) - {"all", "dev"})


def test_the_wheel_carries_every_file_of_the_package(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=TOP, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        carried = set(packed.namelist())
    package = TOP / "src" / "hostler"
    ours = {
        str(path.relative_to(package.parent))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert sorted(ours - carried) == []
    assert "hostler/py.typed" in carried
