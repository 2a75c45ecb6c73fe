"""The index beside an attempt's own output file: which piece of it belongs to which stream.

One record of twelve bytes per piece: its stream, its length, and a checksum of its bytes, so that what a crash or a
power cut tore off is told from what is whole. Pure, but for reading the two files that it is about.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from zlib import crc32

from msgspec import Struct

RECORD = struct.Struct("<IIBxxB")
SIZE = RECORD.size
#: Ends every record: a record of zeros, which a power cut may leave, is none.
_END = 0xA5
#: How much of a file's end is looked at byte by byte when it is found again. More than this is never unsynced.
CHECKED = 32 << 20
_LARGEST = 1 << 30


class Extent(Struct, frozen=True):
    """How much of an output file is whole: bytes of data, records, and the lengths of both streams."""

    data: int = 0
    records: int = 0
    out: int = 0
    err: int = 0


def record(stream: int, data: bytes | memoryview) -> bytes:
    """The index record of a piece of output. `stream` is 1 or 2."""
    return RECORD.pack(len(data), crc32(data), stream, _END)


def records(index: int, *, after: int = 0) -> Iterator[tuple[int, int, int]]:
    """Stream, length and checksum of each piece behind the first `after`, up to the first that is not whole.

    `index` is the index's file descriptor.
    """
    at = after * SIZE
    while block := os.pread(index, SIZE * 4096, at):
        for place in range(0, len(block) - SIZE + 1, SIZE):
            length, checksum, stream, end = RECORD.unpack_from(block, place)
            if end != _END or stream not in (1, 2) or not 0 < length <= _LARGEST:
                return
            yield stream, length, checksum
        at += len(block) // SIZE * SIZE
        if len(block) % SIZE:
            return


def measure(data: int, index: int) -> Extent:
    """How much is whole of an output file and its index, given as file descriptors.

    The truth after a crash: no more than both tell, and near the end no piece whose bytes are not what was written.
    """
    size = os.fstat(data).st_size
    lengths = [0, 0]
    at = count = 0
    for stream, length, checksum in records(index):
        if at + length > size:
            break
        if size - at <= CHECKED and crc32(os.pread(data, length, at)) != checksum:
            break
        at, count = at + length, count + 1
        lengths[stream - 1] += length
    return Extent(at, count, *lengths)
