"""Failures put together by what they say, so that four hundred of one kind are one line.

It must never keep every failure: there may be a million of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct, field

NUMBERS = re.compile(r"\d+")


class Failure(Struct, frozen=True, kw_only=True):
    """A job that ended badly: its last attempt's host, how it ended in words, and the last line that it printed.

    `ran` is whether it has had an attempt at all.
    """

    job: int
    host: str
    how: str
    last_line: str
    ran: bool = True


class Cluster(Struct, frozen=True, kw_only=True):
    """Failures that look alike: how they ended, what they printed last, how many, and the first jobs and hosts.

    With `exact` every one of them printed `last_line`, otherwise the others differ from it in numbers only.
    `example` is the first of them that ran, None where none did.
    """

    how: str
    last_line: str
    exact: bool
    count: int
    jobs: tuple[int, ...]
    hosts: tuple[str, ...]
    host_count: int
    example: int | None = None


class _Heap(Struct):
    last_line: str
    exact: bool = True
    count: int = 0
    jobs: list[int] = field(default_factory=list)
    hosts: dict[str, None] = field(default_factory=dict)
    example: int | None = None


def clusters(failures: Iterable[Failure], *, jobs_shown: int = 5, kinds: int = 10_000) -> tuple[Cluster, ...]:
    """Failures by how they ended and the last line that they printed, numbers in it aside; the most first.

    Beyond `kinds` kinds a failure is counted by how it ended alone, so that memory stays bounded.

    >>> found = clusters(Failure(job=n, host="n7", how="exit 1", last_line=f"{n}.png: disk full") for n in (3, 5))
    >>> found[0].count, found[0].exact
    (2, False)
    """
    heaps: dict[tuple[str, str], _Heap] = {}
    for failure in failures:
        key = (failure.how, NUMBERS.sub("0", failure.last_line))
        if key not in heaps and len(heaps) >= kinds:
            key = (failure.how, "")
        heap = heaps.setdefault(key, _Heap(failure.last_line))
        heap.exact = heap.exact and heap.last_line == failure.last_line
        heap.count += 1
        if heap.example is None and failure.ran:
            heap.example = failure.job
        heap.hosts[failure.host] = None
        if len(heap.jobs) < jobs_shown:
            heap.jobs.append(failure.job)
    order = sorted(heaps.items(), key=lambda item: (-item[1].count, item[1].jobs[0]))
    return tuple(
        Cluster(
            how=how,
            last_line=heap.last_line,
            exact=heap.exact,
            count=heap.count,
            jobs=tuple(heap.jobs),
            hosts=tuple(heap.hosts)[:jobs_shown],
            host_count=len(heap.hosts),
            example=heap.example,
        )
        for (how, _), heap in order
    )
