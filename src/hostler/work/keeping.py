"""Where the output of attempts goes as it arrives: whole and small with its neighbours, or a file of its own.

Short output of short jobs is gathered here until the job ends; what is longer, or older than a second, goes to disk at
once. Nothing is lost by that: a host keeps all output until the result is acknowledged.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hostler.model.jobs import OutputRef
from hostler.model.reports import Output, Result
from hostler.ports import OutputFiles

#: Output beyond this many bytes gets a file of its own, as does that of jobs that run longer than `PATIENCE` seconds.
SMALL = 64 << 10
PATIENCE = 1.0

Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Kept:
    """Where an attempt's output is kept, None when there is none, and the output itself when it was short."""

    ref: OutputRef | None
    out: bytes | None = None
    err: bytes | None = None


@dataclass(slots=True)
class Gathered:
    """Output of one attempt that is not on disk yet."""

    since: float
    pieces: list[tuple[int, int, bytes]] = field(default_factory=list)
    size: int = 0

    def streams(self) -> tuple[bytes, bytes]:
        """Both streams, put together; a piece that came twice counts once."""
        streams = (bytearray(), bytearray())
        for stream, offset, data in self.pieces:
            held = streams[stream - 1]
            held += data[max(0, len(held) - offset) :]
        return bytes(streams[0]), bytes(streams[1])


class Keeping:
    """The output of all open attempts of a run; a key is (job, n)."""

    def __init__(self, files: OutputFiles) -> None:
        self._files = files
        self._gathered: dict[Key, Gathered] = {}
        self._own: set[Key] = set()

    def held(self, key: Key) -> tuple[int, int]:
        """How much of both streams is on disk, for an attempt that another controller began to follow."""
        held = self._files.held(*key)
        if any(held):
            self._own.add(key)
        return held

    def output(self, key: Key, piece: Output, *, now: float) -> None:
        """Take in a piece of output."""
        if key in self._own:
            self._files.append(*key, piece.stream, piece.offset, piece.data)
            return
        gathered = self._gathered.setdefault(key, Gathered(now))
        gathered.pieces.append((piece.stream, piece.offset, piece.data))
        gathered.size += len(piece.data)
        if gathered.size > SMALL:
            self._spill(key)

    def settle(self, *, now: float) -> None:
        """Put on disk what has been waiting for longer than short jobs last."""
        for key in [key for key, gathered in self._gathered.items() if now - gathered.since > PATIENCE]:
            self._spill(key)

    @property
    def waiting(self) -> bool:
        """Whether `settle` will have something to do."""
        return bool(self._gathered)

    def result(self, key: Key, result: Result) -> Kept:
        """Take in an attempt's end; where its output is."""
        if key in self._own:
            self._own.discard(key)
            return Kept(self._files.finish(*key))
        gathered = self._gathered.pop(key, None)
        out, err = result.out or b"", result.err or b""
        if result.out is None and gathered is not None:
            out, err = gathered.streams()
        return Kept(self._files.whole(out, err), out, err)

    def drop(self, key: Key) -> None:
        """Forget what was gathered for an attempt that is over without a result."""
        self._gathered.pop(key, None)
        if key in self._own:
            self._own.discard(key)
            self._files.finish(*key)

    def _spill(self, key: Key) -> None:
        self._own.add(key)
        for piece in self._gathered.pop(key).pieces:
            self._files.append(*key, *piece)
