"""What the Link over attempt.sh knows of each attempt: how long its output is, how much of it came, how it ended.

Pure bookkeeping. A result is due only once all of its output was delivered, and output never has a gap: what a job has
itself cut away from its file is not counted.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct, field
from msgspec.structs import replace

from hostler.model.reports import Output, Result

#: The most that is asked for at once, and of one stream while others wait, in bytes.
BATCH, SHARE = 512 << 10, 64 << 10


class Held(Struct, eq=False):
    """One attempt that runs or has ended. Per stream: `size` of its file, `base` the place of the file's first byte
    in the stream, `sent` the place up to which it was delivered."""

    serial: int
    result: Result | None = None
    size: list[int] = field(default_factory=lambda: [0, 0])
    base: list[int] = field(default_factory=lambda: [0, 0])
    sent: list[int] = field(default_factory=lambda: [0, 0])

    def grown(self, out: int, err: int) -> None:
        """Its files are this long now; one that has shrunk begins anew behind what was delivered."""
        for stream, size in enumerate((out, err)):
            if self.base[stream] + size < self.sent[stream]:
                self.base[stream] = self.sent[stream]
            self.size[stream] = size

    def follow(self, out: int, err: int) -> None:
        """Go on from these places."""
        self.sent = [out, err]

    def left(self, stream: int) -> int:
        """Bytes of a stream that are there and were not delivered."""
        return max(0, self.base[stream] + self.size[stream] - self.sent[stream])

    def ended(self, result: Result) -> None:
        """It has ended."""
        self.result = result
        self.grown(result.out_size, result.err_size)

    def due(self) -> Result | None:
        """The result, if nothing is to be delivered before it."""
        result = self.result
        if result is None:
            return None
        if result.out is not None and not any(self.sent) and not any(self.base):
            return result
        if self.left(0) or self.left(1):
            return None
        sizes = [base + size for base, size in zip(self.base, self.size, strict=True)]
        return replace(result, out=None, err=None, out_size=sizes[0], err_size=sizes[1])

    def took(self, stream: int, place: int, data: bytes) -> Iterator[Output]:
        """A piece has come; what to deliver. One that is empty says that there is no more."""
        if place != self.sent[stream]:
            return
        if not data:
            self.size[stream] = self.sent[stream] - self.base[stream]
        for at in range(0, len(data), SHARE):
            yield Output(self.serial, stream + 1, place + at, data[at : at + SHARE])
        self.sent[stream] += len(data)


def choose(held: dict[int, Held], credit: int) -> list[tuple[int, int, int, int, int]]:
    """Pieces to ask for within the credit, each attempt in its turn: serial, stream, place, offset in file, length.

    Whoever gets something goes to the end of the queue, which is the dict's order.
    """
    room = min(BATCH, credit)
    waiting = [one for one in held.values() if (one.left(0) or one.left(1)) and one.due() is None]
    share = max(SHARE, room // (2 * len(waiting))) if waiting else 0
    pieces = []
    for one in waiting:
        for stream in (0, 1):
            length = min(one.left(stream), share, room)
            if length > 0:
                room -= length
                place = one.sent[stream]
                pieces.append((one.serial, stream + 1, place, place - one.base[stream], length))
        if pieces and pieces[-1][0] == one.serial:
            held[one.serial] = held.pop(one.serial)
    return pieces
