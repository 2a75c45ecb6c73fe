"""A terminal and a clock that tests own."""

from __future__ import annotations

import os
import pty
import threading
import time
import tty

from hostler.views.console import Console


class StillClock:
    """A clock whose time is set by the test."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def steady(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


class Screen:
    """A terminal, and all that was written to it."""

    def __init__(self) -> None:
        self.ours, self.fd = pty.openpty()
        tty.setraw(self.fd)
        self.seen = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.ours, 65536)
            except OSError:
                return
            self.seen += data

    def text(self) -> bytes:
        """All of it, the console having been closed."""
        os.close(self.fd)
        self._reader.join()
        os.close(self.ours)
        return self.seen


def settle(console: Console) -> None:
    """Wait until all that was flushed has been written."""
    deadline = time.monotonic() + 60
    while console.backlog and time.monotonic() < deadline:
        time.sleep(0.001)
    assert console.backlog == 0
