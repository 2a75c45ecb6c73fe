"""Quoting, judged by the shells themselves."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostler.errors import UsageError
from hostler.remote import attempt_source, source
from hostler.shell.quoting import join, quote

HOSTILE = [
    b"", b" ", b"a b", b"'", b"''", b'"', b"\\", b"\\'", b"'\\''", b"$HOME", b"$(id)", b"`id`", b";id", b"a\nb", b"\n",
    b"\r\n", b"*", b"~", b"~root", b"-n", b"--", b"#x", b"!!", b"{a,b}", b"[a]", b"A=b", b"if", b"&", b"|", b">f",
    b"\xff\xfe", b"\x01\x7f\x1b[31m",
    "é…".encode(), b"\t", b"%s\\n", b"$'x'", b"a'b\"c`d$e\\f\ng", b"'" * 50, b"x" * 100_000,
]  # fmt: skip


#: Everything that may run a shell job: sh, whatever that is, and accounts' shells that speak it.
SHELLS = [name for name in ("/bin/sh", "dash", "bash", "zsh") if shutil.which(name)]
LOGINS = [name for name in ("sh", "bash", "zsh", "csh", "tcsh", "fish") if shutil.which(name)]


def read_back(shell: str, text: bytes) -> list[bytes]:
    done = subprocess.run([shell], input=text, capture_output=True, check=True)
    assert done.stderr == b""
    return done.stdout.split(b"\0")[:-1]


@pytest.mark.parametrize("shell", SHELLS)
def test_hostile_words_come_back_from_a_shell_as_they_went(shell: str) -> None:
    script = b"printf '%s\\0' " + b" ".join(map(quote, HOSTILE)) + b"\n"
    assert read_back(shell, script) == HOSTILE
    assert read_back(shell, join([b"printf", b"%s\\0", *HOSTILE])) == HOSTILE


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=40).map(lambda word: word.replace(b"\0", b"'")), min_size=1, max_size=30))
def test_any_words_come_back_from_every_shell(words: list[bytes]) -> None:
    for shell in SHELLS:
        assert read_back(shell, join([b"printf", b"%s\\0", *words])) == words
        assert read_back(shell, b"printf '%s\\0' " + b"".join(map(quote, words)) + b"\n") == [b"".join(words)]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("name", [b"if", b"while", b"A=1", b"time", b"{", b"!", b"a b", b"~", b"[[", b"-x=y"])
def test_the_first_word_is_a_commands_name_and_nothing_else(shell: str, name: bytes, tmp_path) -> None:
    program = tmp_path / name.decode()
    program.write_bytes(b"#!/bin/sh\nprintf ran\n")
    program.chmod(0o755)
    script = b"PATH=" + quote(str(tmp_path).encode()) + b":$PATH\n" + join([name]) + b"\n"
    done = subprocess.run([shell], input=script, capture_output=True, check=False)
    assert done.stdout == b"ran"


@pytest.mark.parametrize("login", LOGINS)
def test_the_line_that_a_login_shell_is_given_comes_through_it_as_it_is(login: str, tmp_path: Path) -> None:
    """csh and fish quote otherwise than sh: what they are given has nothing in it that they would read in their way."""
    mark = "print(*[repr(word) for word in sys.argv], sep=chr(10))"
    lines = {
        "runner": source.command(), "by sudo": source.command_as("deploy", prompt="hostler-0:"),
        "sh": attempt_source.BOOT,
    }  # fmt: skip
    fake = tmp_path / "exec-me"
    fake.write_text(f"#!{sys.executable}\nimport sys\n{mark}\n")
    fake.chmod(0o755)
    for name, line in lines.items():
        assert line.startswith("exec /bin/sh ")
        shown = line.replace("exec /bin/sh ", f"exec {fake} ", 1)
        done = subprocess.run(
            [login, "-c", shown], capture_output=True, check=True, env={"HOME": str(tmp_path)}
        )
        assert done.stderr == b"", name
        inside = line.removeprefix("exec /bin/sh -c '").removesuffix("'")
        assert done.stdout.decode().splitlines()[1:] == [repr("-c"), repr(inside)], name


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(max_size=40).map(lambda word: word.replace(b"\0", b"!")), min_size=1, max_size=20))
def test_words_for_attempt_sh_come_back_from_what_it_reads_them_by(words: list[bytes]) -> None:
    """One line each, newlines by a variable; read by eval, from a line that `read -r` took in."""
    text = b" ".join(map(attempt_source.argument, words))
    assert b"\n" not in text
    for shell in ("dash", "bash"):
        script = b"_hl='\n'\nIFS= read -r line\neval \"set -- $line\"\nprintf '%s\\0' \"$@\"\n"
        done = subprocess.run([shell, "-c", script], input=text + b"\n", capture_output=True, check=True)
        assert done.stdout.split(b"\0")[:-1] == words


def test_words_that_need_no_quotes_are_left_readable() -> None:
    assert join([b"ls", b"-l", b"--color=no", b"/tmp/a.b"]) == b"ls -l --color=no /tmp/a.b"
    assert quote(b"ls") == b"'ls'"


def test_nul_and_no_words_are_refused() -> None:
    for refused in (lambda: quote(b"a\0b"), lambda: join([b"a", b"\0"])):
        with pytest.raises(UsageError, match="can't hold a NUL byte"):
            refused()
    with pytest.raises(UsageError, match="the command is empty"):
        join([])
