"""One attempt's own output file, read while another process writes to it: what is new, each piece once.

It goes by the sizes of the file and its index, never by the tables. It must never give a piece before all of it is
there, nor hold more than one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from hostler.stores.chunks import records

#: Bytes given at once.
PIECE = 65536


class Growing:
    """The output of attempt `n` of a job; `folder` is the run's own. There may be no file of it yet, or ever.

    Of what is there at the beginning only about the last `most` bytes are given, where that is said.
    """

    def __init__(self, folder: Path, job: int, n: int, *, most: int | None = None) -> None:
        self._path = folder / "out" / f"{job}.{n}.log"
        self._most = most
        self._fds: tuple[int, int] | None = None
        self._at = self._records = 0

    @property
    def begun(self) -> bool:
        """Whether anything of it has been given."""
        return self._records > 0

    @property
    def behind(self) -> int:
        """How many bytes are there that have not been given yet."""
        return os.fstat(self._fds[0]).st_size - self._at if self._fds is not None else 0

    def news(self) -> Iterator[tuple[int, bytes]]:
        """What has come since the last call, in order, each piece with its stream."""
        if self._fds is None and not self._open():
            return
        assert self._fds is not None
        data, index = self._fds
        skipped = 0 if self._most is None else os.fstat(data).st_size - self._most
        self._most = None
        for stream, length, _ in records(index, after=self._records):
            if os.fstat(data).st_size < self._at + length:
                return
            end = self._at + length
            if end <= skipped:
                self._at = end
            while self._at < end:
                piece = os.pread(data, min(PIECE, end - self._at), self._at)
                if not piece:
                    return
                yield stream, piece
                self._at += len(piece)
            self._records += 1

    def close(self) -> None:
        """Let go of the files."""
        for fd in self._fds or ():
            os.close(fd)
        self._fds = None

    def _open(self) -> bool:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            data = os.open(self._path, flags)
        except OSError:
            return False
        try:
            self._fds = data, os.open(f"{self._path}.idx", flags)
        except OSError:
            os.close(data)
            return False
        return True
