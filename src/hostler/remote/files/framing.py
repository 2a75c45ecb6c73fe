"""The words in which two ends speak of files: frames, records, and the names of files that are not whole yet.

A frame is a kind (1 byte), a length (4 bytes) and a body; a record is what is known of one name in a tree. Names are
bytes, relative to the root of the tree, b"" for the root itself. It must never raise anything but ValueError on bytes
that make no sense.
"""

import hashlib
import struct

HEAD = struct.Struct(">cI")
#: kind, rights, size, time of the last change in ns, then the lengths of name and more.
RECORD = struct.Struct(">cHQqII")
LONGEST_FRAME = 4 << 20
#: No file is longer.
LARGEST = 1 << 62
LONGEST_NAME = 64 << 10
#: Bytes of a file in one frame, and bytes that are gathered before they are let go of.
PIECE = 128 << 10
GATHER = 256 << 10

# Kinds of records: what a name is. `more` is a link's target, a file's SHA-256 where it was asked for, a reason.
FOLDER, FILE, LINK, OTHER, ABSENT, TROUBLE, PART = b"d", b"f", b"l", b"s", b"-", b"!", b"p"

# Kinds of frames. What is asked:
LIST, GIVE, TAKE, BYE = b"?", b"G", b"T", b"Q"
# What is answered:
ROOT, ENTRIES, DONE, REFUSED, PLACED, READY = b"r", b"e", b".", b"x", b"+", b"y"
# The stream of what differs; a piece of a file is told as it comes in, before its frame is whole.
BEGIN, BYTES, HOLE, END, ABORT, FAILED = b"F", b"B", b"Z", b"E", b"A", b"!"
MAKE, POINT, AMEND, REMOVE, CLEAR, SWEEP = b"D", b"L", b"M", b"X", b"C", b"P"

OFFSET = struct.Struct(">Q")
COUNTS = struct.Struct(">IQ")

#: How files that are not whole yet begin, and the size from which one that was cut is kept.
PREFIX, SUFFIX = b".hostler-", b".part"
KEPT = 1 << 20


def frame(kind: bytes, body: bytes = b"") -> bytes:
    """One frame."""
    return HEAD.pack(kind, len(body)) + body


def record(
    kind: bytes, path: bytes, mode: int = 0, size: int = 0, mtime: int = 0, more: bytes = b""
) -> bytes:
    """One record."""
    return RECORD.pack(kind, mode, size, mtime, len(path), len(more)) + path + more


def records(body: bytes) -> "list[tuple[bytes, bytes, int, int, int, bytes]]":
    """The records of a body, each as (kind, path, mode, size, mtime, more). Raises ValueError."""
    found, at, end, head = [], 0, len(body), RECORD.size
    while at < end:
        if end - at < head:
            raise ValueError("half a record")
        kind, mode, size, mtime, names, mores = RECORD.unpack_from(body, at)
        at += head
        if size > LARGEST:
            raise ValueError("a size of %d" % size)
        if names > LONGEST_NAME or mores > LONGEST_NAME or end - at < names + mores:
            raise ValueError("a record longer than its frame")
        found.append((kind, body[at : at + names], mode, size, mtime, body[at + names : at + names + mores]))
        at += names + mores
    return found


def one_record(body: bytes) -> "tuple[bytes, bytes, int, int, int, bytes]":
    """The only record of a body. Raises ValueError."""
    found = records(body)
    if len(found) != 1:
        raise ValueError("%d records instead of one" % len(found))
    return found[0]


def checked(path: bytes) -> bytes:
    """A name within a tree. Raises ValueError on one that would lead out of it."""
    if path and (b"\0" in path or any(part in (b"", b".", b"..") for part in path.split(b"/"))):
        raise ValueError("the name %r leads out of its folder" % path)
    return path


def part_name(name: bytes, size: int, mtime: int) -> bytes:
    """What a file is called until it is whole: the same for the same content, so that it can be gone on with."""
    return part_of(name) + hashlib.sha256(b"%d %d" % (size, mtime)).hexdigest()[:16].encode() + SUFFIX


def part_of(name: bytes) -> bytes:
    """How the names of all unfinished files for one name begin."""
    return PREFIX + hashlib.sha256(name).hexdigest()[:16].encode() + b"-"


def is_part(name: bytes) -> bool:
    """Whether a name is one that only we give."""
    return name.startswith(PREFIX) and name.endswith(SUFFIX)


class Frames:
    """Bytes into frames. Pieces of files are given as they come, so that nothing big is ever held."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._left = 0

    def feed(self, data: bytes) -> "list[tuple[bytes, bytes]]":
        """The frames that are there after the next bytes, as (kind, body). Raises ValueError."""
        found = []
        held = self._held
        at = 0
        if held:
            held += data
            data = bytes(held)
            del held[:]
        end = len(data)
        while at < end:
            if self._left:
                piece = data[at : at + self._left]
                self._left -= len(piece)
                at += len(piece)
                found.append((BYTES, piece))
                continue
            if end - at < 5:
                break
            kind, size = HEAD.unpack_from(data, at)
            if size > LONGEST_FRAME:
                raise ValueError("a frame of %d bytes" % size)
            if kind == BYTES:
                self._left = size
                at += 5
                continue
            if end - at < 5 + size:
                break
            found.append((kind, data[at + 5 : at + 5 + size]))
            at += 5 + size
        if at < end:
            held += data[at:]
        return found
