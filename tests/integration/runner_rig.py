"""A runner begun through `sh -c` with pipes in place of an SSH session: every byte of the line is the test's own.

Everything is synchronous and bounded in time. It must never be used where a real line matters: the contract suite
has those.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import CodeType
from typing import IO, Any

import pytest
from msgspec.structs import replace

from hostler.links.decode import decode
from hostler.model.reports import Lost, Output, Report, Result
from hostler.remote import source
from hostler.remote.runner import wire

SECONDS = 40.0


def eventually(true: Callable[[], object], what: str = "") -> Any:
    """Look again and again until it is so; what it was."""
    until = time.monotonic() + SECONDS
    while not (found := true()):
        if time.monotonic() > until:
            pytest.fail(f"never so: {what or true}")
        time.sleep(0.02)
    return found


class Forked:
    """What an SSH session would have begun, as a fork of this process that runs `code`: a hundred cost a second."""

    def __init__(self, code: CodeType) -> None:
        sys.stdout.flush()
        pipes = [os.pipe(), os.pipe(), os.pipe()]
        self.pid = os.fork()
        if not self.pid:
            try:
                for number, (reading, writing) in enumerate(pipes):
                    os.dup2(writing if number else reading, number)
                os.closerange(3, 256)
                sys.stderr = open(2, "w")  # noqa: SIM115
                exec(code, {"__name__": "__hostler__"})
            except SystemExit as error:
                if error.code:
                    print(error.code, file=sys.stderr, flush=True)
            finally:
                os._exit(0)
        for number, (reading, writing) in enumerate(pipes):
            os.close(reading if not number else writing)
        self.stdin: IO[bytes] = os.fdopen(pipes[0][1], "wb", buffering=0)
        self.stdout: IO[bytes] = os.fdopen(pipes[1][0], "rb", buffering=0)
        self.stderr: IO[bytes] = os.fdopen(pipes[2][0], "rb", buffering=0)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its end, if it has come."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, seconds: float = SECONDS) -> int:
        """Wait for its end."""
        eventually(lambda: self.poll() is not None, "the end of a session's process")
        return self.returncode or 0


class Attached:
    """A relay played by the test itself: its pipes are handed to the runner through the socket in its spool."""

    def __init__(self, spool: Path, hello: bytes) -> None:
        pipes = [os.pipe(), os.pipe()]
        folder = os.open(spool, os.O_RDONLY)
        self.leash = socket.socket(socket.AF_UNIX)
        self.leash.connect(f"/proc/self/fd/{folder}/socket")
        os.close(folder)
        socket.send_fds(self.leash, [b"+"], [pipes[0][0], pipes[1][1]])
        self.leash.sendall(hello)
        os.close(pipes[0][0])
        os.close(pipes[1][1])
        self.stdin: IO[bytes] = os.fdopen(pipes[0][1], "wb", buffering=0)
        self.stdout: IO[bytes] = os.fdopen(pipes[1][0], "rb", buffering=0)
        self.stderr: IO[bytes] = open(os.devnull, "rb")  # noqa: SIM115

    def wait(self, seconds: float = SECONDS) -> int:
        """There is nothing to wait for."""
        self.leash.close()
        return 0


@cache
def runner_code(*changes: tuple[str, str]) -> CodeType:
    """The runner, compiled; with changes to its text (a smaller limit, say)."""
    return compile(runner_source(*changes), "<runner>", "exec")


def runner_source(*changes: tuple[str, str]) -> str:
    """The runner's source, with changes to its text."""
    text = source.source().decode()
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the runner"
        text = text.replace(old, new)
    return text


class Line:
    """A controller's end of one line to a runner."""

    def __init__(self, process: subprocess.Popen[bytes] | Forked | Attached) -> None:
        self.process = process
        assert process.stdin is not None and process.stdout is not None
        self.stdin, self.stdout = process.stdin, process.stdout
        self.frames = wire.Frames()
        self.noise = b""
        self.greeted = False
        self.heard: list[tuple[int, bytes]] = []
        self.reports: list[Report] = []
        self.over = False
        self.renewal = 0

    def send(self, *frames: bytes) -> None:
        """Say something; a line that is gone takes it, too."""
        with suppress(BrokenPipeError):
            self.stdin.write(b"".join(frames))

    def hello(self, **said: Any) -> None:
        """Say hello; to an interpreter, the source comes before it."""
        if isinstance(self.process, subprocess.Popen):
            self.send(source.parcel())
        self.send(wire.frame(wire.HELLO, json.dumps(said).encode()))

    def read(self, seconds: float = SECONDS) -> bool:
        """Take in what comes next; False at the end of the line, or after that many seconds."""
        if self.over or not select.select([self.stdout], [], [], seconds)[0]:
            return False
        data = os.read(self.stdout.fileno(), 1 << 16)
        if not data:
            self.over = True
            return False
        if not self.greeted:
            self.noise += data
            before, found, data = self.noise.partition(wire.MAGIC)
            if not found:
                return True
            self.greeted, self.noise = True, before
        for kind, body in self.frames.feed(data):
            self.heard.append((kind, body))
            if kind == wire.R_RENEWED:
                self.renewal = wire.NUMBER.unpack(body)[0]
            elif kind not in (wire.R_HELLO, wire.R_BYE):
                self.reports += decode(kind, body)
        return True

    def until(self, true: Callable[[], object], what: str = "") -> Any:
        """Read until something is so; what it was."""
        until = time.monotonic() + SECONDS
        while not (found := true()):
            if time.monotonic() > until or not self.read(max(0.01, until - time.monotonic())):
                pytest.fail(f"never came: {what}; over: {self.over}; {self.reports[-5:]}; {self.errors()}")
        return found

    def answer(self) -> dict[str, Any]:
        """The runner's hello."""
        return self.until(lambda: [json.loads(b) for k, b in self.heard if k == wire.R_HELLO], "its hello")[0]

    def end(self) -> bytes:
        """Read to the end of the line; why the runner let go."""
        until = time.monotonic() + SECONDS
        while self.read():
            assert time.monotonic() < until
        assert self.over, "the line is still open"
        return next((body for kind, body in self.heard if kind == wire.R_BYE), b"")

    def errors(self) -> str:
        """What came on stderr so far."""
        assert self.process.stderr is not None
        os.set_blocking(self.process.stderr.fileno(), False)
        return (self.process.stderr.read() or b"").decode()

    # -- what a controller says -------------------------------------------------------------------------------

    def ready(self, credit: int = 1 << 20) -> None:
        """Let output and results come."""
        self.send(wire.frame(wire.HELLO, b""), wire.frame(wire.CREDIT, wire.NUMBER.pack(credit)))

    def start(self, serial: int, *words: str | bytes, shell: bool = False, timeout: float = 0.0) -> None:
        """Start one attempt; a single word is a script for sh."""
        self.send(start_frame(serial, *words, shell=shell, timeout=timeout))

    def renew(self) -> None:
        """Renew the lease."""
        now = int(time.monotonic() * 1e6)
        self.send(wire.frame(wire.RENEW, wire.RENEWAL.pack(now, self.renewal)))

    def ack(self, *serials: int) -> None:
        self.send(wire.frame(wire.ACK, wire.numbers(list(serials))))

    def kill(self, *serials: int, grace: float = 0.3, ending: str = "cancelled") -> None:
        body = wire.KILL.pack(grace, wire.ENDINGS.index(ending)) + wire.numbers(list(serials))
        self.send(wire.frame(wire.KILLS, body))

    def credit(self, size: int) -> None:
        self.send(wire.frame(wire.CREDIT, wire.NUMBER.pack(size)))

    def follow(self, serial: int, out: int, err: int) -> None:
        self.send(wire.frame(wire.FOLLOWS, wire.FOLLOW.pack(serial, out, err)))

    def bye(self) -> None:
        self.send(wire.frame(wire.BYE, b""))

    # -- what came --------------------------------------------------------------------------------------------

    def of(self, kind: type, serial: int | None = None) -> list[Any]:
        """The reports of one kind, about one attempt or all."""
        found = [report for report in self.reports if isinstance(report, kind)]
        return [report for report in found if serial is None or getattr(report, "serial", 0) == serial]

    def one(self, kind: type, serial: int) -> Any:
        """Wait for the first report of this kind about this attempt."""
        return self.until(lambda: self.of(kind, serial), f"{kind.__name__} of {serial}")[0]

    def result(self, serial: int) -> Result:
        """Wait for an attempt's result, with its output if all of it is here: what takes longer is streamed."""
        self.until(lambda: self.of(Result, serial) or self.of(Lost, serial), f"result of {serial}")
        told: Result = self.one(Result, serial)
        out, err = self.stream(serial, 1), self.stream(serial, 2)
        if (len(out), len(err)) != (told.out_size, told.err_size):
            return told
        return replace(told, out=out, err=err)

    def stream(self, serial: int, stream: int) -> bytes:
        """What came of a stream, in order."""
        result = self.of(Result, serial)
        if result and result[0].out is not None:
            return bytes(result[0].out if stream == 1 else result[0].err)
        return b"".join(o.data for o in self.of(Output, serial) if o.stream == stream)

    def close(self) -> None:
        """Hang up, as an SSH session does: both directions at once."""
        with suppress(OSError):
            self.stdin.close()
        self.stdout.close()
        if self.process.stderr is not None:
            self.process.stderr.close()


def start_frame(serial: int, *words: str | bytes, shell: bool = False, timeout: float = 0.0) -> bytes:
    """The message that starts one attempt; a single word is a script for sh."""
    given = tuple(word if isinstance(word, bytes) else word.encode() for word in words)
    if len(given) == 1 and not shell:
        given = (b"/bin/sh", b"-c", *given)
    return wire.frame(wire.STARTS, wire.pack_starts([(serial, serial + 100, 1, given, shell, timeout)]))


class Rig:
    """One account on a host, as far as a runner can tell: a base folder, a run, and lines to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = folder / "base"
        self.uid, self.token = secrets.token_hex(16), secrets.token_hex(8)
        self.lines: list[Line] = []
        self.hello: dict[str, Any] = {
            "protocol": wire.PROTOCOL, "uid": self.uid, "token": self.token, "run": 7, "host": "rig", "epoch": 1,
            "slots": 4, "lease": 60.0, "grace": 0.3, "ask": [], "spool": str(self.base), "shell": None,
        }  # fmt: skip
        self.env: dict[str, str] | None = None
        self.command: Sequence[str] = ("/bin/sh", "-c", source.command())
        self.cwd: Path | None = None
        self.changes: list[tuple[str, str]] = []

    @property
    def spool(self) -> Path:
        """The runner's folder."""
        return self.base / "hostler" / self.uid / self.token

    def call(self) -> Line:
        """Begin what an SSH session begins, by a shell and an interpreter; nothing has been said yet."""
        process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
            env=self.env, cwd=self.cwd,
        )  # fmt: skip
        self.lines.append(Line(process))
        return self.lines[-1]

    def fork(self) -> Line:
        """The same without a shell and an interpreter of its own: quick, and with the rig's changes to the runner."""
        self.lines.append(Line(Forked(runner_code(*self.changes))))
        return self.lines[-1]

    def attach(self, *, ready: bool = True, credit: int = 1 << 30, renew: bool = True, **said: Any) -> Line:
        """A line to the runner that lives, which has answered; without `renew`, its answer is left unheard."""
        hello = wire.frame(wire.HELLO, json.dumps({**self.hello, **said}).encode())
        self.lines.append(Line(Attached(self.spool, hello)))
        if not renew:
            self.lines[-1].answer()
            return self.lines[-1]
        return self.greeted(self.lines[-1], ready, credit)

    def line(self, *, ready: bool = True, credit: int = 1 << 30, real: bool = False, **said: Any) -> Line:
        """A line to the runner, which has answered; `real` by way of a shell and an interpreter."""
        line = self.call() if real else self.fork()
        line.hello(**{**self.hello, **said})
        return self.greeted(line, ready, credit)

    def greeted(self, line: Line, ready: bool, credit: int) -> Line:
        """Wait for the runner's answer, and answer that."""
        line.answer()
        line.send(wire.frame(wire.RENEW, wire.RENEWAL.pack(1, 0)))
        if ready:
            line.ready(credit)
        return line

    def number(self, name: str) -> int:
        """Wait for a file in the rig's folder with a number in it, a pid say."""
        path = self.folder / name
        return int(eventually(lambda: path.exists() and path.read_text().strip(), f"a number in {name}"))

    def processes(self) -> dict[int, str]:
        """Runners and jobs of this rig, by what stands in their environment or where they have files open."""
        found = {}
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) != os.getpid():
                with suppress(OSError):
                    environ = Path(f"/proc/{name}/environ").read_bytes()
                    files = [os.readlink(f"/proc/{name}/fd/{fd}") for fd in os.listdir(f"/proc/{name}/fd")]
                    ours = any(file.startswith(str(self.folder)) for file in files)
                    if f"HOSTLER_ATTEMPT={self.uid}".encode() in environ or ours:
                        found[int(name)] = (
                            Path(f"/proc/{name}/cmdline").read_bytes().decode("utf-8", "replace")
                        )
        return found

    def deserted(self) -> bool:
        """Whether neither a process nor a folder of the run is left."""
        return not self.processes() and not self.spool.parent.exists()

    def clean(self) -> None:
        """End everything that a test has begun."""
        for line in self.lines:
            line.close()
        for _ in range(500):
            left = self.processes()
            if not left:
                break
            for pid in left:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        for line in self.lines:
            line.process.wait(SECONDS)


@contextmanager
def rigged(folder: Path) -> Iterator[Rig]:
    """A rig in a folder, cleaned up afterwards."""
    rig = Rig(folder)
    try:
        yield rig
    finally:
        rig.clean()


def cpu_seconds(pid: int) -> float:
    """The time that a process has spent on a processor, without its children."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def bare_environment(**words: str) -> Mapping[str, str]:
    """The environment of an account that has set nothing."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/no/home/of/a/rig", **words}
