"""What makes a second start of an attempt harmless even after the runner has died: starts and results on disk.

A start is written before the process is made, and its result has room reserved from then on, so a full disk can't
lose it. Nothing is synced: the log outlives every process here, and a power cut on a host is not promised against.
What can't be read any more is never taken for something that never was.
"""

import errno
import json
import os
import struct
import zlib

RECORD = struct.Struct(">2sBBIQQiidQQI")
ACKED = struct.Struct(">2sBB6Q")
SIZE = 64
GROW = 256 << 10
#: Bytes at which a log is looked at for what is no longer needed.
COMPACT = 4 << 20
NOTHING = bytes(SIZE)


class Log:
    """Starts, results and acknowledgements in one file of fixed records, each with its checksum.

    `starts` holds (job, n, number of its files) by serial, `results` (ending, code, signal, elapsed, bytes of stdout,
    bytes of stderr). `high` is the highest serial ever started, `epoch` the newest controller's, and `damaged` tells
    that records were found which can't be read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = os.path.join(path, "log")
        self.high = self.epoch = 0
        self.damaged = False
        self.starts = {}  # type: dict[int, tuple[int, int, int]]
        self.results = {}  # type: dict[int, tuple[int, int, int, float, int, int]]
        self.reserved = 0
        self.pending = []  # type: list[bytes]
        self.fd = os.open(self.name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.end = self.replay()
        self.reserved = len(self.starts) - len(self.results)
        self.room = os.fstat(self.fd).st_size
        self.mark = max(COMPACT, 2 * self.end)
        self.id = self.identity()

    def identity(self) -> str:
        """The name of this spool, made when it was: another name means that the old one's content is gone."""
        path = os.path.join(self.path, "id")
        try:
            with open(path) as file:
                text = json.load(file)
                if isinstance(text, str) and len(text) == 32:
                    return text
        except (OSError, ValueError):
            pass
        text = os.urandom(16).hex()
        with open(os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(text, file)
        os.rename(path + ".new", path)
        return text

    def replay(self) -> int:
        """Read what an earlier runner left; where the next record goes."""
        at = end = 0
        while True:
            block = os.pread(self.fd, 1 << 20, at)
            for i in range(0, len(block) - SIZE + 1, SIZE):
                record = block[i : i + SIZE]
                if record == NOTHING:
                    continue
                if at + i > end or not self.take_in(record):
                    self.damaged = True
                end = at + i + SIZE
            if len(block) < SIZE:
                return end
            at += len(block) - len(block) % SIZE

    def take_in(self, record: bytes) -> bool:
        """Read one record; False when it makes no sense."""
        if record[:2] != b"hr" or struct.unpack_from(">I", record, 60)[0] != zlib.crc32(record[:60]):
            return False
        kind = record[2]
        if kind == 4:
            for serial in ACKED.unpack_from(record)[3 : 3 + record[3]]:
                self.starts.pop(serial, None)
                self.results.pop(serial, None)
            return True
        _, kind, ending, n, serial, job, code, signal, elapsed, out, err, number = RECORD.unpack_from(record)
        self.high = max(self.high, serial)
        if kind == 3:
            self.epoch = max(self.epoch, job)
        else:
            self.starts[serial] = (job, n, number)
            if kind == 2:
                self.results[serial] = (ending, code, signal, elapsed, out, err)
        return True

    def reserve(self, count: int) -> None:
        """Make room for `count` starts and their results. Raises OSError when the disk has none."""
        need = self.end + (len(self.pending) + self.reserved + 2 * count) * SIZE
        if need > self.room:
            grown = need + GROW
            allocate(self.fd, self.room, grown - self.room)
            self.room = grown

    def write(self) -> None:
        """Put on disk what is pending. Raises OSError; it is pending still, then."""
        if self.pending:
            data = b"".join(self.pending)
            if os.pwrite(self.fd, data, self.end) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.end += len(data)
            self.pending = []

    def start(self, serial: int, job: int, n: int, number: int) -> None:
        """Note a start, in room that was reserved; its result's room counts as taken from now on."""
        self.reserved += 1
        self.starts[serial] = (job, n, number)
        if serial > self.high:
            self.high = serial
        self.pending.append(pack(1, 0, n, serial, job, 0, 0, 0.0, 0, 0, number))

    def unwrite(self, serials: "list[int]") -> None:
        """Take back the last starts, which could not be written."""
        del self.pending[len(self.pending) - len(serials) :]
        for serial in serials:
            del self.starts[serial]
            self.reserved -= 1

    def result(
        self, serial: int, ending: int, code: int, signal: int, elapsed: float, out: int, err: int
    ) -> None:
        """Note a result."""
        self.reserved -= 1
        job, n, number = self.starts[serial]
        self.results[serial] = (ending, code, signal, elapsed, out, err)
        self.pending.append(pack(2, ending, n, serial, job, code, signal, elapsed, out, err, number))

    def lead(self, epoch: int) -> None:
        """Note the newest controller's epoch, as far as there is room."""
        if epoch > self.epoch:
            self.epoch = epoch
            self.afterthought([self.summit()])

    def forget(self, serials: "list[int]") -> None:
        """Drop what was acknowledged; the file is rewritten once it is mostly such."""
        known = [serial for serial in serials if self.starts.pop(serial, None)]
        for serial in known:
            self.results.pop(serial, None)
        self.afterthought([acked(known[i : i + 6]) for i in range(0, len(known), 6)])
        if self.end > self.mark:
            self.compact()

    def afterthought(self, records: "list[bytes]") -> None:
        """Note what is good to know but no loss to forget: never in room that is reserved for results."""
        if self.end + (len(self.pending) + self.reserved + len(records)) * SIZE > self.room:
            try:
                self.reserve(len(records))
            except OSError:
                return
        self.pending += records

    def summit(self) -> bytes:
        """The record of the highest serial and epoch."""
        return pack(3, 0, 0, self.high, self.epoch, 0, 0, 0.0, 0, 0, 0)

    def compact(self) -> None:
        """Rewrite the log with what still matters: the old one or the new one is there, never a part."""
        records = [self.summit()]
        for serial, (job, n, number) in self.starts.items():
            records.append(pack(1, 0, n, serial, job, 0, 0, 0.0, 0, 0, number))
        for serial, (ending, code, signal, elapsed, out, err) in self.results.items():
            job, n, number = self.starts[serial]
            records.append(pack(2, ending, n, serial, job, code, signal, elapsed, out, err, number))
        data = b"".join(records)
        room = len(data) + (self.reserved + 2) * SIZE + GROW
        fd = -1
        try:
            fd = os.open(self.name + ".new", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            allocate(fd, 0, room)
            if os.pwrite(fd, data, 0) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.rename(self.name + ".new", self.name)
        except OSError:
            if fd >= 0:
                os.close(fd)
            # No room for a second copy: the old log stands, and this is not tried again soon.
            self.mark = self.end + COMPACT
            return
        os.close(self.fd)
        self.fd, self.end, self.room, self.pending = fd, len(data), room, []
        self.mark = max(COMPACT, 4 * self.end)


def allocate(fd: int, at: int, size: int) -> None:
    """Have the disk promise `size` bytes from `at` on. Raises OSError."""
    try:
        os.posix_fallocate(fd, at, size)
    except (AttributeError, OSError) as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS):
            raise
        if os.pwrite(fd, bytes(size), at) != size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None


def pack(
    kind: int,
    ending: int,
    n: int,
    serial: int,
    job: int,
    code: int,
    signal: int,
    elapsed: float,
    out: int,
    err: int,
    number: int,
) -> bytes:
    """One record with its checksum: kind 1 is a start, 2 a result, 3 the highest serial and epoch."""
    body = RECORD.pack(b"hr", kind, ending, n, serial, job, code, signal, elapsed, out, err, number)
    return body + struct.pack(">I", zlib.crc32(body))


def acked(serials: "list[int]") -> bytes:
    """The record of up to six acknowledged serials."""
    body = ACKED.pack(b"hr", 4, len(serials), *serials, *([0] * (6 - len(serials)))) + bytes(8)
    return body + struct.pack(">I", zlib.crc32(body))
