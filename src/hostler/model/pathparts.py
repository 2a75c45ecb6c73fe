"""Parts of a path, as `{.}` `{/}` `{//}` `{/.}` name them: what GNU parallel gives for the same letters.

Paths are bytes of a host, never looked up anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_EXTENSION = re.compile(rb"\.[^/.]+\Z")
_HOLE = re.compile(rb"([0-9]*)(\D*)")


def without_extension(path: bytes) -> bytes:
    """The path without its last extension.

    >>> without_extension(b"a/b.tar.gz"), without_extension(b"a.d/b")
    (b'a/b.tar', b'a.d/b')
    """
    return _EXTENSION.sub(b"", path)


def base(path: bytes) -> bytes:
    """What stands behind the last slash."""
    return path.rpartition(b"/")[2]


def folder(path: bytes) -> bytes:
    """The folder that a path lies in.

    >>> folder(b"a/b/c.txt"), folder(b"c.txt"), folder(b"/c")
    (b'a/b', b'.', b'/')
    """
    head, slash, _ = path.rstrip(b"/").rpartition(b"/")
    if not slash:
        return b"." if path.strip(b"/") or not path else b"/"
    return head.rstrip(b"/") or b"/"


def stem(path: bytes) -> bytes:
    """What stands behind the last slash, without its last extension.

    >>> stem(b"a/b.tar.gz")
    b'b.tar'
    """
    return without_extension(base(path))


PARTS: dict[bytes, Callable[[bytes], bytes]] = {
    b"": bytes,
    b".": without_extension,
    b"/": base,
    b"//": folder,
    b"/.": stem,
}


def split_hole(name: bytes) -> tuple[int, bytes]:
    """What stands in a hole's braces, as the argument's number (0: all of them) and the part of it.

    >>> split_hole(b"2/."), split_hole(b"#")
    ((2, b'/.'), (0, b''))
    """
    found = _HOLE.fullmatch(name)
    assert found is not None
    number, part = found.groups()
    return int(number or 0), part if part in PARTS else b""
