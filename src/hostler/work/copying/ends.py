"""What both kinds of far ends do, and what is known of a root once it has been looked at.

A host's listing is untrusted: names that lead out of the tree are refused, and so is more than memory should hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from hostler.engine.copyplan import Plan
from hostler.errors import HostError
from hostler.model.trees import ABSENT, FILE, FOLDER, LINK, OTHER, Entry, Part, Tree
from hostler.remote.files import framing
from hostler.remote.files.giving import Giver

#: The most names of a tree, and bytes of them, that are taken in.
MOST, MOST_BYTES = 2_000_000, 512 << 20
KINDS = {
    framing.FOLDER: FOLDER, framing.FILE: FILE, framing.LINK: LINK, framing.OTHER: OTHER, framing.ABSENT: ABSENT,
}  # fmt: skip
SIGNS = {kind: sign for sign, kind in KINDS.items()}


class Refused(HostError):
    """The host would not take or give anything at all: what was asked for can't be done there as it stands."""

    exit_code = 1


class Found(Struct, frozen=True, kw_only=True):
    """A root on a host: its place and kind; `holy`: it holds the home; `housed`: the folder it is in is there."""

    root: bytes
    kind: str
    holy: bool
    housed: bool
    tree: Tree

    def called(self, path: bytes, size: int, mtime: int) -> bytes:
        """Where the part of a file lies, as a name of the tree."""
        return part_place(self.root, path, size, mtime)


class Heard(Struct, kw_only=True):
    """Who is to hear what becomes of files: `failed` of (path, why), `placed` of (how many, bytes)."""

    failed: Callable[[bytes, str], None]
    placed: Callable[[int, int], None]


class FarEnd(Protocol):
    """A host's files, over one line."""

    async def look(
        self, path: bytes, *, within: bytes | None, hashed: bool, spared: bool = False, file: bool = False
    ) -> Found:
        """What there is at a path; with `within`, in the folder that is there or that the path names by its slash.

        What is `spared` is not listed where it holds the home; where a `file` is wanted no folder is.
        """
        ...

    async def take(self, plan: Plan, giver: Giver, heard: Heard, *, durable: bool, parents: bool) -> None:
        """Have a plan done beneath the root looked at last, its files from `giver`. Raises HostError."""
        ...

    async def give(
        self, wanted: Sequence[tuple[Entry, int, bytes]], take: Callable[[bytes, bytes], None]
    ) -> None:
        """Have files (entry, offset, digest) come; `take` is called in a thread with one frame after another."""
        ...

    async def close(self) -> None:
        """Let the line go; never raises."""
        ...


class Gathering:
    """Records into a Tree, within bounds. `host` is whom to blame."""

    def __init__(self, host: str) -> None:
        self._host, self._size = host, 0
        self._entries: dict[bytes, Entry] = {}
        self._parts: list[Part] = []
        self._troubles: list[tuple[bytes, str]] = []

    def add(self, body: bytes) -> None:
        """Take in the records of one body. Raises ValueError, Refused."""
        self._size += len(body)
        for kind, path, mode, size, mtime, more in framing.records(body):
            framing.checked(path)
            if kind == framing.TROUBLE:
                self._troubles.append((path, words(more)))
            elif kind == framing.PART:
                self._parts.append(Part(path, size, more))
            else:
                if kind == framing.LINK and (not more or b"\0" in more):
                    raise ValueError(f"a link to {more!r}")
                self._entries[path] = Entry(path, KINDS[kind], mode & 0o7777, size, mtime, more)
        if self._size > MOST_BYTES or len(self._entries) + len(self._parts) + len(self._troubles) > MOST:
            raise Refused(self._host, f"its tree has more than {MOST} names: name a smaller part of it")

    def tree(self) -> Tree:
        """All that was taken in."""
        return Tree(entries=self._entries, parts=tuple(self._parts), troubles=tuple(self._troubles))


def part_place(root: bytes, path: bytes, size: int, mtime: int) -> bytes:
    """The name, in a tree, of the part of a file of it."""
    above, slash, name = path.rpartition(b"/")
    return above + slash + framing.part_name(name or root.rstrip(b"/").rpartition(b"/")[2], size, mtime)


def put_record(entry: Entry, more: bytes | None = None) -> bytes:
    """An entry as it is sent."""
    mtime = max(-(1 << 63), min(entry.mtime, (1 << 63) - 1))
    return framing.record(
        SIGNS[entry.kind], entry.path, entry.mode, entry.size, mtime, entry.more if more is None else more
    )


def words(data: bytes) -> str:
    """A host's reason, as harmless words of bounded length."""
    text = data[:400].decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "?" for char in text)[:200]


def bodies(records: Iterable[bytes]) -> Iterable[bytes]:
    """Records joined into bodies of a frame's size."""
    held: list[bytes] = []
    size = 0
    for each in records:
        held.append(each)
        size += len(each)
        if size >= framing.GATHER:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)
