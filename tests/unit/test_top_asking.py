"""What `hostler top` asks of runs is asked by the verb for it, of the same store; its answer is one harmless line."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostler.cli.main import main
from hostler.cli.storing import again, using
from hostler.cli.top_asking import ask
from tests.unit.stories import Story


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty state folder, which is everybody's."""
    (tmp_path / "state").mkdir(mode=0o700)
    monkeypatch.setenv("HOSTLER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


async def test_a_run_is_paused_as_the_verb_does_it(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await (await Story.begin(state)).leave()
    assert ask(["pause", "1"]) == "batch 1: paused: nothing new is started; what runs goes on"
    assert main(["status", "1"]) == 0
    assert "left, paused" in capsys.readouterr().out
    assert "no longer paused" in ask(["unpause", "1"])


def test_what_can_t_be_done_is_answered_without_the_program_s_name(state: Path) -> None:
    assert ask(["stop", "7"]) == "no run 7: there are no runs yet (hostler batch makes one)"


async def test_a_file_in_the_folder_where_one_stands_is_never_run(state: Path) -> None:
    await (await Story.begin(state)).leave()
    for name in ("click.py", "hostler.py", "asyncio.py"):
        Path(name).write_text("raise SystemExit('taken over')")
    assert ask(["pause", "1"]).startswith("batch 1: paused")


def test_the_same_store_is_meant_and_its_password_stands_on_no_command_line() -> None:
    assert again("stop") == ([], {})
    with using("postgresql://ann@db/fleet"):
        assert again("stop") == (["--store", "postgresql://ann@db/fleet"], {})
    with using("postgresql://ann:secret@db/fleet"):
        assert again("stop") == ([], {"HOSTLER_STOP_STORE": "postgresql://ann:secret@db/fleet"})


def test_without_a_terminal_there_is_one_line_and_exit_code_2(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["top"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "needs a terminal" in said.err
