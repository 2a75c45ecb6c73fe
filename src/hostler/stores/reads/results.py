"""The hosts of a run by what came of it there: by their jobs' last attempts on each, and by what those printed.

A job that failed on one host and went well on another is a failure of the first and a success of the second; one that
failed on a host and went well there later is none. Hosts are as the run knows them. It must never hold an output whole.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path

from hostler.model.hosts import Host
from hostler.model.jobs import Ending, OutputRef
from hostler.stores.output_reading import log_ref, read_output
from hostler.stores.packing import host_from_json
from hostler.stores.reading import Reader, Row
from hostler.stores.reads.attempts import marks
from hostler.stores.reads.kept import telling

#: No later attempt of the same job on the same host: one that was taken back before it began is none.
_LAST = (
    "NOT EXISTS (SELECT 1 FROM attempt b WHERE b.run = a.run AND b.job = a.job AND b.n > a.n "
    f"AND b.worker = a.worker AND coalesce(b.ending, '') <> '{Ending.REVOKED.value}')"
)
#: Endings that are none of anything: nobody began it.
_NONE = (Ending.REVOKED.value,)


def enrolled(reader: Reader, run: int) -> list[Host]:
    """Every host of a run, in order of their ids."""
    return _hosts(reader.all("SELECT host FROM worker WHERE run = ? ORDER BY id", run))


def ended_as(reader: Reader, run: int, endings: Collection[Ending]) -> list[Host]:
    """The hosts on which the last attempt of some job ended in one of these ways."""
    rows = reader.all(
        "SELECT w.host FROM worker w WHERE w.run = ? AND EXISTS (SELECT 1 FROM attempt a "
        f"WHERE a.run = w.run AND a.worker = w.id AND a.ending IN ({marks(endings)}) AND {_LAST}) ORDER BY w.id",
        run,
        *(ending.value for ending in endings),
    )
    return _hosts(rows)


def out_of_reach(reader: Reader, run: int) -> list[tuple[Host, str]]:
    """The hosts to which no line can be had as the run stands, or that can't begin jobs, each with its fault."""
    rows = reader.all(
        "SELECT id, host FROM worker WHERE run = ? AND (state = 'lost' OR (why <> '' AND state IN ('new', 'up'))) "
        "ORDER BY id",
        run,
    )
    faults = _faults(reader, run) if rows else {}
    return [(host_from_json(host), faults.get(id, "")) for id, host in rows]


def _faults(reader: Reader, run: int) -> dict[int, str]:
    """The fault for which each worker was struck last."""
    found: dict[int, str] = {}
    struck = "SELECT data FROM event WHERE run = ? AND type IN ('host.struck', 'host.lost') ORDER BY seq"
    for (data,) in reader.each(struck, run):
        told = json.loads(data)
        if told.get("fault"):
            found[told["worker"]] = told["fault"]
    return found


def printing(reader: Reader, run: int, text: bytes) -> list[Host]:
    """The hosts on which the last attempt of some job printed `text`, on stdout or stderr, as far as it is kept.

    Raises StoreError when output is gone, or lies on another machine.
    """
    folder = reader.run_folder(run)
    rows = reader.each(
        "SELECT a.worker, a.job, a.n, a.state, a.file, a.file_offset, a.out, a.err, a.interleaved FROM attempt a "
        f"WHERE a.run = ? AND coalesce(a.ending, '') NOT IN ({marks(_NONE)}) AND {_LAST} ORDER BY a.job, a.n",
        run,
        *_NONE,
    )
    found: set[int] = set()
    if folder is None:
        return []
    for worker, *row in rows:
        if worker not in found and _holds(reader, run, folder, tuple(row), text):
            found.add(worker)
    every = reader.all("SELECT id, host FROM worker WHERE run = ? ORDER BY id", run)
    return [host_from_json(host) for id, host in every if id in found]


def _holds(reader: Reader, run: int, folder: Path, row: Row, text: bytes) -> bool:
    job, n, state, file, offset, out, err, mixed = row
    if file is None:
        ref = log_ref(folder, job, n) if not state else None
    else:
        ref = OutputRef(file, offset or 0, out or 0, err or 0, bool(mixed))
    if ref is None:
        return False
    with telling(reader, run, ref.file, folder=folder):
        return any(
            size and within(read_output(folder, ref, stream), text)
            for stream, size in ((1, ref.out), (2, ref.err))
        )


def within(pieces: Iterator[bytes], text: bytes) -> bool:
    """Whether a stream that comes in pieces holds `text`, wherever it was cut; no more than a piece is held.

    >>> within(iter([b"no space le", b"f", b"t on device"]), b"space left"), within(iter([b"ab", b"c"]), b"ac")
    (True, False)
    """
    tail = b""
    for piece in pieces:
        window = tail + piece
        if text in window:
            return True
        tail = window[-(len(text) - 1) :] if len(text) > 1 else b""
    return False


def _hosts(rows: Collection[Row]) -> list[Host]:
    return [host_from_json(host) for (host,) in rows]
