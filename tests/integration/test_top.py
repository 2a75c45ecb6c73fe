"""`hostler top` in a real terminal (tmux), over a real batch on real hosts: what one sees, and how it leaves."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.command import ALL, PROGRAM, Effects, Hostler
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.integration.test_seeing import talking
from tests.lab import wait_until

#: Long: `make test-all` tries these.
pytestmark = pytest.mark.slow

if shutil.which("tmux") is None:
    pytest.skip("tmux is not installed (Debian: apt-get install tmux)", allow_module_level=True)


class Terminal:
    """A terminal of tmux's with a command in it, on a server that only we know."""

    def __init__(
        self, socket: Path, *words: str, env: dict[str, str], width: int = 80, height: int = 24
    ) -> None:
        self._socket = socket
        typed = f"echo before; {shlex.join([str(PROGRAM), *words])}; echo left with $?; read rest"
        given = {**os.environ, **env, "TERM": "xterm-256color"}
        self._tmux(
            "-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height), "sh", "-c", typed, env=given
        )  # fmt: skip

    def _tmux(self, *words: str, env: dict[str, str] | None = None) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self._socket), *words],
            env=env,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        return done.stdout

    @property
    def text(self) -> str:
        """What one sees."""
        return self._tmux("capture-pane", "-p")

    def press(self, *keys: str) -> None:
        """Press keys, by tmux's names."""
        self._tmux("send-keys", *keys)

    def resize(self, width: int, height: int) -> None:
        """Make the window another size."""
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def sees(self, *texts: str) -> None:
        """Wait until all of these can be seen."""
        self.until(lambda text: all(each in text for each in texts), what=repr(texts))

    def until(self, true: Callable[[str], object], *, what: str) -> None:
        """Wait until what one sees is so."""
        seen = ""

        def look() -> bool:
            nonlocal seen
            seen = self.text
            return bool(true(seen))

        try:
            wait_until(look)
        except pytest.fail.Exception:
            pytest.fail(f"not seen: {what}\n{seen}")

    def pid_of(self, verb: str) -> int:
        """The process of the command that is at work there."""
        shell = int(self._tmux("display-message", "-p", "#{pane_pid}"))
        return int(Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0])

    def close(self) -> None:
        """The window is closed, and all in it hung up."""
        subprocess.run(["tmux", "-S", str(self._socket), "kill-server"], capture_output=True, check=False)


@pytest.fixture
def terminal(hostler: Hostler) -> Iterator[Callable[..., Terminal]]:
    """Terminals for this test."""
    made: list[Terminal] = []

    def begin(*words: str, width: int = 80, height: int = 24, **env: str) -> Terminal:
        socket = hostler.folder / f"tmux{len(made)}"
        made.append(Terminal(socket, *words, env=hostler.env | env, width=width, height=height))
        return made[-1]

    yield begin
    for each in made:
        each.close()


def test_a_batch_at_work_is_watched_paused_and_let_end(
    hostler: Hostler, effects: Effects, terminal: Callable[..., Terminal]
) -> None:
    batch = hostler.start("batch", *ALL, "-j", "1", "-q", *talking(effects, "a", "b", "c"))
    effects.wait(2, "begun")
    screen = terminal("top", COLUMNS="80", LINES="24")  # some shells export these, once and for all
    screen.sees("hostler top  1 run, 1 at work", "running", "  0%")
    screen.press("Enter")
    screen.until(
        lambda text: len(re.findall(r"s  first of [abc]$", text, re.MULTILINE)) == 2 and "  sent  " in text,
        what="two that run, one that waits",
    )
    screen.sees("batch 1  running", "0/3 0%", "hosts 2/2")
    screen.press("Enter")
    screen.sees("── job ", " on sandbox", ": runs ")
    screen.press("Escape", "Tab")
    screen.sees("sandbox1  up", "sandbox2  up", ": first of ")
    screen.press("p")
    screen.sees("batch 1: paused", "batch 1  paused")
    assert hostler.json("status", "1")["paused"] is True
    screen.press("p")
    screen.sees("batch 1  running")
    screen.press("Tab")
    screen.sees("  sent  ")
    screen.press("End", "c")
    screen.sees("cancel job", "of batch 1?")
    screen.press("y")
    screen.sees("cancelled")
    effects.go()
    screen.sees("batch 1  finished", "3/3 100%  2 ok, 1 cancelled")
    assert batch.wait().code == 3
    screen.resize(40, 8)
    screen.sees("batch 1  finished", "q leave")
    screen.press("q")
    screen.sees("before", "left with 0")
    assert "finished" not in screen.text  # the terminal is as it was


def test_who_is_told_to_end_gives_the_terminal_back(
    hostler: Hostler, terminal: Callable[..., Terminal]
) -> None:
    screen = terminal("top")
    screen.sees("there are no runs yet")
    os.kill(screen.pid_of("top"), signal.SIGTERM)
    screen.sees("before", "left with 143")


def test_it_ends_with_its_terminal(hostler: Hostler, terminal: Callable[..., Terminal]) -> None:
    screen = terminal("top")
    screen.sees("there are no runs yet")
    pid = screen.pid_of("top")
    screen.close()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), what="the process's end")


def test_without_a_terminal_it_says_what_to_do_instead(hostler: Hostler) -> None:
    hostler("top").refused("needs a terminal", "hostler status RUN")


def test_without_textual_it_says_what_to_install(
    hostler: Hostler, terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    (tmp_path / "textual.py").write_text("raise ImportError('not here')\n")
    screen = terminal("top", PYTHONPATH=str(tmp_path))
    screen.sees("hostler: hostler top needs the package Textual: pip install 'hostler[top]'", "left with 2")


def test_a_store_that_can_t_be_used_is_told_of_before_anything_is_drawn(
    hostler: Hostler, terminal: Callable[..., Terminal]
) -> None:
    (hostler.folder / "state").mkdir(mode=0o700)
    (hostler.folder / "state" / "store.db").write_bytes(b"no database at all, " * 500)
    terminal("top").sees("damaged, or not a hostler store", "left with 6")


def test_a_run_that_there_is_none_of_is_refused_before_anything_is_drawn(
    terminal: Callable[..., Terminal],
) -> None:
    terminal("top", "last").sees("no run last: there are no runs yet", "left with 2")
