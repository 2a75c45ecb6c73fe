"""What lies beneath a root, here or on a host, and what became of copying it: values, nothing else.

Names are bytes relative to the root, b"" for the root itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

FOLDER, FILE, LINK, OTHER, ABSENT = "folder", "file", "link", "other", "absent"


class Entry(Struct, frozen=True, gc=False):
    """One name: `more` is a link's target, or a file's SHA-256 where it was asked for. `mtime` is in nanoseconds."""

    path: bytes
    kind: str
    mode: int = 0o644
    size: int = 0
    mtime: int = 0
    more: bytes = b""


class Part(Struct, frozen=True, gc=False):
    """What has arrived of a file of which more is to come: where, how much, and its SHA-256 where it is worth it."""

    path: bytes
    size: int
    digest: bytes


class Tree(Struct, frozen=True, kw_only=True):
    """All that is known of a root: its entries by name, folders first, what is left of cut files, what can't be read.

    `troubles` are (path, why).
    """

    entries: dict[bytes, Entry] = {}
    parts: tuple[Part, ...] = ()
    troubles: tuple[tuple[bytes, str], ...] = ()

    @property
    def kind(self) -> str:
        """What the root is."""
        root = self.entries.get(b"")
        return root.kind if root is not None else ABSENT


def tree(*entries: Entry, parts: Iterable[Part] = ()) -> Tree:
    """A Tree of these entries.

    >>> tree(Entry(b"", FOLDER), Entry(b"a", FILE)).kind
    'folder'
    """
    return Tree(entries={each.path: each for each in entries}, parts=tuple(parts))


class Copied(Struct, frozen=True, kw_only=True):
    """What became of copying to or from one host. `error` says why it was not, or not wholly, done.

    `failures` are (path, why), of which there may be `more_failures` that are only counted; `remarks` are about what is
    left out and no failure. `reached` is whether a line to the host was had and held.
    """

    host: str
    files: int = 0
    size: int = 0
    unchanged: int = 0
    amended: int = 0
    removed: int = 0
    resumed: int = 0
    seconds: float = 0.0
    failures: tuple[tuple[bytes, str], ...] = ()
    failed: int = 0
    remarks: tuple[str, ...] = ()
    error: str = ""
    reached: bool = True

    @property
    def well(self) -> bool:
        """Whether all that was asked for was done."""
        return self.reached and not self.error and not self.failed


def exit_code(results: Iterable[Copied]) -> int:
    """4 where a host was not reached or was lost, 1 where something could not be copied, else 0.

    >>> exit_code([Copied(host="a"), Copied(host="b", failed=1)])
    1
    """
    seen = list(results)
    if any(not each.reached for each in seen):
        return 4
    return 1 if any(not each.well for each in seen) else 0
