"""A stream of what differs, made so beneath a root: folders, links, rights, removals, and files through a part's name.

It must never write through a link, nor outside its root, nor leave a part under the name that was meant.
"""

import errno
import os

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
    SWEEP,
    checked,
    one_record,
    part_name,
)
from hostler.remote.files.parts import Incoming, amend, open_part, point, sweep
from hostler.remote.files.placing import Folders, Placing
from hostler.remote.files.walking import reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from hashlib import _Hash

#: After these nothing more can be written here.
FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class Full(Exception):
    """No more can be written here; its words are for people."""

    pass  # noqa: PIE790 - its docstring isn't sent


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
                if os.fstat(file.fd).st_size < KEPT:
                    self._placing.remove(file.path, file.part)
            finally:
                os.close(file.fd)

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
            fd, part = open_part(above, part, name, offset)
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
            self._placing.remove(file.path, file.part)
            os.close(file.fd)
            self._went_wrong(file.path, error)
            return
        self._placing.add(file.path, file.part, file.fd, file.size)

    def _drop(self, file: Incoming) -> None:
        self._file = None
        self._placing.remove(
            file.path, file.part
        )  # while it is locked: later the name may be somebody else's
        os.close(file.fd)

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
                point(above, name, more, mtime)
                self._placing.touch(place)
            elif kind == AMEND:
                amend(above, name, mode & self._rights, mtime)
            elif kind in (REMOVE, CLEAR):
                self._folders.forget(place)
                above, name = self._folders.split(place)
                (os.rmdir if what == FOLDER else os.unlink)(name, dir_fd=above)
                self._placing.touch(place)
            elif kind == SWEEP:
                sweep(above, name)
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
