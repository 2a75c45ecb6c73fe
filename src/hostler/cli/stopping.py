"""Signals, from the moment at which a run is prepared to the last line of its report.

The first INT or TERM asks whoever can end things in order; where nobody can, and at the second one, the work is
cancelled at once. HUP changes nothing: a run goes on without a terminal. It must never end the process by itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any


class Signals:
    """Catches signals for the task that enters it; `seen` are those that came, in order.

    >>> async def work() -> list[int]:
    ...     with Signals() as signals:
    ...         return signals.seen
    >>> asyncio.run(work())
    []
    """

    def __init__(self) -> None:
        self.seen: list[int] = []
        self._task: asyncio.Task[object] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._before: dict[int, Any] = {}
        self._held: list[int] = []
        self._answered = 0
        self._stop: Callable[[int], None] | None = None

    def asks(self, stop: Callable[[int], None] | None) -> None:
        """Have the first signal call `stop` with its number, also one that was held back; with None it cancels."""
        self._stop, held, self._held = stop, self._held, []
        for number in held:
            if stop is not None:
                stop(number)

    def hold(self) -> None:
        """Hold the first signal back until somebody asks for it."""
        self._stop = self._held.append

    def __enter__(self) -> Signals:
        self._task, self._loop = asyncio.current_task(), asyncio.get_running_loop()
        # By the signal module, not by the loop: so it is also noticed while the loop waits for a slow reader's lines.
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._caught)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda *_: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            # Whoever was told to end does so: one more signal is no reason to end otherwise, with another exit code.
            signal.signal(number, signal.SIG_IGN if self.seen and number != signal.SIGHUP else before)

    def check(self) -> None:
        """Raise CancelledError when a signal has come that nobody could answer yet, for work that holds the loop."""
        if self.seen and self._stop is None:
            self._answered = len(self.seen)
            raise asyncio.CancelledError

    def _caught(self, number: int, frame: FrameType | None) -> None:
        self.seen.append(number)
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._answer, number, len(self.seen))

    def _answer(self, number: int, which: int) -> None:
        if which <= self._answered:
            return
        if which == 1 and self._stop is not None:
            self._stop(number)
        elif self._task is not None:
            self._task.cancel()


def name(number: int) -> str:
    """A signal as people call it.

    >>> name(2)
    'SIGINT'
    """
    return signal.Signals(number).name


def stand_in() -> None:
    """Open /dev/null in the place of a closed stdin, stdout or stderr, lest the next file take its number."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
