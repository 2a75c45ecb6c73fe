"""Signals, from the moment at which a run is prepared to the last line of its report.

The first INT or TERM asks whoever can end things in order; where nobody can, and at the second one, the work is
cancelled at once. HUP changes nothing: a run goes on without a terminal. It must never end the process by itself.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import TracebackType


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
        self._stop: Callable[[int], None] | None = None

    def asks(self, stop: Callable[[int], None] | None) -> None:
        """Have the first signal call `stop` with its number from now on; with None it cancels."""
        self._stop = stop

    def __enter__(self) -> Signals:
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._caught, number)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            loop.add_signal_handler(signal.SIGHUP, lambda: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().remove_signal_handler(number)

    def _caught(self, number: int) -> None:
        self.seen.append(number)
        if len(self.seen) == 1 and self._stop is not None:
            self._stop(number)
        elif self._task is not None:
            self._task.cancel()


def name(number: int) -> str:
    """A signal as people call it.

    >>> name(2)
    'SIGINT'
    """
    return signal.Signals(number).name
