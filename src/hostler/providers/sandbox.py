"""Sandbox hosts: real SSH servers of our own on this machine's loopback addresses, for trying and rehearsing.

A host is a keeper process and the sshd below it; it outlives whoever asked for it, and when it ends, so does every
process begun through it. This module is looked at by every inventory: it must never import what is slow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from hostler.errors import UsageError
from hostler.model.hosts import Host
from hostler.model.instances import Instance
from hostler.providers.sandbox_files import Registry

if TYPE_CHECKING:
    from hostler.clock import Clock
    from hostler.providers.sandbox_files import Record

#: Seconds to wait for another process that begins or ends hosts.
LOCKED = 60.0
#: Seconds that a run's hosts outlive its controller: jobs have ended long before, results wait for who comes back.
FUSE = 900.0
VARIABLE = "HOSTLER_SANDBOX_FUSE"


def hosts(path: Path | None = None) -> tuple[Host, ...]:
    """The sandbox hosts begun by hand that are up, in order: sandbox1, sandbox2 …

    `path` is the sandbox folder, None for this account's usual one. A folder that another account made there holds
    nothing of ours and is passed over here; beginning or listing hosts refuses it loudly.

    >>> hosts(Path("/nonexistent"))
    ()
    """
    try:
        entries = Registry(path).entries()
    except UsageError:
        return ()
    return tuple(
        replace(entry.record.host, instance=None)  # a kept one is nobody's that a run launched
        for entry in entries
        if entry.record and entry.record.run is None and entry.up
    )


class Sandbox:
    """The provider of sandbox hosts.

    `path` is the sandbox folder, None for this account's usual one; `sshd_lines` are put before our own lines in each
    new host's sshd_config ("MaxSessions 2"). Hosts of a run outlive its controller by `fuse` seconds (None: as
    HOSTLER_SANDBOX_FUSE says, else 15 minutes).
    """

    name = "sandbox"

    def __init__(
        self, path: Path | None = None, *, clock: Clock | None = None, sshd_lines: Sequence[str] = (),
        fuse: float | None = None,
    ) -> None:  # fmt: skip
        from hostler.clock import SystemClock

        self._registry = Registry(path)
        self._clock = clock or SystemClock()
        self._lines = tuple(sshd_lines)
        self._fuse = fuse

    async def launch(
        self, count: int, *, run: str | None, token: str, deadline: float, lifetime: float | None
    ) -> tuple[Instance, ...]:
        """Begin `count` hosts and return once each answers with an SSH banner, within `deadline` seconds.

        The same token again gives the same hosts, topped up to `count`. `lifetime` is their fuse in seconds.
        Raises UsageError for a count that is not 1 to 500 or a folder that can't be trusted, ProviderError.
        """
        from hostler.providers.aside import aside
        from hostler.providers.sandbox_make import Launch
        from hostler.providers.sandbox_sshd import choose, home
        from hostler.providers.sandbox_start import start

        wanted = Launch(
            run=run,
            token=token,
            now=self._clock.now(),
            lifetime=lifetime,
            server=choose(),
            environment=home(),
            sshd_lines=self._lines,
            fuse=None if run is None else self._burns(),
        )
        records = await aside(lambda: start(self._registry, count, launch=wanted, seconds=deadline))
        return tuple(record.instance for record in records)

    def _burns(self) -> float:
        """How long a run's hosts outlive its controller."""
        import os

        from hostler.model.durations import parse_duration

        if said := os.environ.get(VARIABLE):
            try:
                return parse_duration(said)
            except UsageError as error:
                raise UsageError(f"{VARIABLE}: {error}") from None
        return FUSE if self._fuse is None else self._fuse

    async def destroy(self, instances: Sequence[Instance], *, deadline: float) -> None:
        """End hosts and every process begun through them, within `deadline` seconds; those gone already are no error.

        Raises ProviderError naming the processes that survive.
        """
        from hostler.providers.aside import aside
        from hostler.providers.sandbox_end import end

        ids = {instance.id for instance in instances}
        await aside(lambda: end(self._registry, lambda entry: entry.id in ids, seconds=deadline))

    async def instances(self, *, run: str | None = None) -> tuple[Instance, ...]:
        """The hosts that are up, of one run or all."""
        records = (entry.record for entry in self._registry.entries() if entry.record and entry.up)
        return tuple(record.instance for record in records if run is None or record.run == run)

    async def ended(self, hosts: Sequence[Host], *, deadline: float) -> frozenset[str]:
        """Which of these are gone with all that was begun through them; one without a keeper is ended now.

        Raises ProviderError when processes survive that, or when the hosts are locked for all of `deadline` seconds.
        """
        from hostler.providers.aside import aside
        from hostler.providers.sandbox_end import gone

        asked = [host.instance for host in hosts if host.instance is not None]
        return await aside(lambda: gone(self._registry, asked, seconds=deadline))

    def ending(self, instances: Sequence[Instance]) -> str:
        """The command that ends these hosts."""
        return " ".join(["hostler sandbox down", *(instance.host.name for instance in instances)])

    async def adopt(self, *, run: str) -> tuple[Instance, ...]:
        """Make this process the one that answers for a run's hosts. Raises ProviderError when they are locked."""
        import os

        from hostler.providers.sandbox_procs import pin

        mine = {"controller": pin(os.getpid()), "fuse": self._burns()}
        return await self._rewritten(lambda record: record.run == run, **mine)

    async def release(self, instances: Sequence[Instance]) -> tuple[Instance, ...]:
        """Make hosts as if begun by hand: of no run, in every inventory. Raises ProviderError when they are locked."""
        ids = {instance.id for instance in instances}
        return await self._rewritten(lambda record: record.id in ids, run=None, controller=None, fuse=None)

    async def _rewritten(self, which: Callable[[Record], bool], **changes: Any) -> tuple[Instance, ...]:
        from hostler.providers.aside import aside
        from hostler.providers.sandbox_files import rewrite

        records = await aside(lambda: rewrite(self._registry, which, seconds=LOCKED, **changes))
        return tuple(record.instance for record in records)
