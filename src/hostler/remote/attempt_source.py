"""attempt.sh as it is sent, and the command line that takes in what a controller says to it.

The command line holds nothing of a run: what is said comes through stdin, is checked by its length, cksum(1) and,
where sha256sum is there, SHA-256, and is read only when it is whole.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from functools import cache
from importlib.resources import files

from hostler.shell.quoting import quote

#: The parts of attempt.sh, in order, and job.sh, which an attempt's first process reads.
PARTS = ("state", "hunting", "working", "ending", "told", "telling", "opening")

#: Takes a line (cksum, length, SHA-256) and so many bytes, and reads them as shell text if they are whole. It holds no
#: single quotes, exclamation marks or newlines: sh, csh and fish all take it as it stands.
BODY = (
    '_humask=$(umask); umask 077; read -r _hc _hl _hs; _hx=$(head -c "${_hl:-0}"; echo .); _hx=${_hx%.}; '
    '_hp() { if [ -n "${KSH_VERSION-}" ]; then print -rn -- "$_hx"; else printf %s "$_hx"; fi; }; _hk=; _hh=; '
    "command -v cksum >/dev/null 2>&1 && _hk=$(_hp | cksum); "
    "command -v sha256sum >/dev/null 2>&1 && _hh=$(_hp | sha256sum); "
    'case "$_hk/${_hh%% *}" in "$_hc $_hl/$_hs" | "/$_hs" | "$_hc $_hl/") eval "$_hx";; '
    "/) echo hostler: neither cksum nor sha256sum on this host >&2; exit 66;; "
    "*) echo hostler: not all of the message came >&2; exit 65;; esac"
)
BOOT = f"exec /bin/sh -c '{BODY}'"

_MIRROR = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def cksum(data: bytes) -> int:
    """What cksum(1) says of bytes: zlib's CRC read in a mirror, with the length behind the data.

    >>> cksum(b"hello")
    3287646509
    """
    size = len(data)
    tail = struct.pack("<Q", size).rstrip(b"\0")
    crc = zlib.crc32((data + tail).translate(_MIRROR), 0xFFFFFFFF)
    return int(f"{crc:032b}"[::-1], 2)


def message(body: bytes) -> bytes:
    """What is written to the boot line's stdin for it to read `body` as shell text."""
    digest = hashlib.sha256(body).hexdigest().encode()
    return b"%d %d %s\n" % (cksum(body), len(body), digest) + body


def bare(text: str) -> bytes:
    """Shell text without indents and lines of comment."""
    lines = (line.strip() for line in text.splitlines())
    return "".join(f"{line}\n" for line in lines if line and not line.startswith("#")).encode()


@cache
def program() -> bytes:
    """Shell text that sets _hi and _hj to the two programs, and defines what is in the first."""
    folder = files("hostler.remote") / "attempt"
    whole = bare("".join((folder / f"{part}.sh").read_text() for part in PARTS))
    job = bare((folder / "job.sh").read_text())
    return b'_hi=%s\n_hj=%s\neval "$_hi"\n' % (quote(whole), quote(job))


def argument(word: bytes) -> bytes:
    """A word for attempt.sh to keep on one line: as quote() makes it, newlines by the variable _hl."""
    return quote(word).replace(b"\n", b"'\"$_hl\"'")
