"""The far end's side of the talk: it lists, gives and takes as it is asked, until it is told to go or the line ends.

It must never do anything that was not asked for, and leaves no process behind.
"""

import os
import signal
import sys

from hostler.remote.files.framing import (
    ABSENT,
    BYE,
    COUNTS,
    DONE,
    ENTRIES,
    FAILED,
    FILE,
    FOLDER,
    GATHER,
    GIVE,
    LINK,
    LIST,
    OTHER,
    PLACED,
    REFUSED,
    ROOT,
    TAKE,
    TROUBLE,
    Frames,
    frame,
    one_record,
    record,
    records,
)
from hostler.remote.files.giving import Giver
from hostler.remote.files.taking import Full, Taker
from hostler.remote.files.walking import Walk, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import _Hash

MAGIC = b"\x00hostler-files\x01"
# How something is to be listed (not at all where it is spared and holds the home, or is a folder and a file is to be
# there), and taken.
HASHED, WITHIN, SPARED, FILE_ONLY = 1, 2, 4, 8
DURABLE, PARENTS = 1, 2
#: A root that holds the account's home, so that nothing may be removed beneath it; one whose folder is there.
HOLY, HOUSED = 1, 2


def place(path: bytes) -> bytes:
    """A path as it was given, with a leading ~ for the home."""
    home = os.path.expanduser(b"~")
    if path in (b"", b"~"):
        return home
    return os.path.join(home, path[2:] if path.startswith(b"~/") else path)


def kind_of(path: bytes) -> bytes:
    """What there is at a path, links followed."""
    if os.path.isdir(path):
        return FOLDER
    if os.path.isfile(path):
        return FILE
    return LINK if os.path.islink(path) else OTHER if os.path.exists(path) else ABSENT


def holy(path: bytes) -> bool:
    """Whether a folder is the home, or above it: then nothing in it is ours to remove."""
    home, real = (os.path.realpath(each) for each in (os.path.expanduser(b"~"), path))
    return home == real or home.startswith(real.rstrip(b"/") + b"/")


class Talk:
    """What has been agreed so far with the other end."""

    def __init__(self) -> None:
        self.root = b""
        self.hashes: "dict[bytes, _Hash]" = {}
        self.taker: "Taker | None" = None
        self.wanted: "list[tuple[bytes, int, bytes]]" = []
        self.taking = self.giving = False

    def heard(self, kind: bytes, body: bytes) -> bool:
        """Do what a frame asks; False when it was the last. Raises ValueError."""
        if self.taking:
            self._take(kind, body)
        elif kind == LIST:
            self._list(body)
        elif kind == GIVE:
            self.wanted += [(path, size, more) for _, path, _, size, _, more in records(body)]
            self.giving = True
        elif kind == DONE and self.giving:
            self._give()
        elif kind == TAKE:
            self._begin(body)
        elif kind == BYE:
            return False
        else:
            raise ValueError("a frame of the kind %r at this place" % kind)
        return True

    def ended(self) -> None:
        """The line has ended: keep what is worth it."""
        if self.taker is not None:
            try:
                self.taker.close()
            except Full:
                pass

    def _list(self, body: bytes) -> None:
        _, path, flags, _, _, name = one_record(body)
        root = place(path)
        kind = kind_of(root)
        if flags & WITHIN and (path.endswith(b"/") or kind == FOLDER):
            root = os.path.join(root, name)
            kind = kind_of(root)
        if len(root) > 1:
            root = root.rstrip(b"/") or b"/"
        self.root = root
        about = (HOLY if holy(root) else 0) | (HOUSED if os.path.isdir(os.path.dirname(root)) else 0)
        tell(frame(ROOT, record(kind, root, about)))
        if (flags & SPARED and about & HOLY) or (flags & FILE_ONLY and kind == FOLDER):
            tell(frame(DONE))
            return
        walk = Walk(root, bool(flags & HASHED))
        self.hashes = walk.hashes
        held, size = [], 0
        for each in walk.found():
            held.append(each)
            size += len(each)
            if size >= GATHER:
                tell(frame(ENTRIES, b"".join(held)))
                held, size = [], 0
        tell(frame(ENTRIES, b"".join(held)) + frame(DONE))

    def _give(self) -> None:
        wanted, self.wanted, self.giving = self.wanted, [], False
        for data in Giver(self.root).given(wanted):
            tell(data)
        tell(frame(DONE))

    def _begin(self, body: bytes) -> None:
        flags = one_record(body)[2]
        self.taking = True
        folder, name = os.path.split(self.root)
        inside = b"" if os.path.isdir(self.root) else name
        try:
            if inside and flags & PARENTS:
                os.makedirs(folder, exist_ok=True)
            self.taker = Taker(
                folder if inside else self.root,
                _failed,
                _placed,
                inside=inside,
                durable=bool(flags & DURABLE),
                hashes=self.hashes,
            )
        except OSError as error:
            tell(frame(REFUSED, reason(error)))

    def _take(self, kind: bytes, body: bytes) -> None:
        taker = self.taker
        try:
            if taker is not None:
                taker.take(kind, body)
                if taker.over:
                    taker.close()
                    tell(frame(DONE))
        except Full as error:
            tell(frame(REFUSED, str(error).encode()))
            self.ended()
            self.taker = taker = None
        if kind == DONE:
            self.taking, self.taker = False, None


def _failed(path: bytes, why: bytes) -> None:
    tell(frame(FAILED, record(TROUBLE, path, more=why)))


def _placed(count: int, size: int) -> None:
    tell(frame(PLACED, COUNTS.pack(count, size)))


def tell(data: bytes) -> None:
    """Write to the other end."""
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def talk() -> None:
    """Talk until the end."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    os.umask(0o22)
    tell(MAGIC)
    frames, talking = Frames(), Talk()
    try:
        while True:
            data = os.read(0, 1 << 20)
            if not data:
                break
            for kind, body in frames.feed(data):
                if not talking.heard(kind, body):
                    return
    except ValueError as error:
        sys.exit("hostler: %s" % error)
    except BrokenPipeError:
        pass
    finally:
        talking.ended()


if __name__ == "__hostler__":
    talk()
