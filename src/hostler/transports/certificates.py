"""Until when an OpenSSH certificate is valid, read from its bytes.

It must never be asked whether one is trusted: that is the host's to say.
"""

from __future__ import annotations

from collections.abc import Iterator

#: How many fields of a certificate's own kind stand between its nonce and its serial number.
FIELDS = {
    "ssh-rsa": 2, "ssh-dss": 4, "ssh-ed25519": 1, "ecdsa-sha2-nistp256": 2, "ecdsa-sha2-nistp384": 2,
    "ecdsa-sha2-nistp521": 2, "sk-ssh-ed25519": 2, "sk-ecdsa-sha2-nistp256": 3,
}  # fmt: skip
FOREVER = (1 << 64) - 1
SUFFIX = "-cert-v01@openssh.com"


def valid_before(blob: bytes) -> float | None:
    """The end of a certificate's validity in seconds since the epoch; None for none, or for what is no certificate.

    >>> valid_before(b"nonsense") is None
    True
    """
    strings = _strings(blob)
    kind = next(strings, (b"", 0))[0].decode("ascii", "replace")
    if not kind.endswith(SUFFIX) or kind.removesuffix(SUFFIX) not in FIELDS:
        return None
    at = 0
    for _ in range(1 + FIELDS[kind.removesuffix(SUFFIX)]):
        at = next(strings, (b"", len(blob)))[1]
    rest = _strings(blob, at + 12)  # after the serial number and the type
    for _ in range(2):  # the key's id, and the names that it is for
        at = next(rest, (b"", len(blob)))[1]
    if at + 16 > len(blob):
        return None
    end = int.from_bytes(blob[at + 8 : at + 16], "big")
    return None if end == FOREVER else float(end)


def _strings(blob: bytes, at: int = 0) -> Iterator[tuple[bytes, int]]:
    """Strings of the wire format, each with the offset behind it."""
    while at + 4 <= len(blob):
        end = at + 4 + int.from_bytes(blob[at : at + 4], "big")
        yield blob[at + 4 : end], end
        at = end
