"""What is said to a host about its account's authorized_keys, as it is sent: shell text through stdin, checked."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from hostler.remote.attempt_source import bare, cksum, message
from hostler.shell.authorized import Edit
from hostler.shell.quoting import quote

#: Where there is no file.
ABSENT = "absent"


def look(mark: str) -> bytes:
    """Ask what is in it."""
    return message(_text(mark) + b"_klook\n")


def write(mark: str, edit: Edit, *, old: bytes | None) -> bytes:
    """Make it anew, if it is still what it was; None for a file that isn't there."""
    parts = b"".join(b"_kkeep %d %d\n" % part for part in edit.kept)
    first = b"printf '%%s\\n' %s\n" % quote(edit.first.removesuffix(b"\n")) if edit.first else b""
    function = b"_kparts() {\n:\n%s%s}\n" % (first, parts)
    states = (state(old), state(edit.of(old or b"")))
    return message(
        _text(mark) + function + b"_kwrite " + b" ".join(quote(each.encode()) for each in states) + b"\n"
    )


def unmake(mark: str) -> bytes:
    """Remove it if it is empty."""
    return message(_text(mark) + b"_kunmake\n")


def state(text: bytes | None) -> str:
    """A file in the words of cksum(1)."""
    return ABSENT if text is None else f"{cksum(text)} {len(text)}"


def answer(mark: str, out: bytes) -> tuple[str, str, bytes]:
    """What a host said: a word, what goes with it, and the bytes behind. An empty word when it said nothing of ours.

    >>> answer("m1", b"motd\\nm1 no disk\\n")
    ('no', 'disk', b'')
    """
    found = re.search(rb"(?:\A|\n)%s ([a-z]+) ?([^\n]*)\n" % re.escape(mark.encode()), out)
    if found is None:
        return "", "", b""
    return found[1].decode(), found[2].decode("utf-8", "replace"), out[found.end() :]


def _text(mark: str) -> bytes:
    return b"_kq=%s\n" % quote(mark.encode()) + _program()


@cache
def _program() -> bytes:
    return bare((files("hostler.remote") / "authorized.sh").read_text())
