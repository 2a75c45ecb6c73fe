"""What there is beneath a root: every name once, folders before what is in them, and what can't be read as such.

It must never follow a link but, where asked, the root itself, and never open what is no plain file.
"""

import fcntl
import hashlib
import os
import stat

from hostler.remote.files.framing import (
    FILE,
    FOLDER,
    KEPT,
    LINK,
    OTHER,
    PART,
    PIECE,
    TROUBLE,
    is_part,
    part_of,
    record,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0)


def reason(error: OSError) -> bytes:
    """Why the system would not, in its words."""
    return (error.strerror or str(error)).encode("utf-8", "replace")


def hash_of(path: bytes, size: "int | None" = None) -> "hashlib._Hash":
    """The SHA-256 of a file, or of its first `size` bytes. Raises OSError."""
    fd = os.open(path, READING)
    try:
        return read_hash(fd, size)
    finally:
        os.close(fd)


def read_hash(fd: int, size: "int | None" = None) -> "hashlib._Hash":
    """The SHA-256 of what can be read next, of `size` bytes at most. Raises OSError."""
    made = hashlib.sha256()
    left = size
    while left is None or left > 0:
        data = os.read(fd, 4 * PIECE if left is None else min(left, 4 * PIECE))
        if not data:
            break
        made.update(data)
        if left is not None:
            left -= len(data)
    return made


class Walk:
    """A listing of `root`. With `hashed` files have their SHA-256; `hashes` are those of parts, to be gone on with.

    A `root` that is a file is listed as b"", with the parts that are kept for it beside it.
    """

    def __init__(self, root: bytes, hashed: bool = False, follow: bool = True) -> None:
        self.root, self.hashed, self.follow = root, hashed, follow
        self.hashes: "dict[bytes, hashlib._Hash]" = {}

    def found(self) -> "Iterator[bytes]":
        """Records, the root's first; nothing where there is no root."""
        try:
            found = os.stat(self.root) if self.follow else os.lstat(self.root)
        except FileNotFoundError:
            yield from self._beside()
            return
        except OSError as error:
            yield record(TROUBLE, b"", more=reason(error))
            return
        yield from self._one(b"", self.root, found)
        if stat.S_ISDIR(found.st_mode):
            yield from self._beneath()
        else:
            yield from self._beside()

    def _beside(self) -> "Iterator[bytes]":
        folder, name = os.path.split(self.root)
        begin = part_of(name)
        try:
            names = [each for each in os.listdir(folder or b".") if each.startswith(begin) and is_part(each)]
        except OSError:
            return
        for each in names:
            path = os.path.join(folder, each)
            yield from self._part(each, path, os.lstat(path))

    def _beneath(self) -> "Iterator[bytes]":
        waiting = [b""]
        while waiting:
            inside = waiting.pop()
            folder = os.path.join(self.root, inside) if inside else self.root
            try:
                with os.scandir(folder) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError as error:
                yield record(TROUBLE, inside, more=reason(error))
                continue
            folders = []
            for entry in entries:
                path = inside + b"/" + entry.name if inside else entry.name
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # gone meanwhile
                except OSError as error:
                    yield record(TROUBLE, path, more=reason(error))
                    continue
                if is_part(entry.name) and stat.S_ISREG(found.st_mode):
                    yield from self._part(path, entry.path, found)
                    continue
                if stat.S_ISDIR(found.st_mode):
                    folders.append(path)
                yield from self._one(path, entry.path, found)
            waiting.extend(reversed(folders))

    def _one(self, path: bytes, place: bytes, found: os.stat_result) -> "Iterator[bytes]":
        mode, more, size = found.st_mode, b"", 0
        kind = OTHER
        try:
            if stat.S_ISDIR(mode):
                kind = FOLDER
            elif stat.S_ISLNK(mode):
                kind, more = LINK, os.readlink(place)
            elif stat.S_ISREG(mode):
                kind, size = FILE, found.st_size
                if self.hashed:
                    more = hash_of(os.path.realpath(place) if not path else place).digest()
        except FileNotFoundError:
            return
        except OSError as error:
            yield record(TROUBLE, path, more=reason(error))
            return
        yield record(kind, path, stat.S_IMODE(mode), size, found.st_mtime_ns, more)

    def _part(self, path: bytes, place: bytes, found: os.stat_result) -> "Iterator[bytes]":
        more = b""
        try:
            fd = os.open(place, READING)
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
                if found.st_size >= KEPT:
                    self.hashes[path] = made = read_hash(fd, found.st_size)
                    more = made.digest()
            finally:
                os.close(fd)
        except OSError:
            return  # somebody is at it, or it is not ours
        yield record(PART, path, 0, found.st_size, found.st_mtime_ns, more)
