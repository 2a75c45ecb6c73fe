"""The frames that the controller and the runner exchange; both ends use this one file.

A frame is a length (4 bytes, of what follows the 5-byte head), a type (1 byte) and a body. Numbers are big-endian.
Starts carry the SHA-256 of their body: a message that was cut starts nothing. It must never hold a policy, and never
raise anything but ValueError on bytes that make no sense.
"""

import hashlib
import struct

PROTOCOL = 1
MAX_FRAME = 64 << 20
#: No serial, epoch or place in a stream is higher; no host has more slots.
HIGHEST, MOST_SLOTS = 1 << 62, 10000
CHUNK = 64 << 10
#: Output up to this many bytes travels inside the result; more goes before it, within the credit given.
INLINE = 8 << 10

HEAD = struct.Struct(">IB")
START = struct.Struct(">QQIdBI")
RESULT = struct.Struct(">QBiidQQBIII")
OUTPUT = struct.Struct(">QBQ")
BEGAN = struct.Struct(">Qd")
FOLLOW = struct.Struct(">QQQ")
KILL = struct.Struct(">dB")
NUMBER = struct.Struct(">Q")
#: When a renewal was sent, by the controller's steady clock in microseconds, and the newest one whose answer it heard:
#: a host may count its lease only from what the controller knows to have arrived.
RENEWAL = struct.Struct(">QQ")

# From the controller.
HELLO, STARTS, REVOKE, KILLS, ACK, RENEW, FOLLOWS, CREDIT, SLOTS, BYE = b"HSVKANFCZB"
# From the runner.
R_HELLO, R_BEGAN, R_OUTPUT, R_RESULT, R_REVOKED, R_REFUSED, R_LOST, R_RENEWED, R_BYE, R_HELD = b"hborvxlngw"

#: Endings by their number on the wire; only ever added to.
ENDINGS = (
    "ok",
    "exit",
    "signal",
    "timeout",
    "interrupted",
    "output-limit",
    "cancelled",
    "kill-failed",
    "lost",
    "staging-failed",
)
NO_CODE = -(1 << 31)
#: A goodbye's first byte says whether another try is of use; words follow it.
AGAIN, NEVER = b"\x00", b"\x01"
MAGIC = b"\x00hostler-runner\x01"


def frame(kind: int, body: bytes) -> bytes:
    """One frame."""
    return HEAD.pack(len(body), kind) + body


def numbers(values: "list[int]") -> bytes:
    """A list of serials."""
    return struct.pack(">%dQ" % len(values), *values)


def read_numbers(body: bytes) -> "tuple[int, ...]":
    """The serials that `numbers` packed. Raises ValueError on a length that can't be."""
    if len(body) % 8:
        raise ValueError("a list of numbers of %d bytes" % len(body))
    return struct.unpack(">%dQ" % (len(body) // 8), body)


def pack_starts(starts: "list[tuple[int, int, int, tuple[bytes, ...], bool, float]]") -> bytes:
    """The body of a start message: (serial, job, n, words, shell, timeout or 0) each, with its digest before it."""
    parts = []
    for serial, job, n, words, shell, timeout in starts:
        parts.append(START.pack(serial, job, n, timeout, 1 if shell else 0, len(words)))
        parts.append(struct.pack(">%dI" % len(words), *map(len, words)))
        parts.extend(words)
    body = b"".join(parts)
    return hashlib.sha256(body).digest() + body


def unpack_starts(body: bytes) -> "list[tuple[int, int, int, tuple[bytes, ...], bool, float]]":
    """What `pack_starts` packed. Raises ValueError when the digest does not fit, or a start has no words."""
    if hashlib.sha256(memoryview(body)[32:]).digest() != body[:32]:
        raise ValueError("a start message was damaged on its way")
    starts, at, end = [], 32, len(body)
    try:
        while at < end:
            serial, job, n, timeout, shell, count = START.unpack_from(body, at)
            at += START.size
            lengths = struct.unpack_from(">%dI" % count, body, at)
            at += 4 * count
            words = []
            for length in lengths:
                words.append(body[at : at + length])
                at += length
            if not words or at > end or not timeout >= 0:
                raise ValueError("a start without its words, or with a time that is none")
            starts.append((serial, job, n, tuple(words), bool(shell), timeout))
    except struct.error:
        raise ValueError("a start message that ends too early") from None
    return starts


class Frames:
    """Cuts a stream of bytes into frames, none longer than `limit` bytes."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self.limit = limit
        self.rest = bytearray()

    def feed(self, data: bytes) -> "list[tuple[int, bytes]]":
        """The frames that are complete now, as (type, body). Raises ValueError on a length that can't be."""
        rest, found, at = self.rest, [], 0
        rest += data
        end = len(rest)
        while end - at >= 5:
            size, kind = HEAD.unpack_from(rest, at)
            if size > self.limit:
                raise ValueError("a frame of %d bytes" % size)
            if end - at - 5 < size:
                break
            found.append((kind, bytes(rest[at + 5 : at + 5 + size])))
            at += 5 + size
        if at:
            del rest[:at]
        return found
