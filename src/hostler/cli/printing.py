"""Jobs' recorded output on its way to the person: stdout to stdout, stderr to stderr, what a terminal shows harmless.

It must never change a byte of what goes to a file or a pipe.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from hostler.views.text import Visible


class Printer:
    """Prints one attempt's output, piece by piece; `only` is "stdout" or "stderr" where just that is wanted.

    With `only` both go to stdout. With `raw` a terminal is given the bytes as they are.
    """

    def __init__(self, *, only: str | None = None, raw: bool = False) -> None:
        from hostler.views.text import Visible

        wanted = {None: (1, 2), "stdout": (1,), "stderr": (2,)}[only]
        both: dict[int, BinaryIO] = {1: sys.stdout.buffer, 2: sys.stderr.buffer}
        self._targets = {stream: both[1] if only else both[stream] for stream in wanted}
        self._shown: dict[int, Visible] = {
            stream: Visible() for stream, target in self._targets.items() if target.isatty() and not raw
        }
        self._last = dict.fromkeys(wanted, b"\n")
        self._before = 0

    def put(self, pieces: Iterable[tuple[int, bytes]]) -> None:
        """Print pieces, each with its stream, as far as they are wanted; all are on their way when this returns."""
        for stream, data in pieces:
            if stream not in self._targets:
                continue
            if self._before not in (0, stream):
                self._targets[self._before].flush()
            self._before = stream
            text = self._shown[stream].feed(data) if stream in self._shown else data
            self._targets[stream].write(text)
            self._last[stream] = text or self._last[stream]
        for target in self._targets.values():
            target.flush()

    def end(self) -> None:
        """Print what was held back, and on a terminal the end of a line that had none."""
        for stream, visible in self._shown.items():
            rest = visible.end()
            ended = (rest or self._last[stream]).endswith(b"\n")
            self._targets[stream].write(rest if ended else rest + b"\n")
        for target in self._targets.values():
            target.flush()
