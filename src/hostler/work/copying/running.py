"""Many hosts at once: how each is doing, and what became of it.

One host's trouble is never another's: whatever happens on one becomes its result. It must never print.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from hostler.clock import Clock
from hostler.errors import Crowded, HostError, LineLost, Unreachable
from hostler.model.hosts import Host
from hostler.model.trees import Copied
from hostler.work.copying.ends import Refused

#: Failures of one host that are kept with their words; more are counted.
SHOWN = 1000


class Going(Struct, kw_only=True):
    """How one host is doing: changed as it goes on, read by who draws it."""

    host: str
    root: bytes = b""
    phase: str = "waiting"
    total: int = 0
    done: Callable[[], int] = int
    files: int = 0
    placed: int = 0
    placed_bytes: int = 0
    failures: list[tuple[bytes, str]] = []
    failed: int = 0
    remarks: list[str] = []
    unchanged: int = 0
    amended: int = 0
    removed: int = 0
    resumed: int = 0

    def fail(self, path: bytes, why: str) -> None:
        """Note that something could not be copied."""
        self.failed += 1
        if len(self.failures) < SHOWN:
            self.failures.append((path, why))

    def place(self, count: int, size: int) -> None:
        """Note that files are in their places."""
        self.placed += count
        self.placed_bytes += size

    def result(self, *, seconds: float, error: str = "", reached: bool = True) -> Copied:
        """What became of it. Where only the root itself failed there is no more to say than that."""
        if not error and self.failed == 1 and self.failures[0][0] == b"":
            error = f"{os.fsdecode(self.root)}: {self.failures[0][1]}"
        return Copied(
            host=self.host, files=self.placed, size=self.placed_bytes, unchanged=self.unchanged,
            amended=self.amended, removed=self.removed, resumed=self.resumed, seconds=seconds,
            failures=tuple(self.failures), failed=self.failed, remarks=tuple(self.remarks), error=error,
            reached=reached,
        )  # fmt: skip


class Progress:
    """How all hosts are doing."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self.hosts = {host.name: Going(host=host.name) for host in hosts}
        self.results: list[Copied] = []


async def each_host(
    hosts: Sequence[Host], one: Callable[[Host, Going], Awaitable[None]], *, progress: Progress, clock: Clock,
    forks: int,
) -> list[Copied]:  # fmt: skip
    """Do `one` for each host, `forks` at once; what became of each, in the hosts' order."""
    turn = asyncio.Semaphore(forks)

    async def its(host: Host) -> Copied:
        async with turn:
            going, began = progress.hosts[host.name], clock.steady()
            error, reached = "", True
            try:
                await one(host, going)
            except Refused as refused:
                error = refused.why
            except HostError as lost:
                error, reached = _why(lost, going), False
            going.phase = "over"
            result = going.result(seconds=clock.steady() - began, error=error, reached=reached)
            progress.results.append(result)
            return result

    return await asyncio.gather(*(its(host) for host in hosts))


def _why(error: HostError, going: Going) -> str:
    cut = isinstance(error, LineLost | Unreachable) and not isinstance(error, Crowded)
    if cut and going.phase == "copying":
        return f"{error.why}; what has arrived is kept: say it again to go on"
    return error.why
