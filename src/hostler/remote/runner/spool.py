"""The runner's folder on a host: its lock, its log of starts and results, its output files.

The log is what makes a second start of an attempt harmless even after the runner has died: a start is written
before the process is made, and its result has room reserved from then on, so a full disk can't lose it. Nothing is
synced: the log outlives every process here, and a power cut on a host is not promised against.
"""

import errno
import fcntl
import json
import os
import struct
import zlib

RECORD = struct.Struct(">2sBBIQQiidQQ")
SIZE = 64
GROW = 256 << 10
NETWORK = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "ceph",
    "glusterfs",
    "lustre",
    "fuse.sshfs",
    "gpfs",
)


def on_network(path: str) -> bool:
    """Whether the folder lies on a network file system, as far as the kernel tells."""
    best, kind = "", ""
    try:
        with open("/proc/self/mounts", "rb") as mounts:
            for line in mounts.read().decode("utf-8", "replace").splitlines():
                words = line.split(" ")
                if len(words) < 3 or len(words[1]) < len(best):
                    continue
                if path == words[1] or path.startswith(words[1].rstrip("/") + "/"):
                    best, kind = words[1], words[2]
    except OSError:
        return False
    return kind in NETWORK


def private(path: str) -> str:
    """Make a folder that is ours alone, or say why it can't be one (OSError)."""
    try:
        os.mkdir(path, 0o700)
        os.chmod(path, 0o700)
    except FileExistsError:
        pass
    facts = os.lstat(path)
    if facts.st_uid != os.getuid() or facts.st_mode & 0o170000 != 0o040000 or facts.st_mode & 0o077:
        raise OSError(errno.EPERM, "not a folder of ours with mode 0700", path)
    return path


def base(asked: str) -> str:
    """The folder for everything of ours: the one asked for, the account's own, or one in /var/tmp."""
    if asked:
        return asked
    home = os.path.expanduser("~")
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(home, ".local", "state")
    try:
        os.makedirs(state, 0o700, exist_ok=True)
        real = os.path.realpath(state)
        if os.access(real, os.W_OK | os.X_OK) and not on_network(real):
            return real
    except OSError:
        pass
    return private("/var/tmp/hostler-%d" % os.getuid())


def folder(asked: str, uid: str, token: str) -> str:
    """Make, and return, the spool of one run on one host."""
    top = base(asked)
    os.makedirs(top, 0o700, exist_ok=True)
    path = os.path.join(top, "hostler")
    for name in ("", uid, token):
        path = private(os.path.join(path, name) if name else path)
    return path


def lock(path: str) -> "int | None":
    """The spool's kernel lock as an open file, held until the last copy is closed; None while another holds it."""
    fd = os.open(os.path.join(path, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return fd
    except OSError:
        os.close(fd)
        return None


class Log:
    """Starts and results, in one file of fixed records, each with its checksum."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = os.path.join(path, "log")
        self.high = 0
        self.starts = {}  # type: dict[int, tuple[int, int]]
        self.results = {}  # type: dict[int, tuple[int, int, int, float, int, int]]
        self.reserved = 0
        self.fd = os.open(self.name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.end = self.replay()
        self.room = os.fstat(self.fd).st_size
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
        with open(path + ".new", "w") as file:
            json.dump(text, file)
        os.rename(path + ".new", path)
        return text

    def replay(self) -> int:
        """Read what an earlier runner left, up to the first record that is not whole."""
        at = 0
        while True:
            block = os.pread(self.fd, 1 << 20, at)
            for i in range(0, len(block) - SIZE + 1, SIZE):
                record = block[i : i + SIZE]
                if record[:2] != b"hr" or struct.unpack_from(">I", record, 60)[0] != zlib.crc32(record[:60]):
                    return at + i
                _, kind, ending, n, serial, job, code, signal, elapsed, out, err = RECORD.unpack_from(record)
                self.high = max(self.high, serial)
                if kind == 1:
                    self.starts[serial] = (job, n)
                elif kind == 2:
                    self.results[serial] = (ending, code, signal, elapsed, out, err)
            if len(block) < SIZE:
                return at
            at += len(block) - len(block) % SIZE

    def reserve(self, count: int) -> None:
        """Make room for `count` starts and their results. Raises OSError when the disk has none."""
        need = self.end + (self.reserved + 2 * count) * SIZE
        if need > self.room:
            grown = need + GROW
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self.fd, self.room, grown - self.room)
            else:
                os.pwrite(self.fd, bytes(grown - self.room), self.room)
            self.room = grown

    def write(self, records: "list[bytes]") -> None:
        """Append packed records, in room that was reserved."""
        data = b"".join(records)
        os.pwrite(self.fd, data, self.end)
        self.end += len(data)

    def start(self, serial: int, job: int, n: int) -> bytes:
        """The record of a start; its result's room counts as taken from now on."""
        self.reserved += 1
        self.starts[serial] = (job, n)
        self.high = max(self.high, serial)
        return pack(1, 0, n, serial, job, 0, 0, 0.0, 0, 0)

    def result(
        self, serial: int, ending: int, code: int, signal: int, elapsed: float, out: int, err: int
    ) -> bytes:
        """The record of a result."""
        self.reserved -= 1
        job, n = self.starts[serial]
        self.results[serial] = (ending, code, signal, elapsed, out, err)
        return pack(2, ending, n, serial, job, code, signal, elapsed, out, err)

    def forget(self, serial: int) -> None:
        """Drop what was acknowledged; the file is rewritten once it is mostly such."""
        self.starts.pop(serial, None)
        self.results.pop(serial, None)
        if self.end > (4 << 20) and (len(self.starts) + len(self.results)) * SIZE * 4 < self.end:
            self.compact()

    def compact(self) -> None:
        """Rewrite the log with what still matters, old or new and never a part."""
        records = [pack(3, 0, 0, self.high, 0, 0, 0, 0.0, 0, 0)]
        for serial, (job, n) in self.starts.items():
            records.append(pack(1, 0, n, serial, job, 0, 0, 0.0, 0, 0))
        for serial, (ending, code, signal, elapsed, out, err) in self.results.items():
            job, n = self.starts[serial]
            records.append(pack(2, ending, n, serial, job, code, signal, elapsed, out, err))
        data = b"".join(records)
        room = len(data) + (self.reserved + 2) * SIZE + GROW
        fd = os.open(self.name + ".new", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(fd, 0, room)
            else:
                os.pwrite(fd, bytes(room), 0)
            os.pwrite(fd, data, 0)
            os.rename(self.name + ".new", self.name)
        except OSError:
            os.close(fd)  # no room for a second copy: the old log stands
            return
        os.close(self.fd)
        self.fd, self.end, self.room = fd, len(data), room


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
) -> bytes:
    """One record with its checksum: kind 1 is a start, 2 a result, 3 the highest serial seen."""
    body = RECORD.pack(b"hr", kind, ending, n, serial, job, code, signal, elapsed, out, err)
    body += bytes(60 - len(body))
    return body + struct.pack(">I", zlib.crc32(body))
