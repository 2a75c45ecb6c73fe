"""The few doors between decisions and the world, each with at least two implementations and one contract suite.

What stands here are obligations. An implementation may add constructor arguments, never methods that callers need.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from hostler.model.events import Event
from hostler.model.hosts import Host
from hostler.model.instances import Instance
from hostler.model.jobs import JobState, OutputRef, Queued, Start
from hostler.model.reports import Hello, Report
from hostler.model.requests import Request
from hostler.model.runs import BatchRows, Worker


class Finished(Struct, frozen=True, kw_only=True):
    """What a remote command answered: bytes as they came, and an exit code or a signal's name, never both."""

    stdout: bytes
    stderr: bytes
    code: int | None
    signal: str | None = None


class Stream(Protocol):
    """A running remote command whose stdin we write and whose stdout we read. Bytes, in order, or an error."""

    def write(self, data: bytes) -> None:
        """Queue bytes for the command's stdin; never blocks. What is queued is sent in order."""
        ...

    async def drain(self) -> None:
        """Wait until little is queued. Raises LineLost."""
        ...

    async def read(self) -> bytes:
        """The next bytes of its stdout, b"" at its end. Raises LineLost when the line broke first."""
        ...

    async def read_err(self) -> bytes:
        """The same of its stderr, where that was asked for: a stream of its own, which holds the host back as well."""
        ...

    def stderr_tail(self) -> bytes:
        """The last few KiB that it wrote to stderr, where nobody reads that."""
        ...

    async def close(self) -> None:
        """Close stdin and the stream; does not end the command by itself."""
        ...


class Connection(Protocol):
    """An open line to one host."""

    host: Host

    async def run(
        self, command: str, *, stdin: bytes = b"", deadline: float, limit: int = 1 << 20
    ) -> Finished:
        """Run a command line by the account's shell and collect at most `limit` bytes of each stream.

        Raises LineLost when the line breaks, Unreachable after `deadline` seconds.
        """
        ...

    async def stream(self, command: str, *, deadline: float, errors: bool = False) -> Stream:
        """Start a command line; `deadline` seconds bound the start only. With `errors` its stderr is to be read, too.

        Raises LineLost, HostRefused.
        """
        ...

    async def put(self, data: bytes, path: str, *, mode: int = 0o600, deadline: float) -> None:
        """Write a file: the old one or the new one is there, never a part."""
        ...

    async def get(self, path: str, *, deadline: float, limit: int = 1 << 20) -> bytes:
        """Read a file of at most `limit` bytes. Raises FileNotFoundError."""
        ...

    @property
    def alive(self) -> bool:
        """Whether the line was open when last looked at."""
        ...

    async def close(self) -> None:
        """Close the line; never raises."""
        ...


class Transport(Protocol):
    """A way to open a line to a host. Safe to use from many tasks; knows no retries and no limits."""

    async def connect(self, host: Host, *, deadline: float) -> Connection:
        """Open a line within `deadline` seconds, counted from when the host's turn comes where turns are taken.

        Raises Unreachable (worth another try), Crowded (soon), HostRefused (not), HostKeyMismatch.
        """
        ...

    async def close(self) -> None:
        """Let go of everything that connections share."""
        ...


class Link(Protocol):
    """Our end of the attempts on one host.

    After `open`, reports come to the function given there, in order, the last one being Down when the line goes.
    Kill, revoke and ack overtake starts. Every call but open and close returns at once.
    """

    async def open(
        self, ask: Sequence[int], *, given: int, deliver: Callable[[Report], None], deadline: float
    ) -> Hello:  # fmt: skip
        """Reach the host's runner, starting it where there is none, and ask what it knows of the serials `ask`.

        A host that has seen a serial above `given`, the highest that our store knows of, refuses us: ours is a copy.

        Raises HostError. Results of attempts in `ask` that are done come as reports afterwards.
        """
        ...

    def start(self, starts: Sequence[Start]) -> None:
        """Send attempts, in rising order of serial. A serial that the host has seen is not started again."""
        ...

    def follow(self, serial: int, *, out: int, err: int) -> None:
        """Say how many bytes of an attempt's streams are on our disk already; its output goes on from there."""
        ...

    def ready(self) -> None:
        """Say that every follow has been sent: output and kept results may come."""
        ...

    def revoke(self, serials: Sequence[int]) -> None:
        """Take back what has not started; each is answered by Revoked, or by its Result in the end."""
        ...

    def kill(self, serials: Sequence[int], *, grace: float, ending: str) -> None:
        """End running attempts by the kill ladder; each is answered by its Result with `ending`."""
        ...

    def resize(self, slots: int) -> None:
        """Have the host run so many jobs at once from now on; what runs is let end."""
        ...

    def ack(self, serials: Sequence[int]) -> None:
        """Say that these results are on our disk, so that the host may forget them."""
        ...

    def credit(self, size: int) -> None:
        """Allow `size` more bytes of output."""
        ...

    async def close(self, *, forget: bool, deadline: float) -> None:
        """Leave. With `forget` the host is told that nothing of this run is wanted any more."""
        ...


class Turn(Struct, frozen=True, kw_only=True):
    """One transaction: events in order, the first of them numbered `seq`."""

    run: int
    epoch: int
    seq: int
    events: Sequence[Event]


class Store(Protocol):
    """Where what happened is kept. Rows are the truth, events the history."""

    async def commit(self, turn: Turn, *, before: Callable[[], None] | None = None) -> None:
        """Write a turn, durably, whole or not at all.

        `before` is called in the writer's thread right before the commit.

        Raises StaleEpoch when the run has a newer owner, StoreFull when a later try may work, StoreError.
        """
        ...

    async def batch_rows(self, run: int) -> BatchRows:
        """All that the engine needs of a run."""
        ...

    async def queued(self, run: int, *, after: tuple[int, int], limit: int) -> list[Queued]:
        """Waiting jobs in order of (tries, job number) after that pair, at most `limit`."""
        ...

    async def requests(self, run: int) -> list[Request]:
        """What other processes want of the run and wait for an answer to, in order."""
        ...

    async def standings(self, run: int, jobs: Sequence[int]) -> dict[int, JobState]:
        """The states of these jobs, without those that the run doesn't have."""
        ...

    async def workers(self, run: int) -> list[Worker]:
        """The hosts enrolled in a run, in order of their ids."""
        ...

    def version(self) -> int:
        """A number that changes whenever something was committed: a cheap look before a dear one."""
        ...


class OutputFiles(Protocol):
    """Where the output of attempts is kept."""

    def whole(self, out: bytes, err: bytes) -> OutputRef | None:
        """Keep a short attempt's whole output; None when there is none."""
        ...

    def append(self, job: int, n: int, stream: int, offset: int, data: bytes) -> None:
        """Add to a long attempt's own file; what it already holds is skipped."""
        ...

    def held(self, job: int, n: int) -> tuple[int, int]:
        """How many bytes of stdout and stderr are on disk for this attempt."""
        ...

    def finish(self, job: int, n: int) -> OutputRef | None:
        """Close a long attempt's file; None when there never was one."""
        ...

    def sync(self) -> None:
        """Make all that was written durable. Called off the event loop's thread, before the commit that names it."""
        ...


class View(Protocol):
    """A reader of what happens. A view that fails is let go, with one warning; it decides nothing."""

    def saw(self, events: Sequence[Event]) -> None:
        """Take in events that have been committed."""
        ...


class Provider(Protocol):
    """Something that launches and destroys machines."""

    name: str

    async def launch(
        self, count: int, *, run: str | None, token: str, deadline: float, lifetime: float | None
    ) -> tuple[Instance, ...]:
        """Launch machines; the same token again gives the same machines. Raises ProviderError."""
        ...

    async def destroy(self, instances: Sequence[Instance], *, deadline: float) -> None:
        """End machines and return once they are gone. Raises ProviderError naming what survives."""
        ...

    async def instances(self, *, run: str | None = None) -> tuple[Instance, ...]:
        """The machines that there are, of one run or all."""
        ...

    async def ended(self, hosts: Sequence[Host], *, deadline: float) -> frozenset[str]:
        """Which of these (by Host.instance) have ended, so that nothing runs there. What is left of a broken one ends.

        Those that are well, and those of which it can't be told for certain, are not among them. Raises ProviderError.
        """
        ...

    def ending(self, instances: Sequence[Instance]) -> str:
        """The command by which a person ends machines that are nobody's."""
        ...

    async def adopt(self, *, run: str) -> tuple[Instance, ...]:
        """Answer for a run's machines from now on: those whose process has died are taken for forgotten ones."""
        ...

    async def release(self, instances: Sequence[Instance]) -> tuple[Instance, ...]:
        """Make machines nobody's but their owner's: of no run, and ended by hand or by their fuse alone."""
        ...


__all__ = [
    "Connection",
    "Finished",
    "Link",
    "OutputFiles",
    "Provider",
    "Store",
    "Stream",
    "Transport",
    "Turn",
    "View",
]
