"""A private ssh-agent: of a test's own, at a socket of its own, gone with it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path


class PrivateAgent:
    """An ssh-agent at the socket `path`, until it is left."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._process = subprocess.Popen(
            ["ssh-agent", "-D", "-a", str(path)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert self._process.stdout is not None and b"SSH_AUTH_SOCK" in self._process.stdout.readline()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def env(self) -> dict[str, str]:
        """What a process needs in its environment to ask it."""
        return {"SSH_AUTH_SOCK": str(self.path)}

    def add(self, *keys: str | Path, env: Mapping[str, str] | None = None) -> None:
        """Have it hold these keys; `env` says how ssh-add comes by their passphrases."""
        for key in keys:
            subprocess.run(
                ["ssh-add", "-q", str(key)], check=True, capture_output=True, stdin=subprocess.DEVNULL,
                env={**os.environ, **self.env, **(env or {})},
            )  # fmt: skip

    def leave(self) -> None:
        """End it, also where a test has stopped it; once is enough."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
        self._process.communicate(timeout=20)
