"""Lines of ours in an account's authorized_keys: made, told from everybody else's, put in and taken out.

A line of ours goes before all others, so that taking it out leaves what was there byte for byte, whatever it is. It
must never take for ours what isn't exactly as we write it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from msgspec import Struct

#: What sshd is told to allow a key of ours: commands and files, until then by its own clock.
LINE = 'restrict,expiry-time="{until}" {key} hostler-session-{uid}'
OURS = re.compile(
    rb'restrict,expiry-time="(?P<until>\d{12})" (?P<key>ssh-ed25519 [A-Za-z0-9+/]+=*)'
    rb" hostler-session-(?P<uid>[0-9a-f]{32})\r?"
)
#: How sshd from 7.7 on reads a moment. A Z for UTC only those from 9.1 on know, so it is the host's own time of day.
MOMENT = "%Y%m%d%H%M"
#: An expiry that differs from the one wanted by less than this part of the whole is left as it is.
SLACK = 8


class Edit(Struct, frozen=True):
    """What the file is to be: `first`, then these parts (start, length) of what it is."""

    first: bytes
    kept: tuple[tuple[int, int], ...]

    def of(self, text: bytes) -> bytes:
        """The file after it."""
        return self.first + b"".join(text[start : start + length] for start, length in self.kept)


def parse_moment(text: str) -> datetime:
    """A host's time of day as `date +%Y%m%d%H%M` tells it; UTC only stands for wherever that is. Raises ValueError."""
    return datetime.strptime(text, MOMENT).replace(tzinfo=UTC)


def put_in(text: bytes, *, uid: str, key: str, now: datetime, lifetime: timedelta) -> Edit | None:
    """Have this run's key let in for `lifetime`; lines of ours that are over go. None when all is so already.

    >>> now = parse_moment("202602282330")
    >>> put_in(b"", uid="0" * 32, key="ssh-ed25519 AAAA", now=now, lifetime=timedelta(hours=1)).first
    b'restrict,expiry-time="202603010030" ssh-ed25519 AAAA hostler-session-00000000000000000000000000000000\\n'
    """
    until = now + lifetime
    for start, line in _lines(text):
        mine = _ours(line, uid)
        near = mine and abs(_moment(mine["until"]) - until) <= abs(lifetime) / SLACK
        if (
            mine
            and near
            and mine["key"] == key.encode()
            and _kept(text, now=now, uid=uid) == _without(text, start, len(line))
        ):
            return None
    first = LINE.format(until=until.strftime(MOMENT), key=key, uid=uid).encode() + b"\n"
    return Edit(first, _kept(text, now=now, uid=uid))


def take_out(text: bytes, *, uid: str, now: datetime) -> Edit | None:
    """Have this run's key let in no more; lines of ours that are over go as well. None when there are none."""
    edit = Edit(b"", _kept(text, now=now, uid=uid))
    return None if edit.of(text) == text else edit


def _kept(text: bytes, *, now: datetime, uid: str) -> tuple[tuple[int, int], ...]:
    """What stays: all but the lines of this run, and those of ours whose time is over."""
    kept: list[tuple[int, int]] = []
    for start, line in _lines(text):
        found = OURS.fullmatch(line.removesuffix(b"\n"))
        if found is not None and (_ours(line, uid) or _moment(found["until"]) < now):
            continue
        if kept and sum(kept[-1]) == start:
            kept[-1] = (kept[-1][0], kept[-1][1] + len(line))
        else:
            kept.append((start, len(line)))
    return tuple(kept)


def _without(text: bytes, start: int, length: int) -> tuple[tuple[int, int], ...]:
    parts = ((0, start), (start + length, len(text) - start - length))
    return tuple(part for part in parts if part[1])


def _lines(text: bytes) -> list[tuple[int, bytes]]:
    found, start = [], 0
    while start < len(text):
        end = text.find(b"\n", start) + 1 or len(text)
        found.append((start, text[start:end]))
        start = end
    return found


def _ours(line: bytes, uid: str) -> re.Match[bytes] | None:
    found = OURS.fullmatch(line.removesuffix(b"\n"))
    return found if found is not None and found["uid"] == uid.encode() else None


def _moment(text: bytes) -> datetime:
    try:
        return parse_moment(text.decode())
    except ValueError:  # the 31st of June: never over
        return datetime.max.replace(tzinfo=UTC)
