"""The machines that a run has launched: they belong to it, and end with it in every way in which it can end.

A controller that takes a run up takes its machines up too. It must never leave one behind without saying how to end it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from hostler.errors import HostlerError, ProviderError
from hostler.model.hosts import Host
from hostler.model.instances import Instance
from hostler.ports import Provider
from hostler.views.tables import counted

#: Seconds in which machines must answer, and in which they must be gone.
LAUNCH = 120.0
DESTROY = 60.0


class Machines:
    """What one run has launched from `provider`; with `keep` it is left running."""

    def __init__(self, provider: Provider, *, run: str, keep: bool, say: Callable[[str], None]) -> None:
        self._provider, self._run, self._keep, self._say = provider, run, keep, say

    async def launch(self, count: int, *, token: str) -> list[Host]:
        """Launch `count` machines; once this has begun, cancelling waits for its end. Raises ProviderError."""
        launching = asyncio.ensure_future(
            self._provider.launch(count, run=self._run, token=token, deadline=LAUNCH, lifetime=None)
        )
        try:
            return [instance.host for instance in await asyncio.shield(launching)]
        except asyncio.CancelledError:
            # Nobody can call back what a provider has begun; what comes of it is ended with the rest.
            with suppress(HostlerError, asyncio.CancelledError):
                await launching
            raise

    async def adopt(self) -> None:
        """Answer for what earlier controllers of the run have launched. Raises ProviderError."""
        await self._provider.adopt(run=self._run)

    async def end(self) -> None:
        """End all that there is of the run, unless it is to be kept; trouble with it is said."""
        there = await self._there()
        if not there:
            return
        try:
            if self._keep:
                await self._provider.release(there)
                self._say(
                    f"{counted(len(there), 'host')} kept: {_this_ends(there)}: {self._provider.ending(there)}"
                )
                return
            await asyncio.shield(self._provider.destroy(there, deadline=DESTROY))
        except ProviderError as error:
            self._say(f"{error}; {self._how(there)}")

    async def left(self) -> None:
        """Say what is left behind, and what ends it."""
        if there := await self._there():
            self._say(f"{counted(len(there), 'host')} left running: {self._how(there)}")

    async def _there(self) -> Sequence[Instance]:
        return await self._provider.instances(run=self._run)

    def _how(self, there: Sequence[Instance]) -> str:
        return f"{_this_ends(there)}: hostler reap --run {self._run}"


def _this_ends(there: Sequence[Instance]) -> str:
    return f"this ends {'them' if len(there) > 1 else 'it'}"
