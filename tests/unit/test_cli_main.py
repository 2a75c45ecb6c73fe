"""The command itself: what it costs to start, and how it says what went wrong."""

from __future__ import annotations

import re
import subprocess
import sys
import types

import click
import pytest

import hostler
from hostler.cli.main import main
from hostler.cli.verbs import VERBS
from hostler.errors import HostRefused, SpecError, StoreFull, UsageError

HEAVY = ("asyncssh", "sqlalchemy", "alembic", "pydantic", "rich", "ruamel", "ClusterShell", "asyncio")


def started(*words: str) -> subprocess.CompletedProcess[str]:
    """Run `hostler` as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "hostler", *words],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def loaded(*words: str) -> set[str]:
    """The top-level modules that a command line loads."""
    code = (
        "import sys, io, contextlib\n"
        "from hostler.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):\n"
        f"    main({list(words)!r})\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("words", [["--help"], ["--version"], [], ["runss"]])
def test_what_needs_no_verb_loads_nothing_heavy(words: list[str]) -> None:
    assert loaded(*words) & set(HEAVY) == set()


@pytest.mark.parametrize("words", [["--help"], ["batch", "--help"], ["runs"]])
def test_settings_cost_nothing_where_there_are_none(words: list[str]) -> None:
    assert "tomllib" not in loaded(*words)


@pytest.mark.parametrize("verb", ["runs", "status", "log"])
def test_help_of_a_looking_verb_loads_nothing_heavy(verb: str) -> None:
    assert loaded(verb, "--help") & set(HEAVY) == set()


@pytest.mark.parametrize("words", [["runs"], ["status", "last"], ["log", "last"]])
def test_looking_loads_neither_the_data_models_nor_the_sql_toolkit_nor_ssh(words: list[str]) -> None:
    heavy = {"pydantic", "alembic", "sqlalchemy", "asyncssh", "rich", "ruamel"}
    assert loaded(*words) & heavy == set()


def test_help_names_every_verb_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for verb, line in VERBS.items():
        assert re.search(rf"^  {verb} +{re.escape(line)}$", shown, re.MULTILINE)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_two_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    examples = shown.split("Examples:")[1].strip().splitlines()
    assert len([line for line in examples if "hostler " in line]) >= 2
    assert all(len(line) <= 100 for line in shown.splitlines())


def test_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hostler {hostler.__version__}\n"


def test_no_words_at_all_show_the_help_and_are_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Usage: hostler" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["runss"], "there is no verb 'runss'; did you mean 'runs'? (see: hostler --help)"),
        (["qqq"], "there is no verb 'qqq' (see: hostler --help)"),
        (["--nonsense"], "no such option"),
        (["runs", "--jsn"], "(see: hostler runs --help)"),
        (["status"], "missing argument 'RUN' (see: hostler status --help)"),
        (["status", "1", "2"], "got unexpected extra argument (2) (see: hostler status --help)"),
        (["runs", "--", "ls"], "runs takes nothing behind '--' (see: hostler runs --help)"),
        (["log", "1", ":::", "a"], "log takes nothing behind ':::' (see: hostler log --help)"),
        (["batch", "--resume"], "option '--resume' requires an argument (see: hostler batch --help)"),
        (
            ["batch", "--resume", ""],
            "--resume '': there is no RUN in it; leave the flag out if none is meant",
        ),
        (["batch", "-i", "", "--hosts=a"], "--inventory '': there is no FILE in it"),
        (
            ["batch", "--hosts", "a", "--hosts", "b"],
            "--hosts is said twice; say it once (see: hostler batch --help)",
        ),
        (["batch", "-j1", "--slots=2"], "--slots is said twice"),
        (["batch", "--shell", "--no-shell"], "--shell or --no-shell is said twice"),
        (["log", "1", "2", "--stdout", "--stderr"], "--stdout and --stderr: one or the other"),
        (["sandbox", "up", "1", "--lifetime", "1h", "--lifetime", "2h"], "(see: hostler sandbox up --help)"),
        (["runs", "-n", "many"], "--limit many: must be a whole number from 1 to 1000000"),
        (["runs", "-n", "0"], "--limit 0: must be a whole number from 1 to 1000000"),
    ],
)
def test_wrong_usage_is_one_line_that_says_where_to_read_on(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("hostler: ") and said.err.count("\n") == 1
    assert line in said.err


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch):
    """A verb that raises what it is given."""

    def install(error: BaseException) -> None:
        @click.command()
        def command() -> None:
            raise error

        monkeypatch.setitem(VERBS, "broken", "Raise something.")
        module = types.ModuleType("hostler.cli.broken")
        module.command = command  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "hostler.cli.broken", module)

    return install


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UsageError("no hosts: name them"), 2, "no hosts: name them"),
        (SpecError("hosts.yaml", 3, "port must be 1 to 65535"), 2, "hosts.yaml:3: port must be 1 to 65535"),
        (HostRefused("n1", "no key accepted"), 4, "n1: no key accepted"),
        (StoreFull("no space left"), 6, "no space left"),
        (ExceptionGroup("many", [ValueError("x"), ExceptionGroup("more", [StoreFull("full")])]), 6, "full"),
        (UsageError("two\nlines and \x1b[2J"), 2, "two lines and ^[[2J"),
        (UsageError("bytes \udcff that are no text"), 2, "bytes <FF> that are no text"),
    ],
)
def test_an_error_is_one_harmless_line_with_its_exit_code(
    raising, error: Exception, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(error)
    assert main(["broken"]) == code
    assert capsys.readouterr().err == f"hostler: {line}\n"


def test_a_bug_is_called_one_and_says_how_to_see_more(raising, capsys: pytest.CaptureFixture[str]) -> None:
    raising(KeyError("job"))
    assert main(["broken"]) == 6
    assert capsys.readouterr().err == (
        "hostler: this is a bug in hostler: KeyError: 'job'; HOSTLER_DEBUG=1 hostler broken … shows where\n"
    )


@pytest.mark.parametrize("words", [["--debug", "broken"], ["broken", "--debug"]])
def test_debug_shows_where_an_error_came_from(raising, words, capsys: pytest.CaptureFixture[str]) -> None:
    raising(UsageError("bad"))
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "Traceback" in said and said.endswith("hostler: bad\n")


def test_debug_can_be_asked_for_by_the_environment(raising, monkeypatch, capsys) -> None:
    raising(UsageError("bad"))
    monkeypatch.setenv("HOSTLER_DEBUG", "1")
    assert main(["broken"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_is_130_without_a_word(raising, capsys: pytest.CaptureFixture[str]) -> None:
    raising(KeyboardInterrupt())
    assert main(["broken"]) == 130
    assert capsys.readouterr().err == ""


def test_the_exit_code_of_a_verb_is_the_command_s(monkeypatch: pytest.MonkeyPatch, raising) -> None:
    raising(UsageError("never"))
    sys.modules["hostler.cli.broken"].command = click.Command("broken", callback=lambda: 3)  # type: ignore[attr-defined]
    assert main(["broken"]) == 3


def test_what_stands_right_of_the_cut_is_never_read_as_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", "1", "--", "--help"]) == 2
    assert "takes nothing behind" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error() -> None:
    script = f"{sys.executable} -m hostler --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_a_full_disk_under_stdout_is_said() -> None:
    script = f"{sys.executable} -m hostler --help > /dev/full"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (6, "hostler: can't write: No space left on device\n")


def test_a_process_exits_with_the_command_s_code() -> None:
    assert started("--version").returncode == 0
    done = started("status")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "hostler: missing argument 'RUN' (see: hostler status --help)\n"
