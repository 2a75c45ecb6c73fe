"""A runner's frames as reports. A host is untrusted: what it says is checked here for form, nothing is believed yet.

Everything that passes can be stored, shown and counted with; what can't be is a ValueError, and ends the line to that
host only.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from hostler.errors import plain
from hostler.model.health import Vitals
from hostler.model.jobs import Ending
from hostler.model.reports import Began, Held, Hello, Lost, Output, Refused, Report, Result, Revoked, Standing
from hostler.remote.runner import wire

ENDINGS = tuple(Ending(word) for word in wire.ENDINGS)
#: No place, size or serial is higher, and no time longer: a database's integers end there, and so does reason.
HIGHEST = 1 << 62
LONGEST = 1e9
WORDS = 500
#: Bytes of a runner's first words, and for each attempt that it was asked about.
ROOM, ROOM_EACH = 64 << 10, 64
#: No host's clock shows a later moment (some two thousand years from now), and none has more cores.
MOMENT, MANY = 1e11, 1 << 20
NAMES = {"spool": r"[0-9a-f]{32}", "boot": r"[0-9A-Za-z-]{0,64}", "python": r"[0-9A-Za-z.+]{1,32}"}


def decode(kind: int, body: bytes) -> Iterator[Report]:
    """The reports that one frame holds. Raises ValueError on a frame that makes no sense."""
    try:
        if kind == wire.R_RESULT:
            yield result(body)
        elif kind == wire.R_OUTPUT:
            serial, stream, offset = wire.OUTPUT.unpack_from(body)
            data = body[wire.OUTPUT.size :]
            if stream not in (1, 2) or not data or max(offset, serial) > HIGHEST:
                raise ValueError(f"output at {offset} of stream {stream}")
            yield Output(serial, stream, offset, data)
        elif kind == wire.R_BEGAN:
            serial, ago = wire.BEGAN.unpack(body)
            yield Began(bounded(serial), seconds(ago))
        elif kind == wire.R_REVOKED:
            for serial in wire.read_numbers(body):
                yield Revoked(bounded(serial))
        elif kind == wire.R_REFUSED:
            yield Refused(bounded(wire.NUMBER.unpack_from(body)[0]), words(body[8:]))
        elif kind == wire.R_HELD:
            yield Held(words(body))
        elif kind == wire.R_LOST:
            yield Lost(bounded(wire.NUMBER.unpack_from(body)[0]), words(body[8:]))
        else:
            raise ValueError(f"a frame of type {kind}")
    except struct.error as error:
        raise ValueError(str(error)) from None


def result(body: bytes) -> Result:
    """One result frame. Raises ValueError."""
    if len(body) < wire.RESULT.size:
        raise ValueError("a result that ends too early")
    serial, number, code, signal, elapsed, out_size, err_size, inline, out, err, detail = (
        wire.RESULT.unpack_from(body)
    )
    at = wire.RESULT.size
    if at + out + err + detail != len(body):
        raise ValueError("a result whose lengths do not add up")
    if (inline and (out, err) != (out_size, err_size)) or (not inline and out + err):
        raise ValueError("a result whose output is not all there")
    if out + err > wire.INLINE:  # nobody has given credit for it
        raise ValueError(f"a result with {out + err} bytes of output in it")
    if number >= len(ENDINGS) or ENDINGS[number] is Ending.LOST or max(serial, out_size, err_size) > HIGHEST:
        raise ValueError("a result out of bounds")
    ending = ENDINGS[number]
    exited, killed = 0 <= code <= 255, 0 < signal <= 128
    if (code != wire.NO_CODE and not exited) or (signal and not killed) or (exited and killed):
        raise ValueError(f"exit code {code} with signal {signal}")
    fits = {Ending.OK: code == 0, Ending.EXIT: exited and code > 0, Ending.SIGNAL: killed}
    if not fits.get(ending, True):
        raise ValueError(f"{ending} with exit code {code} and signal {signal}")
    return Result(
        serial,
        ending,
        code if exited else None,
        signal or None,
        seconds(elapsed),
        out_size,
        err_size,
        body[at : at + out] if inline else None,
        body[at + out : at + out + err] if inline else None,
        words(body[at + out + err :]) if detail else "",
    )


def hello(body: bytes, asked: Sequence[int]) -> Hello:
    """A runner's first words. Raises ValueError."""
    try:
        if len(body) > ROOM + ROOM_EACH * len(asked):  # read, it would take fifty times as much
            raise ValueError(f"{len(body)} bytes")
        said: dict[str, Any] = json.loads(body)
        for name, pattern in NAMES.items():
            if not isinstance(said[name], str) or not re.fullmatch(pattern, said[name]):
                raise ValueError(f"{name} is {str(said[name])[:80]!r}")
        known = {int(serial): Standing(standing) for serial, standing in said["standings"]}
        return Hello(
            spool=said["spool"],
            boot=said["boot"],
            account=str(bounded(int(said["uid"]))),
            python=said["python"],
            slots=min(max(int(said["slots"]), 1), 10_000),
            standings={serial: known.get(serial, Standing.UNKNOWN) for serial in asked},
            vitals=vitals(said.get("vitals")),
            counts=said.get("counts") is True,
        )
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"its runner's hello made no sense: {type(error).__name__} {error}"[:300]) from None


def vitals(said: object) -> Vitals:
    """What a host tells of itself beside; what is no number that can be one counts as not said.

    >>> vitals({"now": 1.5, "free": "much", "cpus": 4})
    Vitals(now=1.5, free=None, load=None, cpus=4)
    """
    told = said if isinstance(said, dict) else {}
    number: dict[str, float] = {}
    for name in ("now", "free", "load", "cpus"):
        value, most = told.get(name), HIGHEST if name == "free" else MOMENT
        if isinstance(value, int | float) and 0 <= value <= most:
            number[name] = float(value)
    free, cpus = number.get("free"), number.get("cpus")
    return Vitals(
        now=number.get("now"),
        free=None if free is None else int(free),
        load=number.get("load"),
        cpus=None if cpus is None or cpus > MANY else int(cpus),
    )


def bounded(number: int) -> int:
    """A serial, or another number that only counts up, if it can be one. Raises ValueError."""
    if not 0 <= number <= HIGHEST:
        raise ValueError(f"{number:.4g} for a number" if abs(number) < 1e300 else "a number without end")
    return number


def seconds(value: float) -> float:
    """A length of time that can be one. Raises ValueError."""
    if not 0.0 <= value <= LONGEST:
        raise ValueError(f"{value} seconds")
    return value


def words(text: bytes) -> str:
    """What a host says in words: one harmless line, cut to a length that people read."""
    return plain(text[: 4 * WORDS].decode("utf-8", "replace")[:WORDS])
