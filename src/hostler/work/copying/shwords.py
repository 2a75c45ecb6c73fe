"""What a host without Python says: NUL-ended fields, and the facts of names as find, stat and ls tell them.

All of it is untrusted: what makes no sense raises ValueError, KeyError or a HostError, and nothing grows without bound.
"""

from __future__ import annotations

from hostler.errors import LineLost
from hostler.model.trees import ABSENT, FILE, FOLDER, LINK, OTHER, Entry
from hostler.ports import Stream
from hostler.remote.files import framing
from hostler.work.copying import tars
from hostler.work.copying.ends import Refused, words

KINDS = {b"d": FOLDER, b"f": FILE, b"l": LINK, b"-": ABSENT}
#: By the type bits of a mode, and by the first letter of `ls -l`.
TYPES = {0o040000: FOLDER, 0o100000: FILE, 0o120000: LINK}
LETTERS = {"d": FOLDER, "-": FILE, "l": LINK}
#: Bytes that start-up files may print, and of one field.
NOISE = 1 << 20


class Fields:
    """NUL-ended fields of a stream, from the first mark on."""

    def __init__(self, host: str, stream: Stream, mark: bytes) -> None:
        self._host, self._stream, self._mark = host, stream, mark
        self._held = bytearray()
        self._begun = False
        self._waiting: list[bytes] = []
        self._at = 0

    async def next(self) -> bytes:
        """The next field behind the first mark. Raises HostError."""
        if not self._begun:
            await self._begin(self._mark + b"\0")
        while self._at >= len(self._waiting):
            await self._more()
        self._at += 1
        return self._waiting[self._at - 1]

    async def several(self) -> tuple[bytes, bytes, bytes]:
        """The next three fields."""
        if not self._begun:
            await self._begin(b"")
        return await self.next(), await self.next(), await self.next()

    async def _begin(self, sign: bytes) -> None:
        """Pass over what start-up files print."""
        while not self._begun:
            seen = bytes(self._held)
            for begin in (sign,) if sign else (self._mark + b"\0", b"X\0"):
                at = seen.find(begin)
                if at >= 0:
                    del self._held[: at + len(sign)]
                    self._begun = True
                    break
            else:
                if len(seen) > NOISE:
                    raise Refused(self._host, "its start-up files print without an end")
                self._held += await self._read()
        self._cut()

    async def _more(self) -> None:
        self._held += await self._read()
        if len(self._held) > NOISE and b"\0" not in self._held:
            raise Refused(self._host, "it answered what makes no sense")
        self._cut()

    def _cut(self) -> None:
        whole = self._held.rfind(b"\0") + 1
        self._waiting = self._waiting[self._at :] + bytes(self._held[:whole]).split(b"\0")[:-1]
        self._at = 0
        del self._held[:whole]

    async def _read(self) -> bytes:
        data = await self._stream.read()
        if not data:
            said = last_words(self._stream)
            if said:
                raise Refused(self._host, said.removeprefix("hostler: "))
            raise LineLost(self._host, "the line ended without a word")
        return data


def add_entry(entries: dict[bytes, Entry], fact: bytes, path: bytes, more: bytes) -> None:
    """Take in one name's facts. Raises ValueError, KeyError."""
    sort, *rest = fact.split(b" ")
    if sort == b"h":
        old = entries[path]
        entries[path] = Entry(path, old.kind, old.mode, old.size, old.mtime, bytes.fromhex(rest[0].decode()))
        return
    if framing.is_part(path.rpartition(b"/")[2]) or any(map(framing.is_part, path.split(b"/"))):
        return
    if sort in (b"x", b"o"):
        bits = int(rest[0], 16 if sort == b"x" else 8)
        kind, mode = TYPES.get(bits & 0o170000, OTHER), bits & 0o7777
    elif sort == b"t":
        kind, mode = LETTERS.get(rest[0][:1].decode(), OTHER), _rights(rest[0].decode("latin-1"))
    else:
        kind, mode = KINDS.get(sort, OTHER), int(rest[0], 8) & 0o7777
    size = int(rest[1]) if kind == FILE else 0
    entries[path] = Entry(path, kind, mode, size, tars.nanoseconds(rest[2]), more if kind == LINK else b"")


def _rights(letters: str) -> int:
    """The rights that `ls -l` shows.

    >>> oct(_rights("-rwxr-sr-t"))
    '0o3755'
    """
    mode = 0
    for at, letter in enumerate(letters[1:10]):
        if letter in "rwxst":
            mode |= 1 << (8 - at)
        if letter in "sStT":
            mode |= {2: 0o4000, 5: 0o2000, 8: 0o1000}[at]
    return mode


def ordered(entries: dict[bytes, Entry]) -> dict[bytes, Entry]:
    """The entries, each folder before what is in it."""
    return {
        path: entries[path] for path in sorted(entries, key=lambda path: path.split(b"/") if path else [])
    }


def last_words(stream: Stream) -> str:
    """The last line that a command wrote to stderr, harmless."""
    lines = [line for line in stream.stderr_tail().splitlines() if line.strip()]
    return words(lines[-1].strip()) if lines else ""
