"""A hostler that is watched while it works: its memory, what it says, how far its rows say it is.

It ends only processes that it started itself.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from _ground import HOSTLER, Ground, cpu, memory
from _side import Void, ended_within

EVERY = 0.1


class Watched:
    """One hostler process. `begun` is the wall clock when it was started, `peak` its highest resident memory."""

    def __init__(
        self, ground: Ground, *words: str, stdin: Path | None = None, files: int | None = None
    ) -> None:
        self._ground = ground
        self._trace = ground.path / "watched.err"
        argv: Sequence[str] = (HOSTLER, *words)
        if files:
            argv = ("/bin/sh", "-c", f'ulimit -Sn {files}; exec "$@"', "sh", *argv)
        self.begun = time.time()
        with open(stdin or os.devnull, "rb") as source, open(self._trace, "wb") as trace:
            self._process = subprocess.Popen(
                argv, stdin=source, stdout=subprocess.DEVNULL, stderr=trace, env=ground.env, cwd=ground.path,
                start_new_session=True,
            )  # fmt: skip
        self.peak = self.resident = 0
        self._cpu = 0.0
        self.run = 0

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def until(self, true: Callable[[], object], *, seconds: float, what: str, every: float = EVERY) -> float:
        """Look until it is so; the seconds since the start. Raises Void when that takes too long or it ends before."""
        give_up = time.time() + seconds
        while time.time() < give_up:
            self.sample()
            if true():
                return time.time() - self.begun
            if ended_within(self._process.pid, every):
                if true():
                    return time.time() - self.begun
                raise Void(f"hostler ended before {what}: {self.last()}")
        raise Void(f"not within {seconds:.0f} s: {what}; its last word: {self.last()}")

    def accepted(self, *, seconds: float) -> float:
        """Seconds from the command's start to the printed run number; `run` is that number afterwards."""

        def printed() -> bool:
            if found := re.search(rb"^batch (\d+): ", self._trace.read_bytes(), re.MULTILINE):
                self.run = int(found[1])
            return bool(self.run)

        return self.until(printed, seconds=seconds, what="it printed its run's number", every=0.01)

    def sample(self) -> int:
        """Look at its memory; bytes resident now."""
        now, peak = memory(self._process.pid)
        self.peak, self.resident = max(self.peak, peak), now or self.resident
        self.cpu()
        return now

    def cpu(self) -> float:
        """CPU seconds so far."""
        self._cpu = max(self._cpu, cpu(self._process.pid))
        return self._cpu

    def last(self) -> str:
        """The last line that it said."""
        lines = self._trace.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "nothing"

    def stop(self, *, seconds: float) -> int:
        """Ask it to end in order, and wait; its exit code, or -9 when it had to be killed."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            if not ended_within(self._process.pid, seconds):
                self.kill()
        return self._process.wait()

    def end(self, *, seconds: float) -> int:
        """Wait until it ends by itself; its exit code. Raises Void."""
        self.until(lambda: self._process.poll() is not None, seconds=seconds, what="its end")
        return self._process.wait()

    def kill(self) -> None:
        """As a power cut would: no word to anybody."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
