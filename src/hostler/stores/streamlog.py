"""One attempt's own output file: both streams in the order of their arrival, with an index that tells them apart.

Pieces that the disk has no room for are held in memory until `flush` gets them written. It must never write a piece
twice, nor a record before its bytes.
"""

from __future__ import annotations

import os
from pathlib import Path

from hostler.errors import StoreError
from hostler.stores.chunks import SIZE, measure, record
from hostler.stores.files import open_private, trouble, write_at


class StreamLog:
    """The file at `path` and its index. Not for two threads at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.index = path.with_name(path.name + ".idx")
        self._fds: tuple[int, int] | None = None
        self._data = self._records = 0
        self._lengths = [0, 0]
        self._pending: list[tuple[int, bytes]] = []
        #: Bytes that are not written yet.
        self.waiting = 0
        if path.exists():
            self._recover()

    @property
    def new(self) -> bool:
        """Whether nothing of it is on disk yet."""
        return not self._records

    def _recover(self) -> None:
        """Take up what an earlier controller left; what is torn is cut off."""
        data, index = self._open()
        try:
            extent = measure(data, index)
            os.ftruncate(data, extent.data)
            os.ftruncate(index, extent.records * SIZE)
        except OSError as error:
            raise trouble(error, self.path) from error
        self._data, self._records = extent.data, extent.records
        self._lengths = [extent.out, extent.err]

    @property
    def written(self) -> int:
        """How many bytes of both streams together are in the file."""
        return self._data

    @property
    def lengths(self) -> tuple[int, int]:
        """How much of stdout and of stderr was taken in."""
        return self._lengths[0], self._lengths[1]

    def news(self, stream: int, offset: int, data: bytes) -> bytes:
        """What of a piece, whose first byte is number `offset` of its stream, is not here yet.

        Raises StoreError when bytes before it are missing.
        """
        have = self._lengths[stream - 1]
        if offset > have:
            raise StoreError(
                f"{self.path}: stream {stream} goes on at byte {offset}, but only {have} bytes of it are here"
            )
        return data[have - offset :]

    def add(self, stream: int, news: bytes) -> None:
        """Take in the next bytes of a stream."""
        self._pending.append((stream, news))
        self._lengths[stream - 1] += len(news)
        self.waiting += len(news)

    def flush(self) -> None:
        """Write what waits. Raises StoreFull, after which it waits on, or StoreError."""
        while self._pending:
            stream, data = self._pending[0]
            fds = self._open()
            write_at(fds[0], data, self._data, path=self.path)
            write_at(fds[1], record(stream, data), self._records * SIZE, path=self.index)
            self._data += len(data)
            self._records += 1
            self.waiting -= len(data)
            del self._pending[0]

    def close(self) -> None:
        """Close the files, if open; what waits goes on waiting."""
        if self._fds is not None:
            for fd in self._fds:
                os.close(fd)
            self._fds = None

    def _open(self) -> tuple[int, int]:
        if self._fds is None:
            data = open_private(self.path)
            try:
                self._fds = data, open_private(self.index)
            except StoreError:
                os.close(data)
                raise
        return self._fds
