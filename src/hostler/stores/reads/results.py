"""Which hosts of an earlier run came to some result: what `@last:failed` and its like stand for.

It goes by each job's last attempt. It must never take a host that nobody heard of for one that failed.
"""

from __future__ import annotations

from collections.abc import Iterator

from hostler.model.hosts import Host
from hostler.model.jobs import Ending, JobState
from hostler.model.terms import ResultSet
from hostler.stores.output_reading import read_output
from hostler.stores.packing import host_from_json
from hostler.stores.reading import Reader
from hostler.stores.reads.endings import last_ended

#: Ends that are no failure: of those that were not well it is everybody else.
WELL = (Ending.OK, Ending.CANCELLED, Ending.REVOKED)
#: What is said of a host that could not be had, whoever refused whom.
OUT = ("unreachable", "refused")


def hosts_that(reader: Reader, run: int, asked: ResultSet) -> list[Host]:
    """The hosts with a job whose last attempt ended as `asked` says, in the order in which they were enrolled."""
    rows = reader.all("SELECT id, host FROM worker WHERE run = ? ORDER BY id", run)
    if asked.state == "all" and asked.out is None:
        return [host_from_json(host) for _, host in rows]
    wanted = set(
        _by_output(reader, run, asked.out) if asked.out is not None else _by_end(reader, run, asked.state)
    )
    return [host_from_json(host) for id, host in rows if id in wanted]


def _by_end(reader: Reader, run: int, state: str) -> Iterator[int]:
    well = ", ".join(f"'{ending.value}'" for ending in WELL)
    if state == "failed":
        which = f"a.ending NOT IN ({well})"
    else:
        which = f"a.ending = '{Ending(Ending.UNREACHABLE if state in OUT else state).value}'"
    sql = (
        "SELECT DISTINCT a.worker FROM job j JOIN attempt a ON a.run = j.run AND a.job = j.seq AND a.n = j.attempts "
        f"WHERE j.run = ? AND j.state >= {int(JobState.OK)} AND a.state = 1 AND {which}"
    )
    for (worker,) in reader.all(sql, run):
        yield worker


def _by_output(reader: Reader, run: int, text: str) -> Iterator[int]:
    folder, needle = reader.run_folder(run), text.encode("utf-8", "surrogateescape")
    if folder is None:
        return
    for worker, ref in last_ended(reader, run):
        for stream in (1, 2):
            before = b""
            for piece in read_output(folder, ref, stream):
                if needle in before + piece:
                    yield worker
                    break
                before = (before + piece)[-max(0, len(needle) - 1) :] if len(needle) > 1 else b""
