"""Where the output of attempts goes as it arrives: whole and small with its neighbours, or a file of its own.

Short output of short jobs is gathered here until the job ends; what is longer, or older than a second, goes to disk at
once. Nothing is lost by that: a host keeps all output until the result is acknowledged.
"""

from __future__ import annotations

from msgspec import Struct, field

from hostler.model.jobs import OutputRef
from hostler.model.reports import Output, Result
from hostler.ports import OutputFiles

#: Output beyond this many bytes gets a file of its own, as does that of jobs that run longer than `PATIENCE` seconds.
SMALL = 64 << 10
PATIENCE = 1.0

Key = tuple[int, int]


class Kept(Struct, frozen=True):
    """Where an attempt's output is kept, None when there is none, and the output itself when it was short."""

    ref: OutputRef | None
    out: bytes | None = None
    err: bytes | None = None


class Gathered(Struct):
    """Output of one attempt that is not on disk yet."""

    since: float
    pieces: list[tuple[int, int, bytes]] = field(default_factory=list)
    size: int = 0
    lengths: list[int] = field(default_factory=lambda: [0, 0])

    def add(self, piece: Output) -> bool:
        """Take in a piece; what is here already is skipped, and one that would leave a gap is refused."""
        here = self.lengths[piece.stream - 1]
        if piece.offset > here:
            return False
        news = piece.data[here - piece.offset :]
        if news:
            self.pieces.append((piece.stream, here, news))
            self.size += len(news)
            self.lengths[piece.stream - 1] += len(news)
        return True

    def streams(self) -> tuple[bytes, bytes]:
        """Both streams, put together."""
        one, two = (
            b"".join(data for stream, _, data in self.pieces if stream == wanted) for wanted in (1, 2)
        )
        return one, two


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

    def output(self, key: Key, piece: Output, *, now: float) -> bool:
        """Take in a piece of output; False when what comes before it is missing, and nothing was taken in.

        Raises StoreFull; the same piece may then be given again.
        """
        if key in self._own:
            if piece.offset > self._files.held(*key)[piece.stream - 1]:
                return False
            self._files.append(*key, piece.stream, piece.offset, piece.data)
            return True
        gathered = self._gathered.setdefault(key, Gathered(now))
        if not gathered.add(piece):
            return False
        if gathered.size > SMALL:
            self._spill(key)
        return True

    def settle(self, *, now: float) -> None:
        """Put on disk what has been waiting for longer than short jobs last."""
        for key in [key for key, gathered in self._gathered.items() if now - gathered.since > PATIENCE]:
            self._spill(key)

    @property
    def waiting(self) -> bool:
        """Whether `settle` will have something to do."""
        return bool(self._gathered)

    def result(self, key: Key, result: Result) -> Kept:
        """Take in an attempt's end; where its output is. Raises StoreFull; the same may then be given again."""
        if key in self._own:
            ref = self._files.finish(*key)
            self._own.discard(key)
            return Kept(ref)
        out, err = result.out or b"", result.err or b""
        if result.out is None and key in self._gathered:
            out, err = self._gathered[key].streams()
        ref = self._files.whole(out, err)
        self._gathered.pop(key, None)
        return Kept(ref, out, err)

    def drop(self, key: Key) -> None:
        """Forget what was gathered for an attempt that is over without a result."""
        self._gathered.pop(key, None)
        if key in self._own:
            self._own.discard(key)
            self._files.finish(*key)

    def _spill(self, key: Key) -> None:
        for stream, offset, data in self._gathered[key].pieces:
            self._files.append(
                *key, stream, offset, data
            )  # given again after a StoreFull, it skips what it has
        del self._gathered[key]
        self._own.add(key)
