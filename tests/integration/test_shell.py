"""`hostler shell HOST`, typed at on a real terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.command import PROGRAM, Hostler
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.lab import wait_until


class Terminal:
    """A terminal with a command at it: what was shown so far, and a way to type."""

    def __init__(self, process: subprocess.Popen[bytes], fd: int) -> None:
        self.process, self._fd, self.shown = process, fd, b""

    def type(self, text: bytes) -> None:
        os.write(self._fd, text)

    def has(self, text: bytes) -> bool:
        """Whether this has been shown."""
        while select.select([self._fd], [], [], 0)[0]:
            try:
                data = os.read(self._fd, 1 << 16)
            except OSError:
                data = b""
            if not data:
                break
            self.shown += data
        return text in self.shown

    def wait(self, text: bytes) -> None:
        wait_until(lambda: self.has(text), what=f"{text!r} on a terminal")

    def end(self) -> int:
        wait_until(lambda: self.has(b"\0never") or self.process.poll() is not None)
        self.has(b"")
        assert self.process.returncode is not None
        return self.process.returncode


@contextmanager
def at_terminal(hostler: Hostler, *words: str) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [PROGRAM, *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=hostler.env,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()
        os.close(ours)


def test_a_login_shell_is_typed_at_and_its_exit_code_is_ours(hostler: Hostler) -> None:
    with at_terminal(hostler, "shell", "sandbox1") as terminal:
        wait_until(lambda: terminal.has(b"# ") or terminal.has(b"$ "), what="a prompt")
        terminal.type(b"tty >/dev/null && echo is$((6*7)); exit 3\r")
        terminal.wait(b"is42")
        assert terminal.end() == 3, terminal.shown


def test_a_command_gets_a_terminal_and_its_words_arrive_as_they_left(hostler: Hostler) -> None:
    text = "[ -t 0 ] && printf '<%s>' \"$@\""
    with at_terminal(
        hostler, "shell", "sandbox1", "--", "sh", "-c", text, "-", "a b", "it's $HOME"
    ) as terminal:
        assert terminal.end() == 0 and b"<a b><it's $HOME>" in terminal.shown, terminal.shown


def test_ctrl_c_goes_to_what_runs_there_and_nothing_is_left_when_the_terminal_goes(
    hostler: Hostler, tmp_path: Path
) -> None:
    mark = tmp_path / "interrupted"
    script = f"trap 'echo caught > {mark}' INT; echo ready; while :; do sleep 0.1; done"
    with at_terminal(hostler, "shell", "sandbox1", "--", "sh", "-c", script) as terminal:
        terminal.wait(b"ready")
        terminal.type(b"\x03")
        wait_until(mark.exists)
        assert terminal.process.poll() is None


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("shell", "sandbox1"), "for a terminal"),
        (("shell",), "HOST"),
    ],
)
def test_what_is_no_terminal_is_refused_in_one_line(
    hostler: Hostler, words: tuple[str, ...], why: str
) -> None:
    hostler(*words).refused(why)


def test_several_hosts_and_a_host_out_of_reach_are_one_line(hostler: Hostler) -> None:
    with at_terminal(hostler, "shell", "@sandbox") as terminal:
        assert terminal.end() == 2 and b"a terminal is on one" in terminal.shown
    with at_terminal(hostler, "shell", "me@127.0.0.1:9") as terminal:
        assert terminal.end() == 4 and b"connection refused" in terminal.shown.lower(), terminal.shown
