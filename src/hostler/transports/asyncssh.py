"""Lines to hosts by AsyncSSH, the default: cheap to open, many on one event loop.

It must never switch host-key checking off, ask for a password, or forward an agent, X11 or ports.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import asyncssh

from hostler.errors import HostRefused, LineLost, Unreachable
from hostler.model.hosts import Host
from hostler.ports import Finished
from hostler.transports.sessions import PACKET, WINDOW, Session


class AsyncsshTransport:
    """A ports.Transport (first cut: host keys are remembered per state folder, errors are terse)."""

    def __init__(
        self,
        *,
        state: Path,
        strict: bool | None,
        keepalive: float = 15.0,
        keepalive_count: int = 3,
        ssh_config: Sequence[Path] | None = None,
        say: Callable[[str], None],
    ) -> None:
        self._state, self._strict, self._say = state, strict, say
        self._keepalive, self._keepalive_count = keepalive, keepalive_count
        self._config = ssh_config

    async def connect(self, host: Host, *, deadline: float) -> AsyncsshConnection:
        """Open a line within `deadline` seconds. Raises Unreachable, HostRefused."""
        known = self._state / "known_hosts"
        config = [str(path) for path in self._config] if self._config is not None else ()
        fresh: list[asyncssh.SSHKey] = []
        trusted = asyncssh.read_known_hosts(str(known)) if known.exists() else asyncssh.import_known_hosts("")
        place = host.address if host.port in (None, 22) else f"[{host.address}]:{host.port}"

        class Client(asyncssh.SSHClient):
            def validate_host_public_key(self, name: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
                if trusted.match(name, addr, None if port == 22 else port)[0]:
                    return False
                fresh.append(key)
                return True

        try:
            async with asyncio.timeout(deadline):
                conn = await asyncssh.connect(
                    host.address,
                    host.port if host.port is not None else (),
                    username=host.user if host.user is not None else (),
                    config=config,
                    client_factory=Client,
                    known_hosts=lambda *args: trusted.match(*args)[:3],
                    client_keys=[host.identity] if host.identity else (),
                    encryption_algs="^aes128-gcm@openssh.com,chacha20-poly1305@openssh.com",
                    compression_algs=None,
                    agent_forwarding=False,
                    x11_forwarding=False,
                    password_auth=False,
                    kbdint_auth=False,
                    login_timeout=deadline,
                    keepalive_interval=self._keepalive,
                    keepalive_count_max=self._keepalive_count,
                )
        except (asyncssh.PermissionDenied, asyncssh.HostKeyNotVerifiable) as error:
            raise HostRefused(host.name, str(error)) from error
        except (OSError, asyncssh.Error) as error:
            raise Unreachable(host.name, str(error) or type(error).__name__) from error
        if fresh:
            known.parent.mkdir(parents=True, exist_ok=True)
            with known.open("a") as file:
                file.write(f"{place} {fresh[0].export_public_key().decode().strip()}\n")
        return AsyncsshConnection(host, conn)

    async def close(self) -> None:
        """Let go of everything that connections share."""


class AsyncsshConnection:
    """A ports.Connection."""

    def __init__(self, host: Host, conn: asyncssh.SSHClientConnection) -> None:
        self.host, self._conn = host, conn

    @property
    def alive(self) -> bool:
        """Whether the line was open when last looked at."""
        return not self._conn.is_closed()

    async def _open(self, command: str) -> Session:
        try:
            _, session = await self._conn.create_session(
                lambda: Session(self.host.name),
                command or ":",
                encoding=None,
                request_pty=False,
                window=WINDOW,
                max_pktsize=PACKET,
            )
        except asyncssh.ChannelOpenError as error:
            if self._conn.is_closed():
                raise LineLost(self.host.name, str(error)) from error
            raise Unreachable(self.host.name, f"no session: {error.reason}") from error
        except (OSError, asyncssh.Error) as error:
            raise LineLost(self.host.name, str(error)) from error
        return session

    async def run(self, command: str, *, stdin: bytes = b"", deadline: float, limit: int = 1 << 20) -> Finished:
        """Run a command line and collect at most `limit` bytes of stdout. Raises LineLost, Unreachable."""
        try:
            async with asyncio.timeout(deadline):
                session = await self._open(command)
                session.write(stdin)
                session.write_eof()
                parts: list[bytes] = []
                size = 0
                while data := await session.read():
                    parts.append(data[: limit - size])
                    size += len(parts[-1])
                await session.closed
                return Finished(
                    stdout=b"".join(parts),
                    stderr=session.stderr_tail(),
                    code=session.code,
                    signal=session.signal,
                )
        except TimeoutError as error:
            raise Unreachable(self.host.name, f"no answer within {deadline:g}s") from error

    async def stream(self, command: str, *, deadline: float) -> Session:
        """Start a command line; `deadline` seconds bound the start only. Raises LineLost, HostRefused."""
        try:
            async with asyncio.timeout(deadline):
                return await self._open(command)
        except TimeoutError as error:
            raise Unreachable(self.host.name, f"no answer within {deadline:g}s") from error

    async def put(self, data: bytes, path: str, *, mode: int = 0o600, deadline: float) -> None:
        """Write a file whole or not at all."""
        async with asyncio.timeout(deadline), self._conn.start_sftp_client() as sftp:
            temporary = f"{path}.hostler-part"
            async with sftp.open(temporary, "wb", asyncssh.SFTPAttrs(permissions=mode)) as file:
                await file.write(data)
            await sftp.posix_rename(temporary, path)

    async def get(self, path: str, *, deadline: float, limit: int = 1 << 20) -> bytes:
        """Read a file of at most `limit` bytes. Raises FileNotFoundError."""
        async with asyncio.timeout(deadline), self._conn.start_sftp_client() as sftp:
            try:
                async with sftp.open(path, "rb") as file:
                    return bytes(await file.read(limit))
            except asyncssh.SFTPNoSuchFile as error:
                raise FileNotFoundError(path) from error

    async def close(self) -> None:
        """Close the line; never raises."""
        self._conn.close()
        await self._conn.wait_closed()
