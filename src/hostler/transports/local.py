"""This machine without SSH: command lines by /bin/sh in a session of their own, as sshd would start them.

A line is nothing but the processes that were begun on it: when it closes, those end, and what has made itself a
session of its own, as the runner does, goes on. It must never take another machine, or another account, for this one.
"""

from __future__ import annotations

import asyncio
import getpass
import ipaddress
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from hostler.errors import HostRefused, LineLost, Unreachable
from hostler.model.hosts import Host
from hostler.ports import Finished
from hostler.transports.localfiles import fetch, store
from hostler.transports.localprocess import PIECE, Process, begin

T = TypeVar("T")
GOODBYE = 2.0  # seconds that processes have between HUP and KILL


def unfit(host: Host) -> str:
    """Why a host can't be reached without SSH; empty when it can.

    >>> unfit(Host(name="web1", address="127.0.0.1", port=2222))
    'it has a port 2222, which is for SSH, and is to be reached without'
    """
    if not _here(host.address):
        return f"{host.address} is not this machine (localhost is), and it is to be reached without SSH"
    me = getpass.getuser()
    if host.user not in (None, me):
        return f"without SSH there is no other account than {me}, not {host.user}"
    if host.jump is not None or host.port is not None:
        what = f"port {host.port}" if host.jump is None else f"jump host {host.jump}"
        return f"it has a {what}, which is for SSH, and is to be reached without"
    return ""


class LocalTransport:
    """A ports.Transport to this machine and this account, whatever name the Host has."""

    async def connect(self, host: Host, *, deadline: float) -> LocalConnection:
        """Open a line; there is nothing to wait for. Raises HostRefused for what only SSH can reach.

        >>> await transport.connect(Host(name="here", address="localhost"), deadline=10)  # doctest: +SKIP
        """
        if why := unfit(host):
            raise HostRefused(host.name, why)
        await asyncio.sleep(0)
        return LocalConnection(host)

    async def close(self) -> None:
        """Nothing is shared."""


class LocalConnection:
    """A ports.Connection to this machine."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._processes: set[Process] = set()
        self._given_up: set[asyncio.Future[Process]] = set()
        self._lost: str | None = None

    @property
    def alive(self) -> bool:
        """Whether it was not closed."""
        return self._lost is None

    async def run(
        self, command: str, *, stdin: bytes = b"", deadline: float, limit: int = 1 << 20
    ) -> Finished:
        """Run a command line and collect at most `limit` bytes of each stream.

        Raises LineLost when the line is closed, Unreachable after `deadline` seconds: the command is ended then.
        """
        process: Process | None = None
        try:
            async with asyncio.timeout(deadline):
                process = await self._begin(command)
                process.write(stdin)
                process.end_of_input()
                stdout, stderr = await asyncio.gather(
                    _first(process.stdout, limit), _first(process.stderr, limit)
                )
                code = await process.wait()
        except BaseException as error:
            if process is not None:
                process.kill()
            if isinstance(error, TimeoutError):
                why = f"no end of a command within {deadline:g}s"
                raise Unreachable(self.host.name, why) from error
            raise
        return Finished(stdout=stdout, stderr=stderr, code=code, signal=process.signal)

    async def stream(self, command: str, *, deadline: float, errors: bool = False) -> Process:
        """Start a command line. Raises LineLost, HostRefused when it can't be started."""
        process = await self._begin(command)
        if not errors:
            process.watch_stderr()
        return process

    async def put(self, data: bytes, path: str, *, mode: int = 0o600, deadline: float) -> None:
        """Write a file: the old one or the new one is there, never a part.

        Raises FileNotFoundError, HostRefused when it can't be written, Unreachable after `deadline` seconds.
        """
        await self._file(path, deadline, lambda place: store(data, place, mode))

    async def get(self, path: str, *, deadline: float, limit: int = 1 << 20) -> bytes:
        """Read a file. Raises FileNotFoundError, HostRefused when it is longer than `limit` bytes, Unreachable."""
        data = await self._file(path, deadline, lambda place: fetch(place, limit))
        if len(data) > limit:
            raise HostRefused(self.host.name, f"{path} holds more than {limit} bytes")
        return data

    async def close(self) -> None:
        """End what was begun on this line and is not detached: HUP, and KILL for what stays. Never raises."""
        if self._lost is None:
            self._lost = "the line was closed"
        if self._given_up:  # what was still beginning when its caller went is ended with the rest
            await asyncio.wait(self._given_up, timeout=GOODBYE)
        held, self._processes = self._processes, set()
        left = [process for process in held if not process.over]
        for process in left:
            process.lose(LineLost(self.host.name, self._lost))
        try:
            async with asyncio.timeout(GOODBYE):
                await asyncio.gather(*(process.gone() for process in left))
        except TimeoutError:
            pass
        finally:
            for process in left:
                process.kill()
            with suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE):
                    await asyncio.gather(*(process.gone() for process in left))
            for process in held:
                process.release()

    async def _begin(self, command: str) -> Process:
        self._must_live()
        starting = asyncio.ensure_future(begin(command, host=self.host.name))
        try:
            process = await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._given_up.add(starting)
            starting.add_done_callback(self._unwanted)
            raise
        except (OSError, ValueError) as error:
            raise HostRefused(self.host.name, f"it can't start a command: {_words(error)}") from error
        if self._lost is not None:
            process.kill()
        self._must_live()
        for held in [held for held in self._processes if held.over]:
            self._processes.discard(held)
            held.release()
        self._processes.add(process)
        return process

    def _unwanted(self, starting: asyncio.Future[Process]) -> None:
        """End a process that nobody waits for any more."""
        self._given_up.discard(starting)
        if not starting.cancelled() and starting.exception() is None:
            starting.result().kill()
            self._processes.add(starting.result())

    async def _file(self, path: str, deadline: float, use: Callable[[Path], T]) -> T:
        self._must_live()
        try:
            async with asyncio.timeout(deadline):
                return await asyncio.to_thread(use, Path.home() / path)
        except FileNotFoundError:
            raise
        except TimeoutError as error:
            raise Unreachable(self.host.name, f"no answer about {path} within {deadline:g}s") from error
        except (OSError, ValueError) as error:
            raise HostRefused(self.host.name, f"{path}: {_words(error)}") from error

    def _must_live(self) -> None:
        if self._lost is not None:
            raise LineLost(self.host.name, self._lost)


async def _first(reader: asyncio.StreamReader, limit: int) -> bytes:
    """The first `limit` bytes; the rest is read and dropped."""
    kept = bytearray()
    while data := await reader.read(PIECE):
        kept += data[: limit - len(kept)]
    return bytes(kept)


def _here(address: str) -> bool:
    """Whether an address is this machine's own, by its looks alone: nobody is asked."""
    if address in ("localhost", socket.gethostname()):
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(address).is_loopback
    return False


def _words(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number).lower() if number else str(error)
