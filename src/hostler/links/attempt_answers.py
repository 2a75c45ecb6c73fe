"""What attempt.sh answers, line by line and byte by byte. A host is untrusted: what has no sense is a ValueError.

Lines say what has happened; two kinds are followed by as many bytes of output as they announce.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from msgspec import Struct

from hostler.links.attempt_words import MAGIC
from hostler.links.decode import ENDINGS, bounded, seconds, vitals, words
from hostler.model.health import Vitals
from hostler.model.jobs import Ending
from hostler.model.reports import Began, Lost, Refused, Report, Result, Revoked

#: Bytes that a login may print before the first word, that a line may have, and that may follow one.
NOISE, LINE, PAYLOAD = 256 << 10, 8192, 1 << 20
#: What names a spool that sh works, and a boot of its host.
SPOOL, BOOT = re.compile(r"sh[0-9a-f]{30}"), re.compile(r"[0-9A-Za-z-]{0,64}")
STREAMS = {b"out": 1, b"err": 2}


class Told(Struct, frozen=True):
    """The host's time, in centiseconds since it likes; `last` ends an answer."""

    at: int
    last: bool


class Greeting(Struct, frozen=True):
    """The spool that is ours there. `exact` is how the host tells a signal from an exit code."""

    spool: str
    boot: str
    account: str
    slots: int
    exact: str
    path: bytes


class Says(Struct, frozen=True):
    """What the host tells of itself."""

    vitals: Vitals


class Stands(Struct, frozen=True):
    """What is known of an attempt, as the number of a Standing."""

    serial: int
    standing: int


class Grown(Struct, frozen=True):
    """The lengths of a running attempt's files."""

    serial: int
    out: int
    err: int


class Piece(Struct, frozen=True):
    """A piece of output, asked for."""

    serial: int
    stream: int
    place: int
    data: bytes


class Parting(Struct, frozen=True):
    """The host lets go; `fatal` when another try would fail the same way."""

    why: str
    fatal: bool


Answer = Told | Greeting | Says | Stands | Grown | Piece | Parting | Report


class Answers:
    """Bytes in, answers out. `nonce` is the number of the message that is answered."""

    def __init__(self, nonce: str) -> None:
        self._magic = MAGIC + nonce.encode() + b"\n"
        self._data = b""
        self.begun = False

    def feed(self, data: bytes) -> Iterator[Answer]:
        """The answers that are whole by now. Raises ValueError."""
        self._data += data
        if not self.begun:
            at = self._data.find(self._magic)
            if at < 0:
                if len(self._data) > NOISE:
                    raise ValueError("its login prints without end; sh's answer never came")
                return
            self.begun, self._data = True, self._data[at + len(self._magic) :]
        at = 0
        try:
            while (end := self._data.find(b"\n", at)) >= 0:
                if end - at > LINE:
                    raise ValueError("a line without end")
                fields = self._data[at:end].split(b" ")
                size = payload(fields)
                if len(self._data) < end + 1 + size:
                    break
                yield answer(fields, self._data[end + 1 : end + 1 + size])
                at = end + 1 + size
        except (IndexError, KeyError):
            raise ValueError(f"its sh answered {self._data[at : at + 60]!r}") from None
        self._data = self._data[at:]
        if end < 0 and len(self._data) > LINE:
            raise ValueError("a line without end")


def payload(fields: list[bytes]) -> int:
    """How many bytes follow a line. Raises ValueError."""
    size = 0
    if fields[0] == b"E" and fields[8] == b"1":
        size = _number(fields[6]) + _number(fields[7])
    elif fields[0] == b"O":
        size = _number(fields[4])
    if size > PAYLOAD:
        raise ValueError(f"{size} bytes at once")
    return size


def answer(fields: list[bytes], data: bytes) -> Answer:
    """One answer. Raises ValueError, IndexError, KeyError."""
    kind = fields[0]
    if kind in (b"T", b"."):
        return Told(_number(fields[1]), kind == b".")
    if kind == b"X":
        return Parting(words(b" ".join(fields[2:])), fields[1] == b"!")
    if kind == b"H":
        spool, boot, exact = (words(field) for field in (fields[1], fields[2], fields[5]))
        if not SPOOL.fullmatch(spool) or not BOOT.fullmatch(boot):
            raise ValueError(f"a spool {spool[:40]!r} of boot {boot[:80]!r}")
        path, slots = b" ".join(fields[6:]), min(max(_number(fields[4]), 1), 10_000)
        if not path.startswith(b"/") or b"\0" in path:
            raise ValueError(f"a spool in {path[:80]!r}")
        return Greeting(spool, boot, str(_number(fields[3])), slots, exact, path)
    if kind == b"V":
        return Says(_vitals(fields[1:5]))
    serial = _number(fields[1])
    if kind == b"E":
        return _end(serial, fields, data)
    if kind == b"S":
        return Grown(serial, _number(fields[2]), _number(fields[3]))
    if kind == b"O":
        return Piece(serial, STREAMS[fields[2]], _number(fields[3]), data)
    if kind == b"B":
        return Began(serial, _seconds(fields[2]))
    if kind == b"K":
        return Stands(serial, _number(fields[2]))
    if kind == b"R":
        return Revoked(serial)
    why = words(b" ".join(fields[2:]))
    if kind == b"L":
        return Lost(serial, why)
    if kind == b"F":
        return Refused(serial, why)
    raise ValueError(f"its sh answered {b' '.join(fields)[:60]!r}")


def _end(serial: int, fields: list[bytes], data: bytes) -> Report:
    ending, code, signal, elapsed = fields[2:6]
    if ending == b"lost":
        return Lost(serial, "its worker there died and nobody saw how it ended")
    out, err = _number(fields[6]), _number(fields[7])
    whole = fields[8] == b"1"
    result = Result(
        serial, Ending(ending.decode("ascii", "replace")), None if code == b"-" else _number(code),
        _number(signal) or None, _seconds(elapsed), out, err,
        data[:out] if whole else None, data[out:] if whole else None, words(b" ".join(fields[9:])),
    )  # fmt: skip
    exited, killed = result.code is not None, result.signal is not None
    fits = {Ending.OK: result.code == 0, Ending.EXIT: bool(result.code), Ending.SIGNAL: killed}
    if not fits.get(result.ending, result.ending in ENDINGS) or (exited and killed):
        raise ValueError(f"{result.ending} with exit code {result.code} and signal {result.signal}")
    if (result.code or 0) > 255 or (result.signal or 1) > 128:
        raise ValueError(f"exit code {result.code}, signal {result.signal}")
    return result


def _vitals(said: list[bytes]) -> Vitals:
    """What a host tells of itself, "-" being nothing: seconds, KiB, load, cores."""
    told: dict[str, float] = {}
    for name, word in zip(("now", "free", "load", "cpus"), said, strict=False):
        with suppress(ValueError):
            told[name] = float(word) * (1024 if name == "free" else 1)
    return vitals(told)


def _seconds(word: bytes) -> float:
    """Centiseconds; none where the host's clock ran backwards. Raises ValueError."""
    if len(word) > 20:
        raise ValueError(f"its sh answered {word[:40]!r} for a time")
    return seconds(max(0, int(word)) / 100)


def _number(word: bytes) -> int:
    """A number that can be one. Raises ValueError."""
    if not word.isdigit():
        raise ValueError(f"its sh answered {word[:40]!r} for a number")
    return bounded(int(word))
