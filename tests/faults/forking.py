"""The command as forks of this process, which has read its code already: a fifth of the time of an interpreter each.

What runs is the command's own `main` with everything that a process of its own would have: arguments, environment,
folder, descriptors. It must never be used where how a process begins or exits is what is tried.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import cast

from tests.command import Hostler, Running

#: What a batch imports late.
MODULES = (
    "hostler.cli.batch",
    "hostler.cli.running",
    "hostler.wiring.batch",
    "asyncssh",
    "hostler.cli.looking",
)


class Forked:
    """A process as `subprocess.Popen` shows it, as far as `Running` asks."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative after a signal; None while it lives."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float = 60.0) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        until = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired("hostler", timeout)
            time.sleep(0.003)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it lives."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class QuickHostler(Hostler):
    """The command with a state folder of its own, without the start of an interpreter."""

    def start(
        self, *words: str | bytes, stdin: bytes | int | None = b"", stdout: int | None = None,
        stderr: int | None = None, cwd: Path | None = None, env: Mapping[str, str] | None = None,
        held: bool = False,
    ) -> Running:  # fmt: skip
        """Begin a command. One that is `held` has stopped itself before its first step, for a tracer to come."""
        _ready()
        number = len(self._begun)
        out, err, given = (self.folder / f"{name}{number}" for name in ("out", "err", "in"))
        assert isinstance(stdin, bytes) and stdout is None and stderr is None
        given.write_bytes(stdin)
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            code = 70
            try:
                for fd, path, flags in ((0, given, os.O_RDONLY), (1, out, MAKE), (2, err, MAKE)):
                    os.dup2(os.open(path, flags, 0o600), fd)
                os.closerange(3, 256)
                os.environ.clear()
                os.environ.update({**self.env, **(env or {})})
                os.chdir(cwd or self.folder)
                if held:
                    os.kill(os.getpid(), signal.SIGSTOP)
                code = _main([os.fsdecode(word) for word in words])
            finally:
                os._exit(code)
        if held:
            os.waitpid(pid, os.WUNTRACED)
        for path in (out, err):
            path.touch()
        self._begun.append(Running(cast("subprocess.Popen[bytes]", Forked(pid)), out, err))
        return self._begun[-1]


MAKE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


@cache
def _ready() -> None:
    for name in MODULES:
        importlib.import_module(name)


def _main(words: list[str]) -> int:
    """What the interpreter would do for the command."""
    from hostler.cli.main import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin, sys.stdout = open(0), open(1, "w")  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1)  # noqa: SIM115
    sys.argv = ["hostler", *words]
    try:
        return main(words)
    finally:
        with suppress(OSError):
            sys.stdout.flush()
