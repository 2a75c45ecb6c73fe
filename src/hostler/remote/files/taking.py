"""A stream of what differs, made so beneath a root: folders, links, rights, removals, and files through a part's name.

It must never write through a link, nor outside its root, nor leave a part under the name that was meant.
"""

import errno
import fcntl
import os
import stat

from hostler.remote.files.framing import (
    ABORT,
    AMEND,
    BEGIN,
    BYTES,
    CLEAR,
    DONE,
    END,
    FAILED,
    FILE,
    FOLDER,
    HOLE,
    KEPT,
    MAKE,
    OFFSET,
    POINT,
    REMOVE,
    SUFFIX,
    SWEEP,
    checked,
    one_record,
    part_name,
    part_of,
)
from hostler.remote.files.placing import Folders, Placing, ours
from hostler.remote.files.walking import READING, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from hashlib import _Hash

#: After these nothing more can be written here.
FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
OLD = os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0)


class Full(Exception):
    """No more can be written here; its words are for people."""

    pass  # noqa: PIE790 - its docstring isn't sent


class Incoming:
    """The one file that is coming in."""

    def __init__(self, path: bytes, part: bytes, fd: int, mode: int, size: int, mtime: int) -> None:
        self.path, self.part, self.fd = path, part, fd
        self.mode, self.size, self.mtime = mode, size, mtime
        self.at = 0
        self.made: "_Hash | None" = None


class Taker:
    """Takes a stream in beneath `root`, where all names begin within the folder `inside`.

    `failed` hears of (path, why), `placed` of how many files are in their places and of how many bytes. `rights` are
    the bits of a mode that are kept. With `only` no file is taken but these. `hashes` are those of parts by their path.
    """

    def __init__(
        self,
        root: bytes,
        failed: "Callable[[bytes, bytes], None]",
        placed: "Callable[[int, int], None]",
        inside: bytes = b"",
        rights: int = 0o7777,
        durable: bool = True,
        only: "set[bytes] | None" = None,
        hashes: "Mapping[bytes, _Hash] | None" = None,
    ) -> None:
        self._folders = Folders(root)
        self._failed, self._inside, self._rights, self._only = failed, inside, rights, only
        self._placing = Placing(self._folders, durable, self._went_wrong, placed)
        self._hashes = hashes or {}
        self._file: "Incoming | None" = None
        self._later: "list[tuple[bytes, int, int]]" = []
        self._opened: "set[bytes]" = set()
        self.over = False

    def take(self, kind: bytes, body: bytes) -> None:
        """Do what one frame says. Raises ValueError on nonsense, Full when nothing more can be written."""
        if kind == BYTES:
            if self._file is not None:
                self._write(self._file, body)
        elif kind == BEGIN:
            self._begin(body)
        elif kind == END:
            self._end(body)
        elif kind == HOLE:
            self._hole(body)
        elif kind == ABORT:
            self.cut()
        elif kind == FAILED:
            _, path, _, _, _, more = one_record(body)
            self._failed(path, more)
        elif kind == DONE:
            self._finish()
        else:
            self._change(kind, body)

    def cut(self) -> None:
        """The stream ends within a file: keep what is worth it."""
        file, self._file = self._file, None
        if file is not None:
            try:
                kept = os.fstat(file.fd).st_size >= KEPT
            finally:
                os.close(file.fd)
            if not kept:
                self._placing.remove(file.path, file.part)

    def close(self) -> None:
        """Leave: what is whole goes to its place, what is worth it is kept."""
        self.cut()
        self._placing.flush()
        self._settle()
        self._folders.close()

    def _place(self, path: bytes) -> bytes:
        checked(path)
        if not self._inside:
            return path
        return self._inside + b"/" + path if path else self._inside

    def _told(self, path: bytes) -> bytes:
        return path[len(self._inside) + 1 :] if self._inside else path

    def _went_wrong(self, path: bytes, error: OSError) -> None:
        self._failed(self._told(path), reason(error))
        if error.errno in FATAL:
            raise Full(error.strerror)

    def _begin(self, body: bytes) -> None:
        kind, path, mode, size, mtime, more = one_record(body)
        if self._file is not None or kind != FILE or len(more) != OFFSET.size:
            raise ValueError("a file within a file")
        if self._only is not None and path not in self._only:
            raise ValueError("a file that nobody asked for: %r" % path)
        place, offset = self._place(path), OFFSET.unpack(more)[0]
        try:
            above, name = self._folders.split(place)
            part = part_name(name, size, mtime)
            fd, part = _part(above, part, name, offset)
        except OSError as error:
            self._went_wrong(place, error)
            return
        file = self._file = Incoming(place, part, fd, mode & self._rights, size, mtime)
        if offset:
            held = self._hashes.get((path.rpartition(b"/")[0] + b"/" + part).lstrip(b"/"))
            if held is None:
                raise ValueError("going on with %r, which was never told of" % path)
            file.made, file.at = held.copy(), offset

    def _write(self, file: Incoming, data: bytes) -> None:
        if file.at + len(data) > file.size:
            raise ValueError("more than the %d bytes of %r" % (file.size, file.path))
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(file.fd, view) :]
        except OSError as error:
            self._drop(file)
            self._went_wrong(file.path, error)
            return
        file.at += len(data)
        if file.made is not None:
            file.made.update(data)

    def _hole(self, body: bytes) -> None:
        file, (length,) = self._file, OFFSET.unpack(body)
        if file is None:
            return
        if file.at + length > file.size:
            raise ValueError("more than the %d bytes of %r" % (file.size, file.path))
        if file.made is not None:
            block, left = bytes(1 << 16), length
            while left > 0:
                file.made.update(block[:left])
                left -= len(block)
        try:
            file.at = os.lseek(file.fd, length, os.SEEK_CUR)
            os.ftruncate(file.fd, file.at)  # so that a part has its holes, too
        except OSError as error:
            self._drop(file)
            self._went_wrong(file.path, error)

    def _end(self, digest: bytes) -> None:
        file = self._file
        if file is None:
            return  # it has failed before
        if file.at != file.size:
            raise ValueError("%d of %d bytes of %r" % (file.at, file.size, file.path))
        if file.made is not None and file.made.digest() != digest:
            self._drop(file)
            self._failed(
                self._told(file.path), b"what lay here was of another file; it is sent anew the next time"
            )
            return
        self._file = None
        try:
            os.fchmod(file.fd, file.mode)
            os.utime(file.fd, ns=(file.mtime, file.mtime))
        except OSError as error:
            os.close(file.fd)
            self._placing.remove(file.path, file.part)
            self._went_wrong(file.path, error)
            return
        self._placing.add(file.path, file.part, file.fd, file.size)

    def _drop(self, file: Incoming) -> None:
        self._file = None
        os.close(file.fd)
        self._placing.remove(file.path, file.part)

    def _change(self, kind: bytes, body: bytes) -> None:
        """Folders, links, rights, removals."""
        what, path, mode, _, mtime, more = one_record(body)
        place = self._place(path)
        try:
            if kind == MAKE:
                self._make(place, mode & self._rights, mtime, keep=more == b"keep")
                return
            above, name = self._folders.split(place)
            if kind == POINT:
                _point(above, name, more, mtime)
                self._placing.touch(place)
            elif kind == AMEND:
                _amend(above, name, mode & self._rights, mtime)
            elif kind in (REMOVE, CLEAR):
                self._folders.forget(place)
                above, name = self._folders.split(place)
                (os.rmdir if what == FOLDER else os.unlink)(name, dir_fd=above)
                self._placing.touch(place)
            elif kind == SWEEP:
                _sweep(above, name)
            else:
                raise ValueError("a frame of the kind %r" % kind)
        except FileNotFoundError as error:
            if kind not in (REMOVE, CLEAR, SWEEP):
                self._went_wrong(place, error)
        except OSError as error:
            self._went_wrong(place, error)

    def _make(self, place: bytes, mode: int, mtime: int, keep: bool) -> None:
        """A folder that we can write to; its own rights and time come last, once all that is in it is made."""
        if place:
            above, name = self._folders.split(place)
            try:
                os.mkdir(name, 0o700, dir_fd=above)
                self._placing.touch(place)
            except FileExistsError:
                pass
        fd = self._folders.at(place)
        found = os.fstat(fd)
        if keep:
            mode, mtime = found.st_mode & 0o7777, found.st_mtime_ns
        if found.st_mode & 0o700 != 0o700 and found.st_uid == os.geteuid():
            os.fchmod(fd, found.st_mode & 0o7777 | 0o700)
        self._later.append((place, mode, mtime))

    def _finish(self) -> None:
        if self._file is not None:
            raise ValueError("the end within a file")
        self._placing.flush()
        self._settle()
        self._placing.finish()
        self.over = True

    def _settle(self) -> None:
        later, self._later = self._later, []
        for place, mode, mtime in reversed(later):
            try:
                fd = self._folders.at(place)
                if os.fstat(fd).st_mode & 0o7777 != mode:
                    os.fchmod(fd, mode)
                os.utime(fd, ns=(mtime, mtime))
            except OSError as error:
                self._failed(self._told(place), reason(error))


def _part(above: int, part: bytes, name: bytes, offset: int) -> "tuple[int, bytes]":
    """The file that `name` is until it is whole, locked, at `offset`. Raises OSError."""
    if offset:
        fd = _kept(above, part, offset)
        if fd is None:
            raise OSError(errno.EBUSY, "what was kept of it is in use; it is sent anew the next time")
        return fd, part
    try:
        return _new(above, part), part
    except FileExistsError:
        pass
    fd = _kept(above, part, 0)
    if fd is None:  # somebody else is sending the same at this moment, or has laid something there
        part = part_of(name) + os.urandom(8).hex().encode() + SUFFIX
        fd = _new(above, part)
    return fd, part


def _new(above: int, part: bytes) -> int:
    fd = os.open(part, NEW, 0o600, dir_fd=above)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fd


def _kept(above: int, part: bytes, offset: int) -> "int | None":
    """What is there of a file, cut to `offset`; None where it isn't ours alone."""
    try:
        fd = os.open(part, OLD, dir_fd=above)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = ours(fd)
        if found is not None and found.st_size >= offset:
            os.ftruncate(fd, offset)
            os.lseek(fd, offset, os.SEEK_SET)
            return fd
    except OSError:
        pass
    os.close(fd)
    return None


def _point(above: int, name: bytes, target: bytes, mtime: int) -> None:
    """A link, in the place of whatever but a folder is there."""
    part = part_of(name) + os.urandom(8).hex().encode() + SUFFIX
    os.symlink(target, part, dir_fd=above)
    try:
        os.utime(part, ns=(mtime, mtime), dir_fd=above, follow_symlinks=False)
        os.rename(part, name, src_dir_fd=above, dst_dir_fd=above)
    except BaseException:
        os.unlink(part, dir_fd=above)
        raise


def _amend(above: int, name: bytes, mode: int, mtime: int) -> None:
    """The rights and the time of a file that is as it should be otherwise."""
    try:
        fd = os.open(name, READING, dir_fd=above)
    except PermissionError:  # ours, and not to be read even by us
        if not stat.S_ISREG(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
            raise
        os.chmod(name, mode, dir_fd=above)
        os.utime(name, ns=(mtime, mtime), dir_fd=above, follow_symlinks=False)
        return
    try:
        os.fchmod(fd, mode)
        os.utime(fd, ns=(mtime, mtime))
    finally:
        os.close(fd)


def _sweep(above: int, name: bytes) -> None:
    """Remove what a cut transfer left, unless somebody is at it."""
    fd = os.open(name, OLD, dir_fd=above)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=above)
    except BlockingIOError:
        pass
    finally:
        os.close(fd)
