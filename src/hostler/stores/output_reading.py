"""Output read back, for people and for other processes: piece by piece, whatever its size.

It must never follow a link or leave the run's folder, and never hold more than a piece.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hostler.errors import StoreError
from hostler.model.jobs import OutputRef
from hostler.stores.chunks import measure, records

#: `tail` looks no further back than this many bytes of the stream.
TAIL = 8 << 10


def read_output(folder: Path, ref: OutputRef, stream: int, chunk: int = 65536) -> Iterator[bytes]:
    """One stream (1 or 2) of an attempt's output, at most `chunk` bytes at a time. `folder` is the run's own.

    Raises StoreError when the file is gone, or shorter than the store knows it to be.
    """
    for of, data in read_both(folder, ref, chunk):
        if of == stream:
            yield data


def read_both(folder: Path, ref: OutputRef, chunk: int = 65536) -> Iterator[tuple[int, bytes]]:
    """Both streams of an attempt's output, each piece with its stream: as they arrived where that is known."""
    yield from read_last(folder, ref, ref.out + ref.err, chunk)


def read_last(folder: Path, ref: OutputRef, most: int, chunk: int = 65536) -> Iterator[tuple[int, bytes]]:
    """The last `most` bytes of an attempt's output, both streams together, as `read_both` gives them."""
    with _opened(folder, ref.file) as data:
        before = max(0, ref.out + ref.err - most)
        for stream, at, length in _places(folder, ref):
            end, some = at + length, min(before, length)
            before, at = before - some, at + some
            while at < end:
                piece = os.pread(data, min(chunk, end - at), at)
                if not piece:
                    raise StoreError(f"{folder / ref.file}: cut short, {end - at} bytes are missing")
                yield stream, piece
                at += len(piece)


def last_part(folder: Path, file: str, length: int) -> bytes:
    """The last `length` bytes of a file of the run, or all there is; empty where there is none. Raises StoreError."""
    if not os.path.lexists(folder / file):
        return b""
    with _opened(folder, file) as data:
        return os.pread(data, length, max(0, os.fstat(data).st_size - length))


def part(folder: Path, file: str, at: int, length: int) -> bytes:
    """So many bytes of a file of the run, from a place in it, or fewer at its end. Raises StoreError."""
    with _opened(folder, file) as data:
        return os.pread(data, length, at)


def tail(folder: Path, ref: OutputRef, stream: int, lines: int) -> bytes:
    """The last `lines` lines of a stream, as far as they lie within its last 8 KiB. Raises StoreError."""
    wanted = TAIL
    pieces: list[tuple[int, int]] = []
    for of, at, length in reversed([*_places(folder, ref)]):
        if of == stream and wanted > 0:
            some = min(length, wanted)
            pieces.append((at + length - some, some))
            wanted -= some
    with _opened(folder, ref.file) as data:
        end = b"".join(os.pread(data, length, at) for at, length in reversed(pieces))
    found = end.splitlines(keepends=True)
    return b"".join(found[-lines:]) if lines > 0 else b""


def log_ref(folder: Path, job: int, n: int) -> OutputRef | None:
    """Where the output of an attempt that has not ended lies by now; None while it has no file of its own."""
    name = f"out/{job}.{n}.log"
    if not (folder / name).exists() or not (folder / f"{name}.idx").exists():
        return None
    with _opened(folder, name) as data, _opened(folder, name + ".idx") as index:
        extent = measure(data, index)
    return OutputRef(name, 0, extent.out, extent.err, indexed=True)


def _places(folder: Path, ref: OutputRef) -> Iterator[tuple[int, int, int]]:
    """Stream, place and length of each piece of the output, in the order in which it is kept."""
    if not ref.indexed:
        yield 1, ref.offset, ref.out
        yield 2, ref.offset + ref.out, ref.err
        return
    left = {1: ref.out, 2: ref.err}
    at = 0
    with _opened(folder, ref.file + ".idx") as index:
        for stream, length, _ in records(index):
            some = min(length, left[stream])
            left[stream] -= some
            yield stream, at, some
            at += length
            if not any(left.values()):
                return
    if any(left.values()):
        raise StoreError(f"{folder / ref.file}.idx: cut short, {sum(left.values())} bytes can't be told")


@contextmanager
def _opened(folder: Path, file: str) -> Iterator[int]:
    parts = Path(file).parts
    if os.path.isabs(file) or ".." in parts:
        raise StoreError(f"{file}: not within the run's folder")
    path = folder / file
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; this output is gone") from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise StoreError(f"{path}: no file of ours; this output is gone")
        yield fd
    finally:
        os.close(fd)
