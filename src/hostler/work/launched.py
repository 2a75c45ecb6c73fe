"""Whether machines that were launched for a run have ended: whoever launched them is asked, about many at once.

It must never take silence, an error or a doubt for an end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from hostler.engine.facts import MachineEnded
from hostler.model.hosts import Host
from hostler.model.runs import Worker

#: Answers which of these hosts (by Host.instance) have ended, and by whose word.
AskProviders = Callable[[Sequence[Host]], Awaitable[Mapping[str, str]]]


async def nobody(hosts: Sequence[Host]) -> Mapping[str, str]:
    """The answer where no provider is at hand."""
    return {}


class Launched:
    """Asks after workers whose machines were launched, one question at a time, and tells of those that have ended."""

    def __init__(
        self, ask: AskProviders, workers: Mapping[int, Worker], *, tell: Callable[[MachineEnded], None]
    ) -> None:
        self._ask, self._workers, self._tell = ask, workers, tell
        self._wanted: set[int] = set()
        self._asking = False

    async def after(self, worker: int) -> None:
        """Ask after a worker; who comes while a question is out is in the next one."""
        self._wanted.add(worker)
        if self._asking:
            return
        self._asking = True
        try:
            while self._wanted:
                asked = {id: self._workers[id].host for id in sorted(self._wanted)}
                self._wanted.clear()
                ended = await self._ask([*asked.values()])
                for id, host in asked.items():
                    if host.instance is not None and host.instance in ended:
                        self._tell(MachineEnded(id, ended[host.instance]))
        finally:
            self._asking = False
