"""`hostler run` over logins of every kind, and as another account."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Hostler
from tests.lab import Lab, wait_until
from tests.town import Town

#: Long: `make test-all` tries these, `make test` what the shorter modules hold of the same.
pytestmark = pytest.mark.slow

SECRET = "correct horse"
NOISE = b"Welcome to \xff\xfe\x00 this host!\r\n\x1b[2J no newline"
SHELLS = {
    name: found for name in ("bash", "dash", "fish", "csh", "tcsh", "zsh") if (found := shutil.which(name))
}
#: Accounts whose start-up files print.
CHATTY = {
    "chatty": ("bash", ".bashrc"),
    "chattycsh": ("csh", ".cshrc"),
    "chattyfish": ("fish", ".config/fish/config.fish"),
}
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="accounts of one's own can only be made by root")


@pytest.fixture
def hostler(tmp_path: Path) -> Iterator[Hostler]:
    """The command, knowing no hosts of its own."""
    with Lab() as lab:
        made = Hostler(tmp_path, lab)
        yield made
        made.close()


def sleepers(town: Town) -> list[int]:
    """Living processes of a town's accounts that sleep for long: what a command here does."""
    found = []
    for pid in town.processes():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x00600\x00":
                found.append(pid)
    return found


@needs_root
def test_every_login_shell_runs_the_command_and_what_it_prints_is_not_taken_for_output(
    hostler: Hostler,
) -> None:
    accounts = dict(SHELLS)
    accounts |= {name: SHELLS[shell] for name, (shell, _) in CHATTY.items() if shell in SHELLS}
    with Town(accounts) as town:
        for name in CHATTY.keys() & accounts.keys():
            town.write(name, "noise", NOISE)
            town.write(name, CHATTY[name][1], "cat ~/noise; cat ~/noise >&2\n")
        (hostler.folder / "town.yaml").write_text(town.inventory(*accounts))
        done = hostler(
            "run", "all", "-i", "town.yaml", "-q", "-k", "--", "printf '%s\\n' \"$(id -un) it's\"; exit 255"
        )
        assert done.code == 1
        assert [line.split(" | ")[1] for line in done.lines] == [f"{name} it's" for name in accounts]
        assert "Welcome" not in done.err and done.err.count("exit 255") == 1, done.err
        done = hostler(
            "run", "all", "-i", "town.yaml", "-qN", "--group", "--", "printf", "%s|", "a b", "'!$", ""
        )
        assert done.out == b"a b|'!$||" * len(accounts), done.err
        done = hostler("run", "all", "-i", "town.yaml", "-q", "--timeout", "1s", "--", "sleep", "600")
        assert done.code == 3 and done.err.count("timeout after 1s") == 1
        wait_until(lambda: not sleepers(town), what="no command left")


@needs_root
def test_an_account_that_lets_nobody_run_anything_is_unreachable_with_what_it_said(hostler: Hostler) -> None:
    nologin = shutil.which("nologin") or "/usr/sbin/nologin"
    with Town({"shut": nologin}) as town:
        (hostler.folder / "town.yaml").write_text(town.inventory("shut"))
        done = hostler("run", "shut", "-i", "town.yaml", "--", "true")
        assert done.code == 4
        assert done.err.startswith("shut: unreachable: it runs no command of ours: it said 'This account"), (
            done.err
        )


@needs_root
def test_another_account_runs_it_by_sudo_with_its_streams_apart(hostler: Hostler) -> None:
    shells = dict.fromkeys(("anna", "deploy"), "/bin/sh")
    with Town(shells, sudoers="anna ALL=(deploy) ALL", passwords={"anna": SECRET}) as town:
        (hostler.folder / "town.yaml").write_text(town.inventory("anna"))
        words = ("run", "anna", "-i", "town.yaml", "-q", "--as", "deploy")
        asked = ("--as-password", "env:PW")
        done = hostler(*words, *asked, "--", "id -un; echo err >&2; exit 3", PW=SECRET)
        assert (done.code, done.out) == (1, b"anna | deploy\n")
        assert done.err.splitlines()[:2] == ["anna | err", "anna: exit 3"], done.err
        done = hostler(*words, *asked, "--timeout", "1s", "--", "sleep 600", PW=SECRET)
        assert done.code == 3, done.err
        wait_until(lambda: not sleepers(town), what="no command left")
        done = hostler(*words, *asked, "--", "true", PW="wrong")
        assert done.code == 4 and "sudo did not take the password given for deploy" in done.err, done.err
        done = hostler(*words, "--", "true")
        assert (
            done.code == 4 and "sudo refused to run as deploy" in done.err and "--as-password" in done.err
        ), done.err
