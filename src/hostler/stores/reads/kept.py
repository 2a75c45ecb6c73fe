"""Where a run's output is kept: on the machine of the controller that wrote it, which need not be this one.

Rows and events are for everybody who has the store; bytes that jobs wrote lie beside the controller that took them in.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hostler.errors import StoreError
from hostler.model.jobs import OutputRef
from hostler.stores.output_reading import read_output
from hostler.stores.reading import Reader

_PACKED = re.compile(r"out/(\d{1,9})\.dat\Z")
_LOG = re.compile(r"out/(\d{1,18})\.(\d{1,9})\.log\Z")


class OutputElsewhere(StoreError):
    """Output is kept, but not on this machine."""


def place_of(folder: Path) -> str:
    """How a run's folder of this machine is called anywhere: HOST:PATH."""
    return f"{os.uname().nodename}:{folder}"


def kept_on(reader: Reader, run: int, file: str) -> str:
    """HOST:PATH of the run's folder that `file` of an OutputRef lies in; empty where nobody said."""
    told = reader.each("SELECT seq, data FROM event WHERE run = ? AND type = 'run.started' ORDER BY seq", run)
    begun = [(seq, json.loads(data)) for seq, data in told]
    if packed := _PACKED.match(file):
        found = [each for _, each in begun if each.get("epoch") == int(packed[1])]
    elif log := _LOG.match(file):
        row = reader.one(
            "SELECT ended_seq FROM attempt WHERE run = ? AND job = ? AND n = ?", run, int(log[1]), int(log[2])
        )
        ended = row[0] if row and row[0] is not None else 1 << 62
        found = [each for seq, each in begun if seq < ended]
    else:
        found = []
    return str(found[-1].get("kept", "")) if found else ""


@contextmanager
def telling(reader: Reader, run: int, file: str, *, folder: Path) -> Iterator[None]:
    """Have what fails because output lies on another machine say on which. `folder` is the run's own one here."""
    try:
        yield
    except StoreError as error:
        place = kept_on(reader, run, file)
        if not place or place == place_of(folder):
            raise
        raise OutputElsewhere(f"this output is kept where it was taken in: {place}") from error


def reading(reader: Reader, run: int, *, folder: Path) -> Callable[[OutputRef, int], Iterator[bytes]]:
    """A way to read one stream (1 or 2) of an attempt's output, for those who go on with what there is.

    Of output that lies on another machine the place is told, in the stream of errors.
    """

    def read(ref: OutputRef, stream: int) -> Iterator[bytes]:
        try:
            with telling(reader, run, ref.file, folder=folder):
                yield from read_output(folder, ref, stream)
        except OutputElsewhere as error:
            if stream == 2:
                yield f"hostler: {error}\n".encode()

    return read
