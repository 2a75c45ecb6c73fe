"""Bytes from hosts as they may be shown: whatever a job printed, it never drives the terminal.

A terminal obeys what it is sent: it can be made to retitle itself, to fill the clipboard, to type, to draw over
what stands above, or to show words in another order than they have. So everything that is not plain text is shown
as what it is. It must never be applied to what goes to a file or a pipe: that is the job's bytes, all of them.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import accumulate, takewhile

#: Bytes that may hold more than plain text: controls but \t and \n, DEL, and all beyond ASCII.
SUSPECT = re.compile(rb"[^\t\n\x20-\x7e]")

#: Controls, marks of direction, what is there and unseen, separators that some screens break lines at, stray
#: bytes. The joiners U+200C and U+200D stay: Persian, Hindi and half of all emoji can't be written without them.
HOSTILE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)


def _named(found: re.Match[str]) -> str:
    """How a character that must not act is written: ^[ as `cat -v` does, <9B> for a byte, <U+202E> for the rest."""
    code = ord(found[0])
    if code < 0x20 or code == 0x7F:
        return "^" + chr(code ^ 0x40)
    if 0xDC80 <= code <= 0xDCFF:
        return f"<{code - 0xDC00:02X}>"
    return f"<U+{code:04X}>"


def visible(data: bytes) -> bytes:
    """A whole text from a host, harmless to a terminal; lines ended by CR LF end in LF alone.

    >>> visible(b"\\x1b]0;owned\\x07done\\r\\n")
    b'^[]0;owned^Gdone\\n'
    """
    if not SUSPECT.search(data):
        return data
    text = data.replace(b"\r\n", b"\n").decode("utf-8", "surrogateescape")
    return HOSTILE.sub(_named, text).encode("utf-8")


class Visible:
    """The same for a text that comes in pieces, cut anywhere: in a character, between CR and LF.

    >>> shown = Visible()
    >>> shown.feed(b"a\\r"), shown.feed(b"\\n\\xc3"), shown.feed(b"\\xa9"), shown.end()
    (b'a', b'\\n', b'\\xc3\\xa9', b'')
    """

    __slots__ = ("_cr", "_decoder")

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._cr = False

    def feed(self, data: bytes) -> bytes:
        """What can be shown after the next piece."""
        return self._shown(self._decoder.decode(data))

    def end(self) -> bytes:
        """What was held back, waiting for more."""
        rest = self._shown(self._decoder.decode(b"", final=True))
        if self._cr:
            self._cr, rest = False, rest + b"^M"
        return rest

    def _shown(self, text: str) -> bytes:
        if not text:
            return b""
        if self._cr:
            text = "\r" + text
        self._cr = text.endswith("\r")
        if self._cr:
            text = text[:-1]
        return HOSTILE.sub(_named, text.replace("\r\n", "\n")).encode("utf-8")


def visible_stream(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces of one text, each harmless to a terminal."""
    shown = Visible()
    for piece in pieces:
        yield shown.feed(piece)
    yield shown.end()


def one_line(data: bytes, *, width: int | None = None) -> str:
    """Bytes as one line for people, at most `width` columns wide; tabs and line ends are shown as \\t and \\n.

    >>> one_line(b"echo a\\nrm -r b", width=9)
    'echo a\\\\n…'
    """
    head = data if width is None else data[: 4 * width + 16]
    text = visible(head).decode("utf-8").replace("\n", "\\n").replace("\t", "\\t")
    return text if width is None else fit(text, width)


def last_line(data: bytes, *, width: int) -> str:
    """The last line of `data` that holds anything, for people, at most `width` columns wide."""
    lines = data.replace(b"\r", b"\n").rstrip().rsplit(b"\n", 1)
    return one_line(lines[-1].strip(), width=width)


def fit(text: str, width: int) -> str:
    """`text` cut to `width` columns, its last one an ellipsis when something is missing.

    >>> fit("不要回", 5)
    '不要…'
    """
    if len(text) <= width and text.isascii():
        return text
    if columns(text) <= width:
        return text
    if width <= 0:
        return ""
    ends = accumulate(map(_columns, text))  # of each character, the column behind it
    kept = sum(1 for _ in takewhile(lambda end: end < width, ends))
    return text[:kept] + "…"


def columns(text: str) -> int:
    """How many columns of a terminal `text` takes: wide characters two, combining ones none.

    >>> columns("né 不")
    5
    """
    return len(text) if text.isascii() else sum(map(_columns, text))


@cache
def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
