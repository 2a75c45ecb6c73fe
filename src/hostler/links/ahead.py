"""Runners' sources, sent to hosts while the run is still being put on disk.

A login, a shell and a Python take a host longer than our own part of a start; so lines are opened before anything of
the run is known to be kept, and what waits at their far end has been told nothing but the runner's source: no run, no
job. It must never say hello, and never keep a line that nobody comes for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import islice

from hostler.model.hosts import Host
from hostler.ports import Connection, Stream, Transport
from hostler.remote import source

#: Hosts that are called ahead, and seconds that one waits to be needed.
FIRST, IDLE = 8, 10.0

#: The same where nothing but a line is opened: less is wasted when nobody comes.
LINES = 32

Begun = tuple[Connection, Stream | None]


class Ahead:
    """Lines by `transport` at whose far end a Python has the runner's source, and waits for its hello.

    With `bare` they are lines, and nothing was begun there.
    """

    def __init__(self, transport: Transport, *, deadline: float, bare: bool = False) -> None:
        self._transport, self._deadline, self._bare = transport, deadline, bare
        self._begun: dict[Host, asyncio.Task[Begun]] = {}
        self._letting_go: set[asyncio.Task[None]] = set()

    def begin(self, hosts: Iterable[Host]) -> None:
        """Call the first of these hosts. What fails is told to nobody: whoever needs the host calls it again."""
        for host in islice(hosts, LINES if self._bare else FIRST):
            if (self._bare or host.var("python") != "none") and host not in self._begun:
                self._begun[host] = asyncio.create_task(self._call(host), name=f"ahead {host.name}")
                asyncio.get_running_loop().call_later(IDLE, self._drop, host)
        if self._begun and not self._bare:
            asyncio.get_running_loop().call_soon(source.parcel)  # made while the first host is being reached

    async def take(self, host: Host) -> tuple[Connection, Stream] | None:
        """The line to a host, which is the caller's from now on; None where none was begun, or it had failed by now.

        Raises HostError when it fails meanwhile.
        """
        begun = await self._take(host)
        return (begun[0], begun[1]) if begun and begun[1] is not None else None

    async def take_line(self, host: Host) -> Connection | None:
        """The same of one that is bare. Raises HostError."""
        begun = await self._take(host) if self._bare else None
        return begun[0] if begun else None

    async def _take(self, host: Host) -> Begun | None:
        task = self._begun.pop(host, None)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            return None
        try:
            return await task
        except (TimeoutError, ValueError):
            return None

    async def close(self, *, deadline: float) -> None:
        """Let go of all lines that nobody took, within `deadline` seconds."""
        for host in list(self._begun):
            self._drop(host)
        if self._letting_go:
            await asyncio.wait(self._letting_go, timeout=deadline)

    async def _call(self, host: Host) -> Begun:
        command = "" if self._bare else source.command(host.var("python"))
        connection = await self._transport.connect(host, deadline=self._deadline)
        if self._bare:
            return connection, None
        try:
            async with asyncio.timeout(self._deadline):
                stream = await connection.stream(command, deadline=self._deadline)
                stream.write(source.parcel())
        except BaseException:
            await connection.close()
            raise
        return connection, stream

    def _drop(self, host: Host) -> None:
        task = self._begun.pop(host, None)
        if task is not None:
            self._letting_go.add(going := asyncio.create_task(self._let_go(task)))
            going.add_done_callback(self._letting_go.discard)

    async def _let_go(self, task: asyncio.Task[Begun]) -> None:
        task.cancel()
        found = (await asyncio.gather(task, return_exceptions=True))[0]
        if not isinstance(found, BaseException):
            await found[0].close()
