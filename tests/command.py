"""The real `hostler` command as a person runs it: a process of its own, a state folder of its own, a deadline.

    from tests.command import ALL, Hostler, ground, hostler      # fixtures: two hosts for the session, a command

    def test_it(hostler): assert hostler("batch", *ALL, "--", "echo", ":::", "a").out == b"a\n"

Jobs run on hosts of this machine: what they append to a file of the test is the judge of what was really done.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hostler.model.hosts import Host
from tests.lab import Lab, lab_environment, wait_until

#: The words that name every host of the ground.
ALL = ("--hosts", "@sandbox")
#: A job that waits for a word: $1 is the effects' file, $2 the job.
WAITING = """echo "begun $2" >> "$1"; i=0
while [ ! -e "$1.go" ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done; echo "done $2" >> "$1"; echo "$2\""""
PROGRAM = Path(sys.executable).with_name("hostler")
MARK = b"HOSTLER_ATTEMPT="


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command ended."""

    code: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines of its stdout."""
        return self.out.decode().splitlines()

    def refused(self, *words: str, code: int = 2) -> None:
        """Fail unless it ended with `code` and said why on exactly one line of stderr that holds all `words`."""
        assert self.code == code, (self.code, self.err)
        lines = self.err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("hostler: "), self.err
        for word in words:
            assert word in self.err, (word, self.err)


class Running:
    """A command at work; its output is in files, so that it never waits for us."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process, self._out, self._err = process, out, err

    @property
    def out(self) -> bytes:
        """What it has printed to stdout so far."""
        return self._out.read_bytes()

    @property
    def err(self) -> str:
        """What it has printed to stderr so far."""
        return self._err.read_text(errors="replace")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self, seconds: float = 60.0) -> Done:
        """Wait for its end."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(
                f"did not end within {seconds:.0f} s; stderr:\n{self.err}\nstdout:\n{self.out[-2000:]!r}"
            )
        return Done(code=code, out=self.out, err=self.err)

    def kill(self) -> None:
        """End it as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


class Hostler:
    """The command with a state folder of its own, on one Lab's hosts."""

    #: Words before the command's own: a program that runs it in surroundings of its own.
    within: tuple[str, ...] = ()

    def __init__(self, folder: Path, lab: Lab, **env: str) -> None:
        self.folder, self.lab = folder, lab
        home = folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        self.env = lab_environment(lab, HOSTLER_STATE_DIR=str(folder / "state"), HOME=str(home), TERM="dumb")
        for name in ("NO_COLOR", "SSH_AUTH_SOCK"):
            self.env.pop(name, None)
        self.env |= env
        self._begun: list[Running] = []

    def start(
        self, *words: str | bytes, stdin: bytes | int | None = b"", stdout: int | None = None,
        stderr: int | None = None, cwd: Path | None = None, env: Mapping[str, str] | None = None,
    ) -> Running:  # fmt: skip
        """Begin a command; `stdin` is what it reads, a descriptor, or None for /dev/null."""
        with contextlib.ExitStack() as stack:
            number = len(self._begun)
            out, err = self.folder / f"out{number}", self.folder / f"err{number}"
            given: int = subprocess.DEVNULL
            if isinstance(stdin, bytes):
                file = stack.enter_context(tempfile.TemporaryFile())
                file.write(stdin)
                file.seek(0)
                given = file.fileno()
            elif stdin is not None:
                given = stdin
            process = subprocess.Popen(
                [*self.within, PROGRAM, *words],
                stdin=given,
                stdout=stack.enter_context(out.open("wb")) if stdout is None else stdout,
                stderr=stack.enter_context(err.open("wb")) if stderr is None else stderr,
                env={**self.env, **(env or {})},
                cwd=cwd or self.folder,
            )
        for path in (out, err):
            path.touch()
        self._begun.append(Running(process, out, err))
        return self._begun[-1]

    def __call__(
        self, *words: str | bytes, stdin: bytes | None = b"", seconds: float = 60.0, **env: str
    ) -> Done:
        """Run a command to its end."""
        return self.start(*words, stdin=stdin, env=env).wait(seconds)

    def json(self, *words: str) -> Any:
        """The JSON that a command prints."""
        done = self(*words, "--json")
        assert done.code == 0, done.err
        return json.loads(done.out)

    def uid(self, run: str = "last") -> str:
        """A run's uid."""
        return str(self.json("status", run)["uid"])

    def spec(self, run: str) -> dict[str, Any]:
        """What a run is to do, as its store has it."""
        with contextlib.closing(sqlite3.connect(self.folder / "state" / "store.db")) as db:
            (text,) = db.execute("SELECT spec FROM run WHERE number = ?", (int(run),)).fetchone()
        return dict(json.loads(text))

    def close(self) -> None:
        """End what a test left."""
        for running in self._begun:
            if running.process.poll() is None:
                running.kill()


class Effects:
    """A file to which jobs append a line each: what was really done, whatever anybody says about it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def waiting(self, *jobs: str) -> list[str]:
        """The end of a command line: jobs that write "begun JOB", wait for `go` a minute at most, write "done JOB"."""
        return ["--", "sh", "-c", WAITING, "-", str(self.path), "{}", ":::", *jobs]

    def go(self) -> None:
        """Let jobs that wait end."""
        Path(f"{self.path}.go").touch()

    @property
    def lines(self) -> list[str]:
        """All whole lines so far, in the order in which they were written."""
        try:
            text = self.path.read_text()
        except FileNotFoundError:
            return []
        return text[: text.rfind("\n") + 1].splitlines()

    @property
    def counts(self) -> Counter[str]:
        """How often each line stands there."""
        return Counter(self.lines)

    def wait(self, count: int, word: str = "", *, seconds: float = 30.0) -> None:
        """Wait until at least `count` lines begin with `word`."""
        wait_until(
            lambda: sum(line.startswith(word) for line in self.lines) >= count,
            seconds=seconds,
            what=f"{count} lines {word!r} in the effects; there are {self.counts}",
        )


def survivors(uid: str) -> dict[int, str]:
    """Living processes of a run's attempts, by pid, with the attempt's name."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            words = Path("/proc", pid, "environ").read_bytes().split(b"\0")
            for word in words:
                if word.startswith(MARK + uid.encode()):
                    found[int(pid)] = word[len(MARK) :].decode()
    return found


def sessions(lab: Lab, host: Host) -> list[int]:
    """The sshd processes below a host's own one: ending them cuts the lines to it, and nothing else ends by that."""
    mark, listener, children = lab.id(host).encode(), 0, {}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(OSError):
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
            if title.startswith(b"sshd: "):
                children[pid] = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
                if mark in title and b"[listener]" in title:
                    listener = pid
    assert listener, f"no sshd of {host.name}"
    return [pid for pid, parent in children.items() if parent == listener]


@pytest.fixture(scope="session")
def ground() -> Iterator[Lab]:
    """Two hosts for all tests that do them no harm: sandbox1 and sandbox2."""
    with Lab() as lab:
        lab.shared(2)
        yield lab


@pytest.fixture
def hostler(tmp_path: Path, ground: Lab) -> Iterator[Hostler]:
    """The command, for one test."""
    made = Hostler(tmp_path, ground)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def effects(tmp_path: Path) -> Effects:
    """Where this test's jobs write what they do."""
    return Effects(tmp_path / "effects")


def at_the_same_time(effects: Effects) -> int:
    """How many jobs ran at once at most, by lines "+ …" at a job's beginning and "- …" at its end."""
    now = most = 0
    for line in effects.lines:
        now += 1 if line.startswith("+") else -1
        most = max(most, now)
    return most
