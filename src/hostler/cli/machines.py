"""The machines that a run has launched: they belong to it, and end with it in every way in which it can end.

A controller that takes a run up takes its machines up too. It must never leave one behind without saying how to end it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from hostler.errors import HostlerError, StaleEpoch
from hostler.model.hosts import Host
from hostler.model.instances import Instance
from hostler.ports import Provider
from hostler.views.tables import counted

#: Seconds in which machines must answer, and in which they must be gone.
LAUNCH = 120.0
DESTROY = 60.0
#: Seconds in which a provider must say which machines have ended.
ASKED = 30.0


class Machines:
    """What one run has launched from `providers`; with `keep` it is left running."""

    def __init__(
        self, providers: Iterable[Provider], *, run: str, keep: bool, say: Callable[[str], None]
    ) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self._run, self._keep, self._say = run, keep, say
        #: Who was still launching when nobody waited any more.
        self._abandoned = ""
        self._said = ""

    async def launch(self, count: int, *, by: str, token: str) -> list[Host]:
        """Launch `count` machines; once this has begun, cancelling waits for its end, but not when cancelled again.

        Raises ProviderError.
        """
        launching = asyncio.ensure_future(
            self._providers[by].launch(count, run=self._run, token=token, deadline=LAUNCH, lifetime=None)
        )
        try:
            return [instance.host for instance in await asyncio.shield(launching)]
        except asyncio.CancelledError:
            # Nobody can call back what a provider has begun; what comes of it is ended with the rest.
            self._say(f"waiting for {by} to launch them, to end them; once more leaves at once")
            try:
                with suppress(HostlerError):
                    await asyncio.shield(launching)
            except asyncio.CancelledError:
                self._abandoned = by
            raise

    async def adopt(self) -> None:
        """Answer for what earlier controllers of the run have launched. Raises ProviderError."""
        for provider in self._providers.values():
            await provider.adopt(run=self._run)

    async def ended(self, hosts: Sequence[Host]) -> Mapping[str, str]:
        """Which of these (Host.instance) have ended, and which provider says so. Trouble with asking is said once."""
        ended: dict[str, str] = {}
        for provider in self._providers.values():
            try:
                ended |= dict.fromkeys(await provider.ended(hosts, deadline=ASKED), provider.name)
            except (HostlerError, OSError) as error:
                if str(error) != self._said:
                    self._said = str(error)
                    self._say(f"{error}; whether {provider.name} hosts have ended can't be told")
        return ended

    @asynccontextmanager
    async def ended_on_failure(self) -> AsyncIterator[None]:
        """End all that there is when what is done within fails; when nobody waits for that, say which are left."""
        try:
            yield
        except StaleEpoch:
            raise  # the run is another controller's now, and so are its machines
        except BaseException:
            if self._abandoned:
                await self.left()
                raise
            try:
                await self.end()
            except asyncio.CancelledError:
                await self.left()
                raise
            raise

    async def end(self) -> None:
        """End all that there is of the run, unless it is to be kept; trouble with it is said."""
        for provider in self._providers.values():
            if not (there := await self._there(provider)):
                continue
            try:
                if self._keep:
                    await provider.release(there)
                    self._say(
                        f"{counted(len(there), 'host')} kept: {_this_ends(there)}: {provider.ending(there)}"
                    )
                else:
                    await asyncio.shield(provider.destroy(there, deadline=DESTROY))
            except (HostlerError, OSError) as error:
                self._say(f"{error}; {self._how(there)}")

    async def left(self) -> None:
        """Say what is left behind, and what ends it."""
        for provider in self._providers.values():
            there = await self._there(provider)
            if provider.name == self._abandoned:
                self._say(f"{provider.name} hosts may still come up: {self._how(())}")
            elif there:
                self._say(f"{counted(len(there), 'host')} left running: {self._how(there)}")

    async def _there(self, provider: Provider) -> Sequence[Instance]:
        """What the run has at a provider; where that can't be told, it is said, and what ends it if there is any."""
        try:
            return await provider.instances(run=self._run)
        except (HostlerError, OSError) as error:
            self._say(f"{error}; whether {provider.name} hosts are left nobody knows: {self._how(())}")
            return ()

    def _how(self, there: Sequence[Instance]) -> str:
        return f"{_this_ends(there)}: hostler reap --run {self._run}"


def _this_ends(there: Sequence[Instance]) -> str:
    return f"this ends {'it' if len(there) == 1 else 'them'}"
