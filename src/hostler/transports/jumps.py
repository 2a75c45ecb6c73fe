"""Jump hosts: one line to each, shared by all hosts behind it, whichever transport opens them.

It must never go in circles, and never hold a dead line for a way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from msgspec.structs import replace

from hostler.errors import HostError, HostRefused
from hostler.model.hosts import Host
from hostler.transports.sessions import Closable
from hostler.transports.sshconfig import Way

JUMPS = 8  # hosts in a row on the way to one


L = TypeVar("L", bound=Closable)
Dial = Callable[[Host, float, tuple[str, ...]], Awaitable[L]]


class Jumps(Generic[L]):
    """The lines to jump hosts. `dial` opens one: host, seconds, the jumps on the way so far."""

    def __init__(self, dial: Dial[L]) -> None:
        self._dial = dial
        self._jumps: dict[str, _Jump[L]] = {}

    async def line(self, host: Host, way: Way, deadline: float, through: tuple[str, ...]) -> L | None:
        """The line to the host's jump host, None when it has none. Raises HostError that names the jump host."""
        if way.jump is None:
            return None
        before, _, last = way.jump.rpartition(",")
        jump = replace(jump_host(last, host), jump=before or None)
        if jump.endpoint in (host.endpoint, way.endpoint):
            return None  # "Host *" with a ProxyJump concerns the jump host too
        key = f"{before},{jump.endpoint}"
        if key in through or len(through) >= JUMPS:
            raise HostRefused(host.name, f"its jump hosts lead in a circle: {' > '.join((*through, key))}")
        held = self._jumps.setdefault(key, _Jump(jump))
        async with held.opening:
            if held.line is None or held.line.is_closed():
                try:
                    held.line = await self._dial(jump, deadline, (*through, key))
                except HostError as error:
                    raise type(error)(host.name, f"by way of {jump.endpoint}: {error.why}") from error
            return held.line

    def take(self) -> list[tuple[Host, L]]:
        """All lines, which are the caller's to close from now on."""
        jumps, self._jumps = self._jumps, {}
        return [(jump.host, jump.line) for jump in jumps.values() if jump.line is not None]


class _Jump(Generic[L]):
    """A jump host and the line to it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.opening = asyncio.Lock()
        self.line: L | None = None


def jump_host(text: str, target: Host) -> Host:
    """A jump host from [user@]host[:port]. Raises HostRefused.

    >>> jump_host("me@gate:2222", Host(name="web", address="web")).endpoint
    'me@gate:2222'
    """
    user, _, rest = text.strip().removeprefix("ssh://").rpartition("@")
    address, colon, port = rest.rpartition(":")
    if rest.startswith("[") and rest.endswith("]"):
        address, colon, port = rest, "", ""
    if colon and not port.isdigit():
        raise HostRefused(target.name, f"its jump host {text!r} is not [user@]host[:port]")
    address = (address if colon else rest).strip("[]")
    try:
        return Host(name=address, address=address, user=user or None, port=int(port) if colon else None)
    except ValueError as error:
        raise HostRefused(target.name, f"its jump host {text!r}: {error}") from error
