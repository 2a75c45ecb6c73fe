"""Tar as it is spoken with hosts that have no Python: written in GNU's form, read in every common one.

What is read comes from a host: lengths are bounded, and nothing is believed but names, sizes and times.
"""

from __future__ import annotations

from collections.abc import Callable

from hostler.remote.files import framing

BLOCK = 512
#: The longest name or set of extended facts that is taken in.
LONGEST = 1 << 20
REGULAR = (b"0", b"\0", b"7")


def header(name: bytes, *, kind: bytes, mode: int, size: int, mtime: int, target: bytes = b"") -> bytes:
    """The blocks before a member's content. `mtime` in seconds."""
    made = b""
    for sign, word in ((b"L", name), (b"K", target)):
        if len(word) > 99:
            made += _block(b"././@LongLink", sign, 0, len(word) + 1, 0, b"") + padded(word + b"\0")
    return made + _block(name[:99], kind, mode, size, mtime, target[:99])


def padded(data: bytes) -> bytes:
    """Content filled up to whole blocks."""
    return data + bytes(padding(len(data)))


def padding(size: int) -> int:
    """How many bytes fill up so much content.

    >>> padding(1), padding(512), padding(0)
    (511, 0, 0)
    """
    return -size % BLOCK


def _block(name: bytes, kind: bytes, mode: int, size: int, mtime: int, target: bytes) -> bytes:
    fields = b"".join(
        (
            name.ljust(100, b"\0"), _number(mode, 8), _number(0, 8), _number(0, 8), _number(size, 12),
            _number(mtime, 12), b" " * 8, kind, target.ljust(100, b"\0"), b"ustar  \0",
        )
    ).ljust(BLOCK, b"\0")  # fmt: skip
    return fields[:148] + b"%06o\0 " % sum(fields) + fields[156:]


def _number(value: int, width: int) -> bytes:
    """A number in octal, or in GNU's binary where that is too short."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    return bytes([0x80 if value >= 0 else 0xFF]) + value.to_bytes(width - 1, "big", signed=True)


def _value(field: bytes) -> int:
    if field[0] & 0x80:
        return int.from_bytes(
            bytes([field[0] & 0x7F if field[0] != 0xFF else 0xFF]) + field[1:], "big", signed=True
        )
    return int(field.strip(b" \0") or b"0", 8)


class Untar:
    """Tars that come in pieces, one behind the other, into frames for a Taker; `mark` begins the block behind the last.

    `call` gives the frames (kind, body); `named` makes a member's name the one by which it was asked for, or None.
    """

    def __init__(
        self, mark: bytes, named: Callable[[bytes], bytes | None], call: Callable[[bytes, bytes], None]
    ) -> None:
        self._mark, self._named, self._call = mark, named, call
        self._held = bytearray()
        self._left = self._pad = 0
        self._what = b""
        self._extra = bytearray()
        self._name = b""
        self._facts: dict[bytes, bytes] = {}
        self.given: set[bytes] = set()
        self.status: int | None = None

    def feed(self, data: bytes) -> None:
        """Take in the next bytes. Raises ValueError on what is no tar."""
        held = self._held
        held += data
        at = 0
        while True:
            if self._left or self._pad:
                piece = bytes(held[at : at + (self._left or self._pad)])
                if not piece:
                    break
                at += len(piece)
                if not self._left:
                    self._pad -= len(piece)
                    continue
                self._left -= len(piece)
                self._content(piece)
                if not self._left:
                    self._ended()
                continue
            if len(held) - at < BLOCK:
                break
            self._block(bytes(held[at : at + BLOCK]))
            at += BLOCK
        del held[:at]

    def _block(self, block: bytes) -> None:
        if block.startswith(self._mark):
            self.status = int(block[len(self._mark) :].split(b"\0")[0] or b"1")
            return
        if not block.strip(b"\0"):
            return
        if _value(block[148:156]) != sum(block[:148]) + 8 * 32 + sum(block[156:]):
            raise ValueError("no tar")
        size = _value(block[124:136])
        kind = block[156:157]
        if kind in REGULAR and b"size" in self._facts:
            size = int(self._facts[b"size"])
        if size < 0 or (kind not in REGULAR and size > LONGEST):
            raise ValueError(f"a member of {size} bytes")
        self._left, self._pad, self._what = size, padding(size), kind
        if kind in REGULAR:
            self._begin(block, size)
        if not size:
            self._ended()

    def _begin(self, block: bytes, size: int) -> None:
        name = block[:100].rstrip(b"\0")
        if block[257:263] == b"ustar\0" and (prefix := block[345:500].rstrip(b"\0")):
            name = prefix + b"/" + name
        name = self._facts.get(b"path", self._name or name)
        path = self._named(name)
        self._what = b"0" if path is not None else b"-"
        if path is not None:
            mtime = _value(block[136:148]) * 1_000_000_000
            if b"mtime" in self._facts:
                mtime = nanoseconds(self._facts[b"mtime"])
            more = framing.OFFSET.pack(0)
            mode = _value(block[100:108]) & 0o7777
            self._call(framing.BEGIN, framing.record(framing.FILE, path, mode, size, mtime, more))
            self.given.add(path)
        self._name, self._facts = b"", {}

    def _content(self, piece: bytes) -> None:
        if self._what == b"0":
            self._call(framing.BYTES, piece)
        elif self._what in (b"L", b"x"):
            self._extra += piece

    def _ended(self) -> None:
        extra, self._extra = bytes(self._extra), bytearray()
        if self._what == b"0":
            self._call(framing.END, b"")
        elif self._what == b"L":
            self._name = extra.rstrip(b"\0")
        elif self._what == b"x":
            self._facts = _extended(extra)


def _extended(data: bytes) -> dict[bytes, bytes]:
    """The facts of a pax header. Raises ValueError."""
    found, at = {}, 0
    while at < len(data):
        length, blank, _ = data[at : at + 24].partition(b" ")
        size = int(length)
        if not blank or not len(length) + 3 <= size <= len(data) - at:
            raise ValueError("no pax header")
        name, _, value = data[at + len(length) + 1 : at + size - 1].partition(b"=")
        found[name] = value
        at += size
    return found


def nanoseconds(text: bytes) -> int:
    """Seconds with a fraction, exactly. Raises ValueError.

    >>> nanoseconds(b"12.5"), nanoseconds(b"-1.5"), nanoseconds(b"7")
    (12500000000, -1500000000, 7000000000)
    """
    whole, _, rest = text.partition(b".")
    part = int(rest[:9].ljust(9, b"0")) if rest else 0
    seconds = int(whole or b"0") * 1_000_000_000
    return seconds - part if whole.startswith(b"-") else seconds + part
