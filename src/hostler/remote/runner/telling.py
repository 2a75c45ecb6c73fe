"""What a runner says of its attempts: beginnings, results, and output in turn, within what the controller allows.

A result is said only once all of its output was. Nothing of a line's state outlives it: the next controller is told
everything again that is not acknowledged. Output never has a gap: what a job itself has cut away is not counted.
"""

from collections import deque

from hostler.remote.runner.cutting import Cut
from hostler.remote.runner.files import Files, Pair
from hostler.remote.runner.terminals import Terminal
from hostler.remote.runner.wire import BEGAN, CHUNK, ENDINGS, INLINE, NO_CODE, NUMBER, OUTPUT, RESULT
from hostler.remote.runner.wire import R_BEGAN, R_LOST, R_OUTPUT, R_RESULT, frame

OK, EXIT, SIGNAL, TIMEOUT, INTERRUPTED, OUTPUT_LIMIT, CANCELLED, KILL_FAILED, LOST, STAGING_FAILED = range(
    len(ENDINGS)
)


class Attempt:
    """One attempt that has been started. `cuts` tell what is left of a stream that was too long (see `cutting`).

    Per stream: `lengths` are bytes in its file, as far as seen; `base` is the place in the stream of the file's first
    byte, above 0 only after a job has truncated its own output; `sent` is the place up to which it was sent.
    """

    __slots__ = (
        "base",
        "began",
        "code",
        "cuts",
        "detail",
        "elapsed",
        "ending",
        "holes",
        "in_turn",
        "job",
        "killing",
        "lengths",
        "n",
        "pair",
        "pid",
        "said",
        "sent",
        "serial",
        "signal",
        "slot",
        "terminal",
        "told",
        "whole",
    )

    def __init__(self, serial: int, job: int, n: int, pair: Pair) -> None:
        self.serial, self.job, self.n, self.pair = serial, job, n, pair
        self.pid = self.signal = self.slot = 0
        self.code = NO_CODE
        self.began = self.elapsed = 0.0
        self.lengths, self.base, self.sent, self.whole = [0, 0], [0, 0], [0, 0], [0, 0]
        self.cuts: "list[Cut | None]" = [None, None]
        self.holes = [0, 0]
        self.terminal: "Terminal | None" = None
        self.ending = -1  # set once it has ended
        self.killing = -1  # the ending that a kill gives it
        self.detail = b""
        self.told = False  # whether its beginning was reported on this line
        self.said = False  # whether its result was, or is about to be
        self.in_turn = False  # whether it has output to send

    def total(self, stream: int) -> int:
        """The stream's length, by what was seen of its file."""
        self.rebase(stream, self.lengths[stream])
        return self.base[stream] + self.lengths[stream]

    def rebase(self, stream: int, size: int) -> None:
        """See whether the file, of which `size` bytes are there, shrank: then it begins anew behind what was sent."""
        if self.base[stream] + size < self.sent[stream]:
            self.base[stream] = self.sent[stream]

    def follow(self, stream: int, place: int) -> None:
        """Go on from this place; when the file no longer has what comes there, with all that it has."""
        if not 0 <= place - self.base[stream] <= self.lengths[stream]:
            self.base[stream] = place
        self.sent[stream] = place

    def left(self) -> int:
        """Bytes that are still to be sent."""
        return self.total(0) - self.sent[0] + self.total(1) - self.sent[1]


class Voice:
    """What there is to say on the line: `talk` as frames, then the output of attempts, each in its turn.

    `credit` is how many bytes of output the controller takes, `backlog` how many bytes of ended attempts wait. Until
    it is `ready`, the controller has not said where output is to go on.
    """

    def __init__(self, files: Files) -> None:
        self.files = files
        self.talk = []  # type: list[bytes]
        self.turns = deque()  # type: deque[Attempt]
        self.credit = self.backlog = 0
        self.ready = False

    def reset(self) -> None:
        """A new line: nothing was said on it."""
        self.talk, self.credit, self.backlog, self.ready = [], 0, 0, False
        for attempt in self.turns:
            attempt.in_turn = False
        self.turns.clear()

    def began(self, attempt: Attempt, now: float) -> None:
        """Tell that an attempt runs."""
        attempt.told = True
        self.talk.append(frame(R_BEGAN, BEGAN.pack(attempt.serial, max(0.0, now - attempt.began))))

    def grown(self, attempt: Attempt) -> None:
        """A running attempt's files may have more than was sent."""
        if self.ready and not attempt.in_turn and attempt.left() > 0:
            attempt.in_turn = True
            self.turns.append(attempt)

    def ended(self, attempt: Attempt, texts: "list[bytes]") -> None:
        """Tell an attempt's result, with its output (`texts`, where known) or behind it."""
        if not self.ready or attempt.said:
            return
        attempt.said = True
        if attempt.ending == LOST:
            words = b"its runner died and nobody saw how it ended"
            self.talk.append(frame(R_LOST, NUMBER.pack(attempt.serial) + words))
            return
        lengths = attempt.lengths
        if lengths[0] + lengths[1] <= INLINE and not any(attempt.sent + attempt.base):
            if not texts:
                texts = [
                    self.files.read(attempt.pair, i, 0, lengths[i]) if lengths[i] else b"" for i in (0, 1)
                ]
                self.files.rest(attempt.pair)
            if [len(text) for text in texts] == lengths:
                self.talk.append(result_frame(attempt, 1, texts[0], texts[1]))
                return
        self.backlog += attempt.left()
        if not attempt.in_turn:
            attempt.in_turn = True
            self.turns.append(attempt)

    def output(self, limit: int) -> "list[bytes]":
        """About `limit` bytes of frames of output, with the results that they complete."""
        frames, size, idle = [], 0, 0  # type: list[bytes], int, int
        turns = self.turns
        while turns and size < limit and idle < len(turns):
            attempt, idle = turns[0], idle + 1
            for stream in (0, 1):
                data = self.piece(attempt, stream)
                if data:
                    frames.append(data)
                    size, idle = size + len(data), 0
            if attempt.left() > 0:
                turns.rotate(-1)
                continue
            turns.popleft()
            attempt.in_turn, idle = False, 0
            if attempt.ending >= 0:
                frames.append(result_frame(attempt, 0, b"", b""))
            self.files.rest(attempt.pair)
        return frames

    def piece(self, attempt: Attempt, stream: int) -> bytes:
        """A frame with the next chunk of a stream, within the credit; nothing when there is none."""
        at = attempt.sent[stream]
        size = min(attempt.total(stream) - at, CHUNK, self.credit)
        if size <= 0:
            return b""
        cut, place = attempt.cuts[stream], at - attempt.base[stream]
        if cut is None:
            data = self.files.read(attempt.pair, stream, place, size)
        else:
            data = cut.read(self.files, attempt.pair, stream, place, size)
        if attempt.ending >= 0:
            self.backlog -= len(data) or attempt.total(stream) - at
        if not data:  # the file is shorter than it was, or gone
            attempt.lengths[stream] = at - attempt.base[stream]
            return b""
        attempt.sent[stream] += len(data)
        self.credit -= len(data)
        return frame(R_OUTPUT, OUTPUT.pack(attempt.serial, stream + 1, at) + data)


def result_frame(attempt: Attempt, inline: int, out: bytes, err: bytes) -> bytes:
    """The frame of a result."""
    sizes = [attempt.total(0), attempt.total(1)]
    detail = attempt.detail
    gone = sum(attempt.whole) - sum(sizes)
    if gone > 0:
        detail = (detail + b"; " if detail else b"") + b"%d bytes of its output are gone from its host" % gone
    body = RESULT.pack(
        attempt.serial,
        attempt.ending,
        attempt.code,
        attempt.signal,
        attempt.elapsed,
        sizes[0],
        sizes[1],
        inline,
        len(out),
        len(err),
        len(detail),
    )
    return frame(R_RESULT, body + out + err + detail)
