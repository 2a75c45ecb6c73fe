"""A runner's frames as reports. A host is untrusted: numbers are checked here, meaning is judged by the engine."""

from __future__ import annotations

from collections.abc import Iterator

from hostler.model.jobs import Ending
from hostler.model.reports import Began, Lost, Output, Refused, Report, Result, Revoked
from hostler.remote.runner import wire

ENDINGS = tuple(Ending(word) for word in wire.ENDINGS)


def decode(kind: int, body: bytes) -> Iterator[Report]:
    """The reports that one frame holds. Raises ValueError, struct.error, IndexError on a frame that makes no sense."""
    if kind == wire.R_RESULT:
        yield result(body)
    elif kind == wire.R_OUTPUT:
        serial, stream, offset = wire.OUTPUT.unpack_from(body)
        if stream not in (1, 2):
            raise ValueError(f"stream {stream}")
        yield Output(serial, stream, offset, body[wire.OUTPUT.size :])
    elif kind == wire.R_BEGAN:
        yield Began(*wire.BEGAN.unpack(body))
    elif kind == wire.R_REVOKED:
        for serial in wire.read_numbers(body):
            yield Revoked(serial)
    elif kind == wire.R_REFUSED:
        yield Refused(wire.NUMBER.unpack_from(body)[0], body[8:].decode("utf-8", "replace")[:500])
    elif kind == wire.R_LOST:
        yield Lost(wire.NUMBER.unpack_from(body)[0], body[8:].decode("utf-8", "replace")[:500])
    else:
        raise ValueError(f"a frame of type {kind}")


def result(body: bytes) -> Result:
    """One result frame."""
    serial, ending, code, signal, elapsed, out_size, err_size, inline, out, err, detail = (
        wire.RESULT.unpack_from(body)
    )
    at = wire.RESULT.size
    if at + out + err + detail != len(body):
        raise ValueError("a result whose lengths do not add up")
    if inline and (out, err) != (out_size, err_size):
        raise ValueError("a result whose output is not all there")
    return Result(
        serial,
        ENDINGS[ending],
        None if code == wire.NO_CODE else code,
        signal or None,
        elapsed,
        out_size,
        err_size,
        body[at : at + out] if inline else None,
        body[at + out : at + out + err] if inline else None,
        body[at + out + err :].decode("utf-8", "replace"),
    )
