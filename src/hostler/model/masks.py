"""Masks: what may differ between hosts without their outputs being counted as different.

A mask turns the parts of a line that are a host's own (its name, an address, a time, a number) into words that are the
same everywhere. What is masked is only compared, never shown in place of what a host said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from hostler.errors import UsageError
from hostler.model.hosts import Host

#: Kinds of masks, in the order in which they are laid: what is in a time or an address is no number any more.
KINDS = ("host", "time", "address", "pid", "number")

_MONTH = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DAY = rb"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? )"
_CLOCK = rb"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[AP]M)?"
_ZONE = rb"(?: ?(?:Z|UTC|GMT|[A-Z]{3,4}|[+-]\d{2}:?\d{2})(?![\w]))?"
_TIME = re.compile(
    rb"\d{4}-\d{2}-\d{2}(?:[T ]" + _CLOCK + _ZONE + rb")?"
    rb"|" + _DAY + rb"?" + _MONTH + rb" {1,2}\d{1,2}(?: " + _CLOCK + rb")?" + _ZONE + rb"(?: \d{4})?"
    rb"|" + _DAY + rb"?\d{1,2} " + _MONTH + rb" \d{4}(?: " + _CLOCK + rb")?" + _ZONE
    + rb"|(?<![\w:.])" + _CLOCK + rb"(?![\w:])" + _ZONE
)  # fmt: skip
_ADDRESS = re.compile(
    rb"(?<![\w.:])(?:\d{1,3}\.){3}\d{1,3}(?:/\d{1,2})?(?![\w.]*\w)"
    rb"|(?<![\w:])[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}(?![\w:])"
    rb"|(?<![\w:])(?=[0-9a-fA-F:.]*::|(?:[0-9a-fA-F]{1,4}:){7})[0-9a-fA-F:]{2,39}(?:%\w+)?(?:/\d{1,3})?(?![\w:])"
)
_PID = re.compile(rb"(?i)(\bpid[ =:]{1,2}|(?<=\w)\[)\d+(?=\b|\])")
_NUMBER = re.compile(rb"\d+(?:\.\d+)?")

#: Makes a line of one host comparable with those of others.
Mask = Callable[[bytes], bytes]


def parse_masks(text: str) -> tuple[str, ...]:
    """The kinds named by `--mask`, commas between them; `all` is every one. Raises UsageError.

    >>> parse_masks("number,host")
    ('host', 'number')
    """
    words = {word.strip() for word in text.split(",") if word.strip()}
    if unknown := sorted(words - {*KINDS, "all"}):
        raise UsageError(f"--mask {unknown[0]!r}: one or more of {', '.join(KINDS)}, or all")
    if not words:
        raise UsageError(f"--mask: name one or more of {', '.join(KINDS)}, or all")
    return KINDS if "all" in words else tuple(kind for kind in KINDS if kind in words)


def mask(kinds: Iterable[str], host: Host) -> Mask:
    """The mask for lines of `host`. Without any kind it changes nothing.

    >>> web = Host(name="web1", address="10.0.0.5")
    >>> mask(KINDS, web)(b"web1 10.0.0.9 up since Dec  1 02:13:48, sshd[811], load 0.13")
    b'<host> <address> up since <time>, sshd[<pid>], load <number>'
    """
    laid = set(kinds)
    own = _names(host) if "host" in laid else None

    def masked(line: bytes) -> bytes:
        if own is not None:
            line = own.sub(b"<host>", line)
        if "time" in laid:
            line = _TIME.sub(b"<time>", line)
        if "address" in laid:
            line = _ADDRESS.sub(b"<address>", line)
        if "pid" in laid:
            line = _PID.sub(rb"\1<pid>", line)
        if "number" in laid:
            line = _NUMBER.sub(b"<number>", line)
        return line

    return masked


def _names(host: Host) -> re.Pattern[bytes]:
    """What a host is called: by its name and address, whole and up to the first dot where that is no number."""
    names = {host.name, host.address}
    names |= {name.split(".")[0] for name in names if not name.replace(".", "").isdigit() and ":" not in name}
    words = sorted((re.escape(name.encode()) for name in names if name), key=len, reverse=True)
    return re.compile(rb"(?i)(?<![\w.-])(?:" + b"|".join(words) + rb")(?![\w-])")
