"""Completion in real shells, at a real terminal: Tab is pressed, and what stands there then is read."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostler.cli.completing import candidates, words_of
from tests.command import ALL, PROGRAM, Hostler
from tests.command import ground as ground
from tests.command import hostler as hostler

SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
BEGIN = {
    "bash": "bind 'set enable-bracketed-paste off'; PS1='ready> '; source {}",
    "zsh": "PROMPT='ready> '; autoload -Uz compinit; compinit -D -u; source {}",
    "fish": "function fish_prompt; echo 'ready> '; end; set -g fish_autosuggestion_enabled 0; source {}",
}


class Terminal:
    """A shell at a terminal of its own."""

    def __init__(self, shell: str, hostler: Hostler) -> None:
        self.master, theirs = pty.openpty()
        env = hostler.env | {
            "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
            "TERM": "xterm",
            "COLUMNS": "200",
        }
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *SHELLS[shell]],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=env,
            cwd=hostler.folder,
        )
        os.close(theirs)
        self.seen = ""

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.master, text.encode())

    def wait(self, pattern: str, seconds: float = 20.0) -> None:
        """Read until the screen's text, without what only moves and colours, matches; then forget it."""
        end = time.monotonic() + seconds
        while not re.search(pattern, text := _plain(self.seen)):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.master], [], [], left)[0]:
                pytest.fail(f"{pattern!r} never came; the screen: {text!r}")
            read = os.read(self.master, 65536)
            # fish asks the terminal what it is, and waits a while for the answer.
            if b"\x1b[c" in read or b"\x1b[0c" in read:
                self.type("\x1b[?62c")
            self.seen += read.decode(errors="replace")
        self.seen = ""

    def close(self) -> None:
        """Hang up."""
        self._process.kill()
        self._process.wait()
        os.close(self.master)


def _plain(text: str) -> str:
    return re.sub(
        r"\x1b(\[[0-9;?=>]*[a-zA-Z]|[()][0-9A-Z]|\][^\x07\x1b]*(\x07|\x1b\\)|[=>78])|.\x08|[\r\x07]", "", text
    )


@pytest.fixture(params=SHELLS)
def terminal(request: pytest.FixtureRequest, hostler: Hostler) -> Iterator[Terminal]:
    """A shell that has learnt to complete."""
    shell = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} on this machine (make test installs it where it can)")
    script = hostler.folder / "completion"
    script.write_bytes(hostler("completion", shell).out)
    made = Terminal(shell, hostler)
    try:
        made.type(BEGIN[shell].format(script) + "\n")
        made.wait(r"ready> \s*\Z" if shell != "fish" else r"ready> ")
        yield made
    finally:
        made.close()


def test_a_shell_completes_verbs_flags_hosts_tags_and_runs(hostler: Hostler, terminal: Terminal) -> None:
    assert hostler("batch", *ALL, "--", "echo", ":::", "a").code == 0
    terminal.type("hostler unp\t")
    terminal.wait("hostler unpause ")
    terminal.type("\x15hostler batch --connect-t\t")
    terminal.wait("--connect-timeout ")
    terminal.type("1 --hosts @san\t")
    terminal.wait("--hosts @sandbox ")
    terminal.type("\x15hostler log la\t")
    terminal.wait("hostler log last ")
    terminal.type("\x15hostler batch --color=al\t")
    terminal.wait("--color=always")


def test_a_shell_completes_files_where_a_file_is_meant(hostler: Hostler, terminal: Terminal) -> None:
    (hostler.folder / "inventory-of-mine.yaml").write_text("hosts: {}\n")
    terminal.type("hostler batch -i inventory-o\t")
    terminal.wait(r"inventory-of-mine\.yaml")


def bash(hostler: Hostler, line: str, piece: str) -> list[str]:
    """COMPREPLY after Tab behind `line`, of which bash would replace `piece`."""
    script = (
        'eval "$(hostler completion bash)"; COMP_LINE=$1 COMP_POINT=${#1}; _hostler_complete hostler "$2" x; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script, "-", line, piece],
        env=hostler.env | {"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"},
        cwd=hostler.folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return [word for word in done.stdout.split("\n") if word]


def test_what_bash_is_given(hostler: Hostler) -> None:
    (hostler.folder / "hosts.yaml").write_text("hosts:\n  web1: {tags: [front]}\n  web2: {}\n")
    assert hostler("batch", *ALL, "--", "echo", ":::", *"abcdefghijkl").code == 0
    assert bash(hostler, "seq 3 | hostler batch --hosts web1,@fr", "fr") == []
    inventory = "hostler batch -i hosts.yaml"
    assert bash(hostler, f"{inventory} --hosts web1,@fr", "fr") == ["front"]
    assert bash(hostler, f"{inventory} --hosts 'web1,web", "web1,web") == ["web1,web1", "web1,web2"]
    assert bash(hostler, f"{inventory} -x root@web", "web") == ["web1", "web2"]
    assert bash(hostler, "hostler log last 1", "1") == ["1", "10", "11", "12"]
    assert bash(hostler, "hostler explain 1 sand", "sand") == ["sandbox1", "sandbox2"]
    assert bash(hostler, "hostler sandbox d", "d") == ["down"]
    assert bash(hostler, "hostler sandbox faults sandbox1 fr", "fr") == ["freeze", "freeze-runner"]
    assert bash(hostler, "hostler config show sandbox u", "u") == ["up"]
    assert bash(hostler, "hostler batch --resume ", "") == ["last", "1"]
    assert "--tag" in bash(hostler, "hostler batch --t", "--t")
    assert "--timeout" not in bash(hostler, "hostler batch --timeout 3 --ti", "--ti")


def test_nothing_is_said_whatever_goes_wrong(hostler: Hostler) -> None:
    (hostler.folder / "hostler.toml").write_text("what is this")
    (hostler.folder / "broken.yaml").write_text("hosts: [")
    for line in (
        "hostler nope ",
        "hostler batch -i broken.yaml --hosts ",
        "hostler log 99 ",
        "hostler log 'un",
    ):
        assert bash(hostler, line, "") == []
    (hostler.folder / "state").mkdir(mode=0o755, exist_ok=True)
    (hostler.folder / "state" / "store.db").write_text("no store")
    assert bash(hostler, "hostler status ", "") == []
    done = subprocess.run(
        [PROGRAM], env=hostler.env | {"_HOSTLER_COMPLETE": "bash"}, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_settings_tell_which_inventory_there_is(hostler: Hostler) -> None:
    (hostler.folder / "hosts.yaml").write_text("hosts:\n  web1: {}\n")
    path = hostler.folder / "hostler.toml"
    path.write_text("[all]\ninventory = 'hosts.yaml'\n")
    path.chmod(0o600)
    assert bash(hostler, "hostler batch --hosts we", "we") == ["web1"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("hostler ", [""]),
        ("/opt/bin/hostler batch", ["batch"]),
        ("FOO=1 hostler log 'a b' ", ["log", "a b", ""]),
        ('hostler batch --hosts "web', ["batch", "--hosts", "web"]),
        ("hostler batch --hosts a\\ b", ["batch", "--hosts", "a b"]),
    ],
)
def test_a_shells_line_in_words(line: str, words: list[str]) -> None:
    assert words_of(line) == words


def test_behind_the_cut_are_other_peoples_words(tmp_path: Path) -> None:
    assert [value for value, _ in candidates(["batch", "--", "ls"], "--h")] == ["\0files"]
    assert [value for value, _ in candidates(["batch", "--hosts"], "^")] == ["\0files"]


def test_completion_looks_without_what_only_a_run_needs() -> None:
    code = (
        "import sys\nfrom hostler.cli.completing import candidates\n"
        "for words in (['batch', '--hosts'], ['log'], ['batch']): list(candidates(words, ''))\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [PROGRAM.with_name("python"), "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {"asyncssh", "sqlalchemy", "alembic", "pydantic", "rich", "asyncio"}
    assert set(done.stdout.split()) & heavy == set()
