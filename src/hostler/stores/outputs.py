"""Where a run's output is kept: short output of many attempts packed in one file, long output in a file of its own.

What is taken in may lie in memory until `sync`, and no row names it before that: `sync` is run right before the commit
that does. A disk without room holds `sync` up, not the taking in, up to a limit. Output of hosts is bytes: it is never
looked into here.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from hostler.errors import StoreFull
from hostler.model.jobs import OutputRef
from hostler.stores.files import make_folder, open_private, sync_file, sync_folder, write_at
from hostler.stores.output_reading import log_ref, part, read_both, read_output, tail
from hostler.stores.streamlog import StreamLog

#: Long outputs open at once. Each has two files: with the packed one and that being synced, 64 in all.
OPEN_LOGS = 31
#: Bytes of short output gathered before they are written without waiting for `sync`.
GATHER = 64 << 10
#: Bytes held in memory while the disk is full; beyond it nothing more is taken in.
HELD = 16 << 20

Key = tuple[int, int]


class RunOutputs:
    """The output of one run, as long as this controller, whose epoch it is, works on it.

    `folder` is the run's own. Everything but `sync` is called on one thread, `sync` on any, also meanwhile.
    """

    def __init__(self, folder: Path, *, epoch: int) -> None:
        self._out = folder / "out"
        make_folder(self._out)
        # No controller writes to the packed file of another: a torn end of an older one is never built upon.
        self._packed = self._out / f"{epoch}.dat"
        self._packed_fd: int | None = None
        self._packed_at = self._packed.stat().st_size if self._packed.exists() else 0
        self._gathered = bytearray()
        self._logs: dict[Key, StreamLog] = {}
        # Those of them that are open, the one used last at the end.
        self._open: OrderedDict[Key, StreamLog] = OrderedDict()
        self._done: list[StreamLog] = []
        self._waiting = 0
        self._unsynced: set[Path] = set()
        self._unsynced_folders: set[Path] = {self._out, folder}
        self._busy = threading.Lock()

    def whole(self, out: bytes, err: bytes) -> OutputRef | None:
        """Keep a short attempt's whole output; None when there is none.

        Raises StoreFull when too much is waiting for room already; nothing is taken in then.
        """
        if not out and not err:
            return None
        with self._busy:
            self._take(len(out) + len(err))
            offset = self._packed_at + len(self._gathered)
            self._gathered += out
            self._gathered += err
            if len(self._gathered) >= GATHER:
                with suppress(StoreFull):
                    self._write_gathered()
            return OutputRef(f"out/{self._packed.name}", offset, len(out), len(err))

    def append(self, job: int, n: int, stream: int, offset: int, data: bytes) -> None:
        """Add a piece to a long attempt's own file; what it holds already is skipped.

        Raises StoreError when bytes before `offset` are missing, StoreFull when too much is waiting for room already.
        """
        with self._busy:
            log = self._log((job, n))
            news = log.news(stream, offset, data)
            if news:
                self._take(len(news))
                log.add(stream, news)
                with suppress(StoreFull):
                    self._write_log(log)

    def held(self, job: int, n: int) -> tuple[int, int]:
        """How many bytes of stdout and stderr are kept of this attempt, whoever began to."""
        with self._busy:
            return self._log((job, n)).lengths if self._has((job, n)) else (0, 0)

    def written(self, job: int, n: int) -> int:
        """How long the own file of an attempt is that this controller hears of; 0 while there is none."""
        log = self._logs.get((job, n))
        return log.written if log is not None else 0

    def finish(self, job: int, n: int) -> OutputRef | None:
        """Close a long attempt's file; None when there never was one."""
        key = (job, n)
        with self._busy:
            if not self._has(key):
                return None
            log = self._log(key)
            del self._logs[key]
            self._open.pop(key, None)
            log.close()
            if log.waiting:
                self._done.append(log)
            out, err = log.lengths
            return OutputRef(f"out/{log.path.name}", 0, out, err, indexed=True)

    def sync(self) -> None:
        """Make all that was taken in before this call durable. Raises StoreFull, after which it may be called again."""
        with self._busy:
            self._write_gathered()
            while self._done:
                self._write_log(self._done[0])
                self._done.pop(0).close()
            if self._waiting:
                for key, log in self._logs.items():
                    self._write_log(log)
                    if key not in self._open:
                        log.close()
            files, self._unsynced = self._unsynced, set()
            folders, self._unsynced_folders = self._unsynced_folders, set()
        try:
            # By descriptors of its own: the other thread may close and open files meanwhile.
            for path in files:
                sync_file(path)
            for path in folders:
                sync_folder(path)
        except BaseException:
            with self._busy:
                self._unsynced |= files
                self._unsynced_folders |= folders
            raise

    def close(self) -> None:
        """Close every file. What was not synced may be lost."""
        with self._busy:
            for log in self._open.values():
                log.close()
            self._open.clear()
            if self._packed_fd is not None:
                os.close(self._packed_fd)
                self._packed_fd = None

    def _has(self, key: Key) -> bool:
        return key in self._logs or self._path(key).exists()

    def _path(self, key: Key) -> Path:
        return self._out / f"{key[0]}.{key[1]}.log"

    def _log(self, key: Key) -> StreamLog:
        """The attempt's file; the one that was not used for longest is closed to make place."""
        log = self._logs.get(key)
        if log is None:
            log = self._logs[key] = StreamLog(self._path(key))
        self._open[key] = log
        self._open.move_to_end(key)
        while len(self._open) > OPEN_LOGS:
            self._open.popitem(last=False)[1].close()
        return log

    def _write_log(self, log: StreamLog) -> None:
        waited = log.waiting
        if not waited:
            return
        if log.new:
            self._unsynced_folders.add(self._out)
        self._unsynced |= {log.path, log.index}
        try:
            log.flush()
        finally:
            self._waiting -= waited - log.waiting

    def _write_gathered(self) -> None:
        if not self._gathered:
            return
        if self._packed_fd is None:
            self._packed_fd = open_private(self._packed)
            self._unsynced_folders.add(self._out)
        self._unsynced.add(self._packed)
        write_at(self._packed_fd, self._gathered, self._packed_at, path=self._packed)
        self._packed_at += len(self._gathered)
        self._waiting -= len(self._gathered)
        self._gathered = bytearray()

    def _take(self, more: int) -> None:
        if self._waiting and self._waiting + more > HELD:
            raise StoreFull(f"{self._out}: {self._waiting} bytes of output wait for room on its disk")
        self._waiting += more


__all__ = ["RunOutputs", "log_ref", "part", "read_both", "read_output", "tail"]
