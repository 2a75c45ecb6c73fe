"""How much output there is, and what of it is kept: of a stream beyond the limit its head and its tail.

The middle is punched out of the file while the job writes on, so that a chatty job fills no disk, and words in its
place say how much is gone. Where the file system refuses holes, the job ends. What is told of a stream never changes
once it was told: beyond the head nothing is, before the end.
"""

import os

from hostler.remote.runner.cutting import Cut, amount
from hostler.remote.runner.files import SAFE, Files
from hostler.remote.runner.telling import EXIT, OK, OUTPUT_LIMIT, SIGNAL, Attempt
from hostler.remote.runner.wire import INLINE

#: fallocate(2): make a hole, and leave the size as it is.
PUNCH = 3
NAMES = (b"stdout", b"stderr")


class Meter:
    """Measures the streams of attempts; each may be `limit` bytes long before its middle goes."""

    def __init__(self, files: Files, limit: int) -> None:
        self.files, self.limit = files, limit
        self.tail = limit // 4
        self.head = limit - self.tail
        self.step = max(64 << 10, min(limit // 16, 16 << 20))

    def running(self, attempt: Attempt) -> bool:
        """See how much a running attempt has written; whether it must be ended for it."""
        over = False
        for stream in (0, 1):
            size = self.files.size(attempt.pair, stream)
            attempt.rebase(stream, size)
            if size + attempt.base[stream] <= self.head:
                attempt.lengths[stream] = size
            elif attempt.base[stream]:  # it truncates its own output: what was told before counts, too
                attempt.lengths[stream] = max(0, min(size, self.limit - attempt.base[stream]))
                over = over or size + attempt.base[stream] > self.limit
            else:
                attempt.lengths[stream] = self.head
                over = self.thin(attempt, stream, size) or over
        self.files.rest(attempt.pair)
        return over

    def thin(self, attempt: Attempt, stream: int, size: int) -> bool:
        """Punch out what is too much of a growing file; whether that is refused."""
        done = max(attempt.holes[stream], self.head)
        if size <= self.limit or size - self.tail - done < self.step:
            return False
        if not self.hole(attempt, stream, done, size - self.tail):
            return True
        attempt.holes[stream] = size - self.tail
        return False

    def hole(self, attempt: Attempt, stream: int, start: int, end: int) -> bool:
        """Give back a part of a file to the disk; False where that can't be done."""
        try:
            import ctypes

            library = ctypes.CDLL(None, use_errno=True)
            punch = getattr(library, "fallocate64", None) or library.fallocate
            fd = os.open(attempt.pair.name(stream), os.O_WRONLY | SAFE, dir_fd=self.files.folder)
            try:
                length = ctypes.c_longlong(end - start)
                return not punch(fd, PUNCH, ctypes.c_longlong(start), length)
            finally:
                os.close(fd)
        except (ImportError, AttributeError, OSError):
            return False

    def ended(self, attempt: Attempt, ending: int) -> "tuple[int, list[bytes]]":
        """See what there is of an attempt that is over; its ending, and its streams as far as they are short."""
        texts = []  # type: list[bytes]
        for stream in (0, 1):
            data = b""
            if attempt.base[stream] or attempt.sent[stream]:
                length = self.files.size(attempt.pair, stream)
            else:
                data = self.files.read(attempt.pair, stream, 0, INLINE + 1)
                length = len(data) if len(data) <= INLINE else self.files.size(attempt.pair, stream)
            attempt.rebase(stream, length)
            base = attempt.base[stream]
            if length + base > self.limit:
                holed = base == 0 and self.hole(attempt, stream, self.head, length - self.tail)
                if holed or attempt.holes[stream]:
                    length = self.cut(attempt, stream, length)
                else:
                    length = max(0, self.limit - base)
                    self.files.cut(attempt.pair, stream, length)
                    ending = OUTPUT_LIMIT if ending in (OK, EXIT, SIGNAL) else ending
                    attempt.detail = b"%s passed %s; the rest was dropped" % (
                        NAMES[stream],
                        amount(self.limit),
                    )
            if not length and self.files.gone(attempt.pair, stream):
                said = b"its %s was removed from its host before it was seen" % NAMES[stream]
                attempt.detail = (attempt.detail + b"; " if attempt.detail else b"") + said
            attempt.lengths[stream] = length
            attempt.whole[stream] = attempt.total(stream)
            texts.append(data)
        self.files.rest(attempt.pair)
        return ending, texts

    def cut(self, attempt: Attempt, stream: int, size: int) -> int:
        """Take note that a stream's middle is gone; how long it is with the words in its place."""
        cut = attempt.cuts[stream] = Cut(self.head, size - self.limit)
        said = b"%s of its %s cut out" % (amount(cut.gap), NAMES[stream])
        attempt.detail = (attempt.detail + b"; " if attempt.detail else b"") + said
        return self.limit + len(cut.words)

    def revived(self, attempt: Attempt, whole: "tuple[int, int]") -> None:
        """See what is left of an attempt's output that was `whole` when it ended."""
        attempt.whole = list(whole)
        for stream in (0, 1):
            size = self.files.size(attempt.pair, stream)
            if size > self.limit and whole[stream] > self.limit:
                size = self.cut(attempt, stream, size)
            length = min(size, whole[stream])
            attempt.lengths[stream], attempt.base[stream] = length, whole[stream] - length
        self.files.rest(attempt.pair)
