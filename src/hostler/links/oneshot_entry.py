"""How a host is entered for one command: a line, and a shell on it that takes in what is to be done, by sudo or not.

It must never say a password before sudo has asked for it by a prompt that nobody could know, nor say it twice.
"""

from __future__ import annotations

import asyncio
import re

from hostler.errors import HostRefused, LineLost
from hostler.links.ahead import Ahead
from hostler.links.sudo import GRANTED, NOISE, Sudo
from hostler.model.hosts import Host
from hostler.ports import Connection, Stream, Transport
from hostler.remote.oneshot_source import BOOT, message


class Entry:
    """The way to one host. `ahead` may have a line to it already."""

    def __init__(
        self, host: Host, *, transport: Transport, sudo: Sudo | None = None, ahead: Ahead | None = None
    ) -> None:
        self.host, self._transport, self._sudo, self._ahead = host, transport, sudo, ahead

    async def line(self, *, deadline: float) -> Connection:
        """A line of the caller's own. Raises HostError."""
        begun = await self._ahead.take_line(self.host) if self._ahead else None
        return begun or await self._transport.connect(self.host, deadline=deadline)

    async def enter(self, line: Connection, *, deadline: float) -> Stream:
        """A shell that waits for a message, both of its streams to be read. Raises HostError."""
        if self._sudo is None:
            return await line.stream(BOOT, deadline=deadline, errors=True)
        try:
            command = self._sudo.boot()
        except ValueError as error:
            raise HostRefused(self.host.name, str(error)) from None
        stream = await line.stream(command, deadline=deadline, errors=True)
        await self._pass_by(self._sudo, stream)
        return stream

    def late(self, seconds: float) -> LineLost:
        """The error for a host that was entered and didn't answer in time."""
        return LineLost(self.host.name, f"its sh did not answer within {seconds:.0f}s")

    @staticmethod
    def message(body: bytes, mark: bytes) -> bytes:
        """What that shell reads."""
        return message(body, mark)

    async def _pass_by(self, sudo: Sudo, stream: Stream) -> None:
        """Answer sudo's question, if it asks, and wait for its consent. Raises HostRefused, LineLost."""
        complaints = b""
        prompt = sudo.prompt.encode()

        async def listen() -> None:
            nonlocal complaints
            asked = 0
            while data := await stream.read_err():
                complaints = (complaints + data)[-NOISE:]
                if prompt and complaints.count(prompt) > asked:
                    asked += 1
                    if asked > 1:
                        raise HostRefused(self_name, f"sudo did not take the password given for {sudo.user}")
                    stream.write(sudo.answer())

        async def wait() -> None:
            seen = b""
            while not re.search(GRANTED, seen):
                data = await stream.read()
                seen += data
                if not data or len(seen) > NOISE:
                    await asyncio.sleep(0)
                    return
            granted.set()

        self_name = self.host.name
        granted = asyncio.Event()
        listening, waiting = asyncio.ensure_future(listen()), asyncio.ensure_future(wait())
        try:
            await asyncio.wait({listening, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done() and not granted.is_set():
                listening.result()
            await waiting
            if not granted.is_set():
                await listening
                raise sudo.refusal(self_name, complaints.replace(prompt, b"") if prompt else complaints)
        finally:
            for task in (listening, waiting):
                task.cancel()
            await asyncio.gather(listening, waiting, return_exceptions=True)
