"""Hosts that are objects, for tests of what stands above the transport, ours and our users'.

It keeps the same contract as the real ones and has switches for what goes wrong: nobody listens, nobody answers,
the door stays shut, the line is cut now. It must never be kinder than a real host.
"""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from hostler.errors import Crowded, HostError, HostKeyMismatch, HostRefused, LineLost, Unreachable
from hostler.model.hosts import Host
from hostler.ports import Finished
from hostler.transports.memory_programs import BUILT_IN, Kept, Killed, Pipe, Ports, Program, interpret

STDERR_TAIL = 8 << 10
UNREAD = 2 << 20


class MemoryHost(Struct, kw_only=True, eq=False):
    """One machine, reached by `address` and `port`, whose switches may be turned at any time.

    `listening` False refuses connections, `silent` True takes them and says nothing, `accepts` False lets nobody
    in, `host_key` is the key that it shows, `max_startups` the lines that may be opening at once, `max_sessions` the
    commands at once on one line, `sftp` whether files can be put and got. `programs` come before the built-in ones.
    """

    address: str
    port: int = 22
    listening: bool = True
    silent: bool = False
    accepts: bool = True
    host_key: str | None = None
    max_startups: int = 100
    max_sessions: int = 10
    sftp: bool = True
    programs: Mapping[str, Program] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    folders: set[str] = field(default_factory=lambda: {"/", "/tmp", ""})
    commands: list[str] = field(default_factory=list)
    lines: list[MemoryConnection] = field(default_factory=list)
    opening: int = 0

    def cut(self, why: str = "the line broke") -> None:
        """Break every line to this host; what runs on it goes on."""
        for line in [*self.lines]:
            line.lose(why)


class MemoryTransport:
    """A ports.Transport over MemoryHosts; an address of none of them is a name not known."""

    def __init__(self, hosts: Iterable[MemoryHost]) -> None:
        self._hosts = {(host.address, host.port): host for host in hosts}
        self._addresses = {host.address for host in self._hosts.values()}
        self._running: set[asyncio.Task[None]] = set()

    async def connect(self, host: Host, *, deadline: float) -> MemoryConnection:
        """Open a line within `deadline` seconds. Raises Unreachable, HostRefused, HostKeyMismatch."""
        await asyncio.sleep(0)
        port = host.port or 22
        if host.address not in self._addresses:
            raise HostRefused(host.name, f"name not known: {host.address}")
        there = self._hosts.get((host.address, port))
        if there is None or not there.listening:
            raise Unreachable(host.name, f"connection refused by {host.address}:{port}")
        if there.silent:
            await asyncio.sleep(deadline)
            raise Unreachable(
                host.name, f"{host.address}:{port} took the call but said nothing within {deadline:g}s"
            )
        if host.host_key is not None and host.host_key != there.host_key:
            raise HostKeyMismatch(host.name, "host key mismatch: it shows another key than the one pinned")
        there.opening += 1
        try:
            if there.opening > there.max_startups:
                raise Crowded(host.name, f"{host.address}:{port} hung up before the login")
            await asyncio.sleep(0)
        finally:
            there.opening -= 1
        if not there.accepts:
            user = host.user or "me"
            raise HostRefused(
                host.name,
                f"no key accepted for {user}@{host.address}: tried {host.identity or 'none'};"
                f" try: ssh {user}@{host.address}",
            )
        line = MemoryConnection(host, there, self._running)
        there.lines.append(line)
        return line

    async def close(self) -> None:
        """End what still runs."""
        tasks = [*self._running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class MemoryConnection:
    """A ports.Connection to a MemoryHost."""

    def __init__(self, host: Host, there: MemoryHost, running: set[asyncio.Task[None]]) -> None:
        self.host, self._there, self._running = host, there, running
        self._streams: set[MemoryStream] = set()
        self._lost: str | None = None

    @property
    def alive(self) -> bool:
        """Whether the line is open."""
        return self._lost is None

    async def run(
        self, command: str, *, stdin: bytes = b"", deadline: float, limit: int = 1 << 20
    ) -> Finished:
        """Run a command line and collect at most `limit` bytes of each stream. Raises LineLost, Unreachable."""
        stream: MemoryStream | None = None
        try:
            async with asyncio.timeout(deadline):
                stream = await self.stream(command, deadline=deadline)
                stream.write(stdin)
                stream.stdin.end()
                stdout = b""
                while data := await stream.read():
                    stdout = (stdout + data)[:limit] if len(stdout) < limit else stdout
                await stream.over.wait()
        except TimeoutError as error:
            raise Unreachable(self.host.name, f"no end of a command within {deadline:g}s") from error
        finally:
            if stream is not None:
                await stream.close()
        return Finished(
            stdout=stdout, stderr=bytes(stream.kept.data[:limit]), code=stream.code, signal=stream.signal
        )

    async def stream(self, command: str, *, deadline: float, errors: bool = False) -> MemoryStream:
        """Start a command line. Raises LineLost, Unreachable when the host has no session left."""
        await asyncio.sleep(0)
        self._must_live()
        if len(self._streams) >= self._there.max_sessions:
            raise Unreachable(
                self.host.name, "the host's sshd allows no more sessions on this line (MaxSessions)"
            )
        self._there.commands.append(command)
        stream = MemoryStream(self.host.name, errors=errors)
        self._streams.add(stream)
        programs = {**BUILT_IN, **self._there.programs}
        task = asyncio.get_running_loop().create_task(stream.perform(command, programs))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(lambda _: self._streams.discard(stream))
        return stream

    async def put(self, data: bytes, path: str, *, mode: int = 0o600, deadline: float) -> None:
        """Write a file. Raises LineLost, HostRefused."""
        await asyncio.sleep(0)
        self._must_have_files()
        if posixpath.dirname(path) not in self._there.folders:
            raise FileNotFoundError(2, f"no such file on {self.host.name}", path)
        self._there.files[path], self._there.modes[path] = bytes(data), mode

    async def get(self, path: str, *, deadline: float, limit: int = 1 << 20) -> bytes:
        """Read a file of at most `limit` bytes. Raises FileNotFoundError, HostRefused, LineLost."""
        await asyncio.sleep(0)
        self._must_have_files()
        if path not in self._there.files:
            raise FileNotFoundError(2, f"no such file on {self.host.name}", path)
        data = self._there.files[path]
        if len(data) > limit:
            raise HostRefused(self.host.name, f"{path} holds more than {limit} bytes")
        return data

    def lose(self, why: str) -> None:
        """Break the line now."""
        if self._lost is None:
            self._lost = why
            if self in self._there.lines:
                self._there.lines.remove(self)
            for stream in [*self._streams]:
                stream.lose(LineLost(self.host.name, why))

    async def close(self) -> None:
        """Close the line; never raises."""
        self.lose("the line was closed")

    def _must_live(self) -> None:
        if self._lost is not None:
            raise LineLost(self.host.name, self._lost)

    def _must_have_files(self) -> None:
        self._must_live()
        if not self._there.sftp:
            raise HostRefused(self.host.name, "no SFTP there: its sshd has no Subsystem sftp")


class MemoryStream:
    """A ports.Stream to a coroutine."""

    def __init__(self, host: str, *, errors: bool = False) -> None:
        self._host = host
        self._error: HostError | None = None
        self._stdout = Pipe(UNREAD)
        self.stdin = Pipe()
        self.kept = Kept()
        self.stderr = Pipe(UNREAD) if errors else self.kept
        self.over = asyncio.Event()
        self.code: int | None = None
        self.signal: str | None = None

    async def perform(self, command: str, programs: Mapping[str, Program]) -> None:
        """Run the command line to its end."""
        try:
            self.code = await interpret(command, programs, Ports(self.stdin, self._stdout, self.stderr))
        except Killed as killed:
            self.signal = killed.signal
        except HostError:
            pass  # it wrote to a line that is gone
        finally:
            self._stdout.end()
            self.stderr.end()
            self.over.set()

    def write(self, data: bytes) -> None:
        """Queue bytes for stdin."""
        self.stdin.push(data)

    async def drain(self) -> None:
        """Wait until little is queued. Raises LineLost."""
        if self._error is None:
            await self.stdin.drain()
        if self._error is not None:
            raise self._error

    async def read(self) -> bytes:
        """All of stdout that is there, waiting for some; b"" at its end. Raises LineLost."""
        return await self._stdout.read()

    async def read_err(self) -> bytes:
        """The same of stderr, where that was asked for."""
        return await self.stderr.read()

    def stderr_tail(self) -> bytes:
        """The last 8 KiB of stderr."""
        return bytes(self.kept.data[-STDERR_TAIL:])

    async def close(self) -> None:
        """Close stdin and the stream; what runs goes on."""
        self.stdin.end()
        self._stdout.end()
        self.stderr.end()

    def lose(self, error: HostError) -> None:
        """The line broke."""
        self._error = error
        self.stdin.end()
        self._stdout.end(error)
        self.stderr.end(error)
        self.over.set()
