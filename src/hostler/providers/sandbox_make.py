"""What a new sandbox host is made of before anything of it runs: a number, an address, a folder with keys and settings.

It must never start a process that outlives the call.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from hostler.errors import ProviderError
from hostler.providers import sandbox_sshd
from hostler.providers.sandbox_files import MARK, Record, Registry, private, write
from hostler.providers.sandbox_procs import pin

PORTS = (22, 2222, 2022, 22022)


class Launch(Struct, frozen=True, kw_only=True):
    """What the hosts of one launch have in common.

    `run` is None by hand; `now` seconds since the epoch, `lifetime` the fuse in seconds; `environment` is set for all
    that is begun through them, `sshd_lines` go before our own in sshd_config.
    """

    run: str | None
    token: str
    now: float
    lifetime: float | None
    server: sandbox_sshd.Server
    environment: tuple[tuple[str, str], ...] = ()
    sshd_lines: tuple[str, ...] = ()
    fuse: float | None = None

    def name(self, number: int) -> str:
        """What a host is called: sandbox1 … by hand; a run's can't be mistaken for those, nor for another launch's."""
        short = hashlib.sha256(self.token.encode()).hexdigest()[:8]
        return f"sandbox{number}" if self.run is None else f"sbx-{short}-{number}"

    def shares_numbers_with(self, record: Record) -> bool:
        """Whether a host of this launch and that one must differ in number."""
        return record.run is None if self.run is None else record.token == self.token


class Maker:
    """Makes the folders of new hosts; `living` are those whose numbers and addresses are taken.

    `made` holds the id and number of each.
    """

    def __init__(self, registry: Registry, launch: Launch, living: Sequence[Record]) -> None:
        self._registry, self._launch = registry, launch
        self._addresses = {record.address for record in living}
        self._numbers = {record.number for record in living if launch.shares_numbers_with(record)}
        self._user = sandbox_sshd.login()
        self._client = sandbox_sshd.client_key(registry.client_key)
        self._vars = sandbox_sshd.python()
        self._controller = pin(os.getpid())
        self.made: dict[str, int] = {}
        if launch.server.sshd:
            sandbox_sshd.ready_for_root()

    def make(self) -> Path:
        """A new host's folder, with all that its keeper needs. Raises ProviderError."""
        id = f"sbx-{secrets.token_hex(8)}"
        number = next(n for n in itertools.count(1) if n not in self._numbers)
        self._numbers.add(number)
        self.made[id] = number
        folder = self._registry.path / id
        for each in (folder, folder / "spool"):
            each.mkdir(mode=0o700)
            each.chmod(0o700)
        host_key = sandbox_sshd.make_key(folder / "host_key")
        private(folder / "authorized_keys", self._client + "\n")
        address, port = free_endpoint(self._addresses)
        self._addresses.add(address)
        launch = self._launch
        record = Record(
            id=id,
            number=number,
            name=launch.name(number),
            address=address,
            port=port,
            user=self._user,
            host_key=host_key,
            identity=str(self._registry.client_key),
            run=launch.run,
            token=launch.token,
            started=launch.now,
            expires=None if launch.lifetime is None else launch.now + launch.lifetime,
            command=sandbox_sshd.command(launch.server, folder),
            environment=((MARK, id), *launch.environment),
            # What hostler leaves on a host goes with the host, as it does with any machine that is ended.
            vars=(*self._vars, ("spool", str(folder / "spool"))),
            controller=self._controller,
            fuse=launch.fuse,
            mark="" if launch.run is None else self._registry.mark(),
        )
        if launch.server.sshd:
            settings = sandbox_sshd.settings(
                folder,
                address=address,
                port=port,
                user=self._user,
                environment=record.environment,
                extra=launch.sshd_lines,
                sshd=launch.server.sshd,
            )
            private(folder / "sshd_config", settings)
        write(folder, record)
        return folder

    def give_back(self, folder: Path) -> None:
        """Let the number of a host that did not come up be used again."""
        self._numbers.discard(self.made[folder.name])


def free_endpoint(taken: set[str]) -> tuple[str, int]:
    """A loopback address that nobody uses, and a port on it: 22 where we may and can."""
    for port in PORTS:
        for _ in range(10):
            address = f"127.77.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"
            if address in taken:
                continue
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((address, port))
                    probe.listen(1)
                except OSError:
                    continue
            return address, port
    raise ProviderError(
        f"sandbox: no free port on loopback addresses 127.77.x.y (tried {', '.join(map(str, PORTS))})"
    )
