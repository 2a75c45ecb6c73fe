"""An open line to one host: commands, streams and files over it, each within its deadline.

Below it is AsyncSSH's connection, or an ssh program's that is spoken to in the same words.

It must never leave a channel open that nobody waits for any more: a host allows only so many on one line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import asyncssh

from hostler.errors import HostError, HostRefused, LineLost, Unreachable
from hostler.model.hosts import Host
from hostler.ports import Finished
from hostler.transports.files import NO_SUCH_FILE, NoSftp, Sftp, SftpRefused
from hostler.transports.reasons import broken
from hostler.transports.sessions import PACKET, WINDOW, Collected, Duplex, Jumped, Session

S = TypeVar("S", bound=Session)
T = TypeVar("T")
NO_SFTP = "no SFTP there (its sshd_config needs a Subsystem sftp)"
GOODBYE = 5.0  # seconds that a closing line may take


class Line(Protocol):
    """What is needed of a line, in AsyncSSH's words."""

    @property
    def create_session(self) -> Callable[..., Awaitable[tuple[Any, Any]]]:
        """Opens a channel for a command or a subsystem. Raises asyncssh.ChannelOpenError."""
        ...

    def is_closed(self) -> bool:
        """Whether the line is over."""
        ...

    def close(self) -> None:
        """End the line in order."""
        ...

    def abort(self) -> None:
        """End the line at once."""
        ...

    async def wait_closed(self) -> None:
        """Wait until the line is over."""
        ...


class SshConnection:
    """A ports.Connection over a line of SSH; `jump` is the line that it goes through, if any."""

    def __init__(self, host: Host, conn: Line, jump: Jumped = None) -> None:
        self.host, self._jump = host, jump
        self._conn = conn
        self._opening: set[asyncio.Future[Any]] = set()

    @property
    def alive(self) -> bool:
        """Whether the line was open when last looked at."""
        return not self._conn.is_closed()

    async def run(
        self, command: str, *, stdin: bytes = b"", deadline: float, limit: int = 1 << 20
    ) -> Finished:
        """Run a command line by the account's shell and collect at most `limit` bytes of each stream.

        Raises LineLost when the line breaks, Unreachable after `deadline` seconds or when no session is to be had,
        HostRefused when the host won't run it.

        >>> (await connection.run("echo hello", deadline=10)).stdout  # doctest: +SKIP
        b'hello\\n'
        """
        session: Collected | None = None
        try:
            async with asyncio.timeout(deadline):
                session = await self._open(command, lambda: Collected(self.host.name, limit, self._jump))
                session.stdin(stdin)
                await session.over.wait()
        except TimeoutError as error:
            raise Unreachable(self.host.name, f"no end of a command within {deadline:g}s") from error
        finally:
            if session is not None and not session.over.is_set():
                session.give_up()
        if session.lost is not None:
            raise LineLost(self.host.name, session.lost)
        if session.code is None and session.signal is None:
            raise LineLost(self.host.name, "the host did not say how the command ended")
        stdout, stderr = session.output()
        return Finished(stdout=stdout, stderr=stderr, code=session.code, signal=session.signal)

    async def stream(self, command: str, *, deadline: float, errors: bool = False) -> Duplex:
        """Start a command line; `deadline` seconds bound the start only. With `errors` its stderr is to be read, too.

        Raises LineLost, Unreachable when no session is to be had in time, HostRefused when the host won't run it.
        """
        try:
            async with asyncio.timeout(deadline):
                return await self._open(command, lambda: Duplex(self.host.name, self._jump, errors=errors))
        except TimeoutError as error:
            raise Unreachable(self.host.name, f"no session within {deadline:g}s") from error

    async def put(self, data: bytes, path: str, *, mode: int = 0o600, deadline: float) -> None:
        """Write a file through SFTP: the old one or the new one is there, never a part.

        Raises LineLost, Unreachable after `deadline` seconds, HostRefused when it can't be written.
        """
        await self._by_sftp(lambda sftp: sftp.store(data, path, mode), path, deadline)

    async def get(self, path: str, *, deadline: float, limit: int = 1 << 20) -> bytes:
        """Read a file through SFTP. Raises FileNotFoundError, HostRefused when it is longer than `limit` bytes."""
        data = await self._by_sftp(lambda sftp: sftp.fetch(path, limit), path, deadline)
        if len(data) > limit:
            raise HostRefused(self.host.name, f"{path} holds more than {limit} bytes")
        return data

    async def close(self) -> None:
        """Close the line; never raises."""
        self._conn.close()
        try:
            async with asyncio.timeout(GOODBYE):
                await self._conn.wait_closed()
        except TimeoutError:
            self._conn.abort()

    async def _open(self, command: str, make: Callable[[], S]) -> S:
        """Open a session with a command. An empty command would be an interactive shell."""
        return await self._session(make, "it runs no commands for this account", command=command or ":")

    async def _session(self, make: Callable[[], S], refusal: str, **what: str) -> S:
        made: list[S] = []

        def factory() -> S:
            made.append(make())
            return made[0]

        opened = self._conn.create_session(
            factory, encoding=None, request_pty=False, window=WINDOW, max_pktsize=PACKET, **what
        )
        try:
            await self._all_the_way(opened, lambda pair: pair[0].abort())
        except asyncssh.ChannelOpenError as error:
            raise self._refused(error, refusal) from error
        except (OSError, asyncssh.Error) as error:
            raise LineLost(self.host.name, broken(error)) from error
        return made[0]

    async def _all_the_way(self, opening: Awaitable[T], undo: Callable[[T], object]) -> T:
        # AsyncSSH forgets a channel whose opening is cancelled, and the host keeps it. So the opening goes on, and
        # what comes of it is closed as soon as it is there.
        task = asyncio.ensure_future(opening)
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda done: done.cancelled() or done.exception() or undo(done.result()))
            raise

    def _refused(self, error: asyncssh.ChannelOpenError, request: str) -> HostError:
        if self._conn.is_closed() or "connection closed" in error.reason:
            return LineLost(self.host.name, "the line was closed")
        if error.code == asyncssh.OPEN_REQUEST_SESSION_FAILED:
            return HostRefused(self.host.name, request)
        return Unreachable(
            self.host.name,
            f"the host's sshd allows no more sessions on this line ({error.reason or 'MaxSessions'})",
        )

    async def _by_sftp(self, use: Callable[[Sftp], Awaitable[T]], path: str, deadline: float) -> T:
        name = self.host.name
        stream: Duplex | None = None
        try:
            async with asyncio.timeout(deadline):
                stream = await self._session(lambda: Duplex(name, self._jump), NO_SFTP, subsystem="sftp")
                sftp = Sftp(stream)
                await sftp.begin()
                return await use(sftp)
        except TimeoutError as error:
            raise Unreachable(name, f"no answer about {path} within {deadline:g}s") from error
        except NoSftp as error:
            raise HostRefused(name, NO_SFTP) from error
        except SftpRefused as error:
            if error.code == NO_SUCH_FILE:
                raise FileNotFoundError(2, f"no such file on {name}", path) from error
            raise HostRefused(name, f"{path}: {error}") from error
        finally:
            if stream is not None:
                await stream.close()
