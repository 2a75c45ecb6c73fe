"""`hostler batch` with --user, --as and --as-password, as people use them; and what it says when they slip."""

from __future__ import annotations

import os
import pty
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import PROGRAM, Hostler
from tests.lab import Lab
from tests.town import Town

SECRET = "correct horse"
SUDOERS = "anna ALL=(deploy) ALL"
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="accounts of one's own can only be made by root")


@pytest.fixture
def hostler(tmp_path: Path) -> Iterator[Hostler]:
    """The command, knowing no hosts of its own."""
    with Lab() as lab:
        made = Hostler(tmp_path, lab)
        yield made
        made.close()


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    """One who logs in, and one whom she becomes."""
    shells = dict.fromkeys(("anna", "deploy"), "/bin/sh")
    with Town(shells, sudoers=SUDOERS, passwords={"anna": SECRET}) as made:
        yield made


@pytest.fixture
def hosts(town: Town, hostler: Hostler) -> str:
    """An inventory whose host names no user."""
    path = hostler.folder / "hosts.yaml"
    path.write_text(town.inventory("anna").replace("user: anna, ", ""))
    return str(path)


@needs_root
def test_a_batch_runs_as_another_account_and_is_gone_on_with_as_that(hostler: Hostler, hosts: str) -> None:
    secret = hostler.folder / "secret"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    whom = ("-i", hosts, "--user", "anna", "--as", "deploy")
    done = hostler(
        "batch", *whom, "--as-password", f"file:{secret}", "--shell", "--", "id -un; exit {}", ":::", "3"
    )
    assert (done.code, done.out) == (1, b"deploy\n")
    assert hostler.spec("1")["as_user"] == "deploy"
    done = hostler("batch", "--retry", "1", "--as-password", "env:PW", PW=SECRET)
    assert (done.code, done.out) == (1, b"deploy\n"), done.err
    for file in (hostler.folder / "state").rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file


@needs_root
def test_a_refusal_of_sudo_is_one_line_that_names_the_host(hostler: Hostler, hosts: str) -> None:
    whom = ("-i", hosts, "--user", "anna", "--as", "deploy", "--", "true", ":::", "1")
    done = hostler("batch", *whom)
    assert done.code == 4
    line, *_ = [line for line in done.err.splitlines() if "sudo refused" in line]
    assert "anna" in line and "sudo refused to run as deploy: sudo: a password is required" in line
    assert "--as-password" in line
    done = hostler("batch", "--as-password", "env:PW", *whom, PW="wrong one")
    assert done.code == 4 and "sudo did not take the password given for deploy" in done.err
    assert "wrong one" not in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--as", "a b"], ["--as 'a b'", "not a login name"]),
        (["--user", "-x"], ["--user", "not a login name"]),
        (["--as-password", "ask"], ["--as USER"]),
        (["--as", "x", "--as-password", "hunter2"], ["file:PATH", "never the secret itself"]),
        (["--as", "x", "--as-password", "env:NOT_SET"], ["NOT_SET is not in the environment"]),
        (["--as", "x", "--as-password", "file:/no/such"], ["file:/no/such", "No such file"]),
        (["--as", "x", "--as-password", "file:/etc/hostname"], ["others may read it", "chmod 600"]),
        (["--as", "x", "--as-password", "fd:99"], ["fd:99", "Bad file descriptor"]),
        (["--as", "x", "--as-password", "fd:0"], ["both be read from stdin"]),
        (["--resume", "1", "--as", "x"], ["--as: a run that goes on keeps"]),
        (["--resume", "1", "--pty"], ["--pty: a run that goes on keeps"]),
        (["--output-limit", "1K"], ["--output-limit 1K: must be at least 64K"]),
        (["--output-limit", "much"], ["--output-limit: 'much' is not an amount of bytes"]),
        (["--spool-max", "0%"], ["--spool-max 0%: must be from 1% to 100%"]),
        (["--spool-max", "10"], ["--spool-max 10: must be at least 1024K"]),
        (["--spool-keep", "soon"], ["--spool-keep: 'soon'"]),
    ],
    ids=lambda words: " ".join(words),
)
def test_a_slip_is_told_in_one_line(hostler: Hostler, words: list[str], said: list[str]) -> None:
    rest = [] if "--resume" in words else ["--hosts", "nowhere.invalid", "--", "true"]
    done = hostler("batch", *words, *rest, stdin=b"")
    done.refused(*said)
    assert "hunter2" not in done.err


def test_without_a_terminal_nobody_is_asked(hostler: Hostler) -> None:
    words = [
        str(PROGRAM),
        "batch",
        "--as",
        "x",
        "--as-password",
        "ask",
        "--hosts",
        "h",
        "--",
        "true",
        ":::",
        "1",
    ]
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.setsid()
        os.dup2(writing, 2)
        os.execve(words[0], words, hostler.env)
    os.close(writing)
    with open(reading, "rb") as err:
        text = err.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert text.count(b"\n") == 1 and b"there is no terminal to ask on" in text


@needs_root
def test_a_password_is_asked_for_on_the_terminal_and_not_shown(hostler: Hostler, hosts: str) -> None:
    words = [
        "batch",
        "-i",
        hosts,
        "--user",
        "anna",
        "--as",
        "deploy",
        "--as-password",
        "ask",
        "--",
        "id",
        "-un",
    ]
    child, terminal = pty.fork()
    if not child:
        os.execve(PROGRAM, [str(PROGRAM), *words, ":::", "deploy"], hostler.env)
    seen, answered = b"", False
    while True:
        try:
            data = os.read(terminal, 4096)
        except OSError:
            break
        if not data:
            break
        seen += data
        if not answered and b"password for sudo: " in seen:
            answered = True
            os.write(terminal, SECRET.encode() + b"\n")
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, seen
    assert answered and SECRET.encode() not in seen and b"deploy" in seen
