"""A fan-out for programs: an object for each host, on lines as they end or as one list of all.

Streams that are UTF-8 are text; others are told as base64. It must never hold the output of more than one host.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hostler.model.endings import Ended
from hostler.model.events import AttemptEnded, Event
from hostler.model.jobs import Ending, JobState, OutputRef
from hostler.views.joblog import Fetch

Read = Callable[[OutputRef, int], Iterable[bytes]]


def facts(ended: Ended, state: str, *, read: Read) -> dict[str, Any]:
    """What programs are told of one host: how it ended, and all that it wrote."""
    ref = ended.output
    out, err = (b"".join(read(ref, stream)) if ref is not None else b"" for stream in (1, 2))
    return {
        "host": ended.host,
        "job": ended.job,
        "attempt": ended.n,
        "state": state,
        "ending": ended.ending.value,
        "code": ended.code,
        "signal": ended.signal,
        "seconds": ended.elapsed,
        "detail": ended.detail,
        **_stream("stdout", out),
        **_stream("stderr", err),
    }


def _stream(name: str, data: bytes) -> dict[str, str]:
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {name: data.decode("utf-8", "backslashreplace"), f"{name}_base64": b64encode(data).decode()}


class HostLines:
    """Writes an object for each host that has ended; with `whole` they are one list, ended by `end`."""

    def __init__(self, write: Callable[[bytes], None], *, fetch: Fetch, read: Read, whole: bool) -> None:
        self._write, self._fetch, self._read, self._whole = write, fetch, read, whole
        self._count = 0

    def saw(self, events: Sequence[Event]) -> None:
        """Tell of those that have ended."""
        final = {(e.job, e.n): e for e in events if isinstance(e, AttemptEnded) and e.then.final}
        for ended in self._fetch(list(final)) if final else ():
            then, ending = final[ended.job, ended.n].then, ended.ending
            gone = then is JobState.LOST and ending is Ending.UNREACHABLE
            text = json.dumps(facts(ended, "unreachable" if gone else then.word, read=self._read))
            if self._whole:
                text = (",\n" if self._count else "[\n") + text
            self._count += 1
            self._write(text.encode() + (b"" if self._whole else b"\n"))

    def end(self) -> None:
        """Close the list."""
        if self._whole:
            self._write(b"\n]\n" if self._count else b"[]\n")


class Unseen:
    """Who prints nothing of what jobs write."""

    def piece(self, held: object, stream: int, data: bytes) -> None:
        """Nothing."""

    def result(self, held: object, kept: object) -> None:
        """Nothing."""

    def saw(self, events: Sequence[Event]) -> None:
        """Nothing."""
