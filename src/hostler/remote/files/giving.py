"""Files as a stream: each as it was when it was opened, or not at all.

It must never hold more than a few pieces, and never let a file that changes while it is read pass for a whole one.
"""

import errno
import hashlib
import os
import stat

from hostler.remote.files.framing import (
    ABORT,
    BEGIN,
    BYTES,
    END,
    FAILED,
    FILE,
    GATHER,
    HEAD,
    HOLE,
    OFFSET,
    PIECE,
    TROUBLE,
    frame,
    record,
)
from hostler.remote.files.walking import READING, hash_of, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CHANGED = b"changed while it was sent"
SPARSE = 64 << 10


class Giver:
    """Gives files beneath `root`. `gone` names those whose other end has failed: they are cut short.

    `done` grows by the bytes that were read, holes and what lay there already included.
    """

    def __init__(self, root: bytes) -> None:
        self.root = root
        self.gone: "set[bytes]" = set()
        self.done = 0

    def given(self, wanted: "Iterable[tuple[bytes, int, bytes]]") -> "Iterator[bytes]":
        """Frames of these files, (path, offset, SHA-256 of what lies there up to it), some at a time."""
        held, size = [], 0
        for path, offset, digest in wanted:
            for data in self._file(path, offset, digest):
                held.append(data)
                size += len(data)
                if size >= GATHER:
                    yield b"".join(held)
                    held, size = [], 0
        if held:
            yield b"".join(held)

    def _file(self, path: bytes, offset: int, digest: bytes) -> "Iterator[bytes]":
        place = os.path.join(self.root, path) if path else self.root
        for again in (True, False):
            before = self.done
            try:
                # The root may be a link: it is what was asked for.
                fd = os.open(place if path else os.path.realpath(place), READING)
            except OSError as error:
                why = b"a link by now" if error.errno == errno.ELOOP else reason(error)
                yield frame(FAILED, record(TROUBLE, path, more=why))
                return
            try:
                found = os.fstat(fd)
                if not stat.S_ISREG(found.st_mode):
                    yield frame(FAILED, record(TROUBLE, path, more=b"no plain file by now"))
                    return
                made = None
                if offset:
                    made = hash_of(place, offset)
                    if offset > found.st_size or made.digest() != digest:
                        offset, made = 0, None
                yield frame(BEGIN, _begun(path, found, offset))
                whole = True
                for data in self._content(fd, found, offset, path, made):
                    if data is None:
                        whole = False
                        break
                    yield data
                now = os.fstat(fd)
                if path in self.gone:
                    yield frame(ABORT)
                    return
                if whole and (now.st_size, now.st_mtime_ns) == (found.st_size, found.st_mtime_ns):
                    yield frame(END, made.digest() if made is not None else b"")
                    return
            except OSError as error:
                yield frame(ABORT)
                yield frame(FAILED, record(TROUBLE, path, more=reason(error)))
                return
            finally:
                os.close(fd)
            yield frame(ABORT)
            offset = 0
            if again:
                self.done = before
        yield frame(FAILED, record(TROUBLE, path, more=CHANGED))

    def _content(
        self, fd: int, found: os.stat_result, at: int, path: bytes, made: "hashlib._Hash | None"
    ) -> "Iterator[bytes | None]":
        """Frames of the content from `at` on; None where the file ends too soon."""
        self.done += at
        size = found.st_size
        if at == 0 and size <= PIECE and (size < SPARSE or found.st_blocks * 512 >= size):
            data = os.read(fd, size + 1) if size else b""
            while 0 < len(data) < size:
                more = os.read(fd, size - len(data))
                if not more:
                    break
                data += more
            if len(data) != size:
                yield None
                return
            self.done += size
            if data:
                yield HEAD.pack(BYTES, len(data))
                yield data
            return
        if at:
            os.lseek(fd, at, os.SEEK_SET)
        sparse = found.st_blocks * 512 < size
        until = size
        while at < size and path not in self.gone:
            if sparse:
                start = _data_from(fd, at, size)
                if start > at:
                    yield frame(HOLE, OFFSET.pack(start - at))
                    if made is not None:
                        _zeros(made, start - at)
                    self.done += start - at
                    at = start
                    continue
                until = min(size, _hole_from(fd, at, size))
                until = until if until > at else size
                os.lseek(fd, at, os.SEEK_SET)
            while at < until and path not in self.gone:
                data = os.read(fd, min(PIECE, until - at))
                if not data:
                    yield None
                    return
                at += len(data)
                self.done += len(data)
                if made is not None:
                    made.update(data)
                yield HEAD.pack(BYTES, len(data))
                yield data


def _begun(path: bytes, found: os.stat_result, offset: int) -> bytes:
    more = OFFSET.pack(offset)
    return record(FILE, path, stat.S_IMODE(found.st_mode), found.st_size, found.st_mtime_ns, more)


def _data_from(fd: int, at: int, size: int) -> int:
    try:
        return min(size, os.lseek(fd, at, os.SEEK_DATA))
    except OSError as error:
        return size if error.errno == errno.ENXIO else at


def _hole_from(fd: int, at: int, size: int) -> int:
    try:
        return os.lseek(fd, at, os.SEEK_HOLE)
    except OSError:
        return size


def _zeros(made: "hashlib._Hash", count: int) -> None:
    block = bytes(min(count, PIECE))
    while count > 0:
        made.update(block[:count])
        count -= len(block)
