"""How sandbox hosts begin: numbers, addresses, folders, keepers, all under the registry's lock.

It must never leave a host behind that nobody knows of: what was begun in a call that fails is ended in it.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import secrets
import selectors
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import hostler
from hostler.errors import ProviderError, UsageError
from hostler.providers import sandbox_sshd
from hostler.providers.sandbox_end import end_entries
from hostler.providers.sandbox_files import MARK, Entry, Record, Registry, private, read, write
from hostler.providers.sandbox_procs import pin

MOST = 500
SPARE_TRIES = 5
AT_ONCE = 16
PORTS = (22, 2222, 2022, 22022)


def start(
    registry: Registry,
    count: int,
    *,
    run: str | None,
    token: str,
    now: float,
    lifetime: float | None,
    seconds: float,
    server: sandbox_sshd.Server,
    extra: tuple[str, ...] = (),
) -> list[Record]:
    """Begin hosts and return once each answers with an SSH banner; blocks for up to `seconds`.

    Living hosts of the same token are given again and counted. By hand (run None) they are sandbox1, sandbox2 …,
    the lowest numbers that are free; a run's are named by token. `now` is seconds since the epoch, `lifetime` the
    fuse in seconds, `extra` lines for sshd_config.

    Raises UsageError for a count that is not 1 to 500, ProviderError when one can't be had: then no new one stays.
    """
    if not 1 <= count <= MOST:
        raise UsageError(f"{count} sandbox hosts: must be 1 to {MOST}")
    if sys.platform != "linux":
        raise UsageError("sandbox hosts need Linux: they live on addresses of its loopback device")
    registry.create()
    until = time.monotonic() + seconds
    with registry.lock(seconds=seconds):
        entries = registry.entries()
        # A dead keeper's number is wanted again (after a reboot all of them are).
        end_entries([entry for entry in entries if not entry.up], seconds=_left(until))
        mine = [
            entry.record for entry in entries if entry.up and entry.record and entry.record.token == token
        ]
        kept = [_taken_over(registry, record) for record in mine[:count]]
        maker = _Maker(
            registry,
            run=run,
            token=token,
            now=now,
            lifetime=lifetime,
            server=server,
            extra=extra,
            entries=entries,
        )
        begun: list[Record] = []
        tries = -(-count // AT_ONCE) + SPARE_TRIES
        try:
            while missing := count - len(kept) - len(begun):
                if (tries := tries - 1) < 0:
                    raise ProviderError("sandbox: other programs take every address before a host can")
                begun += _begin([maker.make() for _ in range(min(AT_ONCE, missing))], maker, until)
        except BaseException:
            left = [each for each in registry.entries() if each.id in maker.made]
            end_entries(left, seconds=max(5.0, _left(until)))
            raise
    return sorted([*kept, *begun], key=lambda record: record.number)


class _Maker:
    """Makes the folders of new hosts, each with a number and an address of its own."""

    def __init__(
        self,
        registry: Registry,
        *,
        run: str | None,
        token: str,
        now: float,
        lifetime: float | None,
        server: sandbox_sshd.Server,
        extra: tuple[str, ...],
        entries: list[Entry],
    ) -> None:
        self._registry, self._run, self._token, self._server, self._extra = (
            registry,
            run,
            token,
            server,
            extra,
        )
        self._started, self._expires = now, None if lifetime is None else now + lifetime
        records = [entry.record for entry in entries if entry.record and entry.up]
        self._addresses = {record.address for record in records}
        self._numbers = {
            record.number
            for record in records
            if record.run == run and (run is None or record.token == token)
        }
        self._user = sandbox_sshd.login()
        self._client = sandbox_sshd.client_key(registry.client_key)
        self._vars = sandbox_sshd.python()
        self._controller = pin(os.getpid())
        self.made: dict[str, int] = {}
        if server.sshd:
            sandbox_sshd.ready_for_root()

    def make(self) -> Path:
        """A new host's folder, with all that its keeper needs."""
        id = f"sbx-{secrets.token_hex(8)}"
        folder = self._registry.path / id
        number = next(n for n in itertools.count(1) if n not in self._numbers)
        self._numbers.add(number)
        self.made[id] = number
        folder.mkdir(mode=0o700)
        folder.chmod(0o700)
        spool = folder / "spool"
        spool.mkdir(mode=0o700)
        spool.chmod(0o700)
        host_key = sandbox_sshd.make_key(folder / "host_key")
        private(folder / "authorized_keys", self._client + "\n")
        address, port = free_endpoint(self._addresses)
        record = Record(
            id=id,
            number=number,
            name=f"sandbox{number}" if self._run is None else f"sbx-{self._token[:8]}-{number}",
            address=address,
            port=port,
            user=self._user,
            host_key=host_key,
            identity=str(self._registry.client_key),
            run=self._run,
            token=self._token,
            started=self._started,
            expires=self._expires,
            command=sandbox_sshd.command(self._server, folder),
            # What hostler leaves on a host goes with the host, as it does with any machine that is ended.
            vars=(*self._vars, ("spool", str(spool))),
            controller=self._controller,
        )
        self._configure(folder, record)
        return folder

    def give_back(self, folder: Path) -> None:
        """Let the number of a host that did not come up be used again."""
        self._numbers.discard(self.made[folder.name])

    def _configure(self, folder: Path, record: Record) -> None:
        self._addresses.add(record.address)
        if self._server.sshd:
            text = sandbox_sshd.settings(
                folder,
                id=record.id,
                address=record.address,
                port=record.port,
                user=record.user,
                extra=self._extra,
                sshd=self._server.sshd,
            )
            private(folder / "sshd_config", text)
        write(folder, record)


def _begin(folders: list[Path], maker: _Maker, until: float) -> list[Record]:
    """Start the keepers of these folders and wait for all; those that came up."""
    begun: list[Record] = []
    waiting: dict[int, Path] = {}
    starters: list[subprocess.Popen[bytes]] = []
    try:
        for folder in folders:
            answer, starter = _keeper(folder)
            waiting[answer] = folder
            starters.append(starter)
        with selectors.DefaultSelector() as ready:
            for answer in waiting:
                ready.register(answer, selectors.EVENT_READ)
            while waiting:
                for key, _ in ready.select(_left(until)) or _too_late(len(waiting)):
                    ready.unregister(key.fd)
                    if record := _answered(key.fd, waiting.pop(key.fd), maker):
                        begun.append(record)
        for starter in starters:
            starter.wait(_left(until) + 1.0)  # it has forked away, so that the keeper is nobody's child
    finally:
        for answer in waiting:
            os.close(answer)
    return begun


def _too_late(hosts: int) -> NoReturn:
    raise ProviderError(f"sandbox: {hosts} hosts did not come up in time")


def _answered(answer: int, folder: Path, maker: _Maker) -> Record | None:
    """What a keeper says: its host's record, or None when the address had been taken in the meantime."""
    with open(answer, "rb") as file:
        said = file.readline(65536).decode(errors="replace").strip()
    record = read(folder)
    if said == "ready" and record:
        return record
    if "Cannot bind" in said:
        maker.give_back(folder)
        return None
    raise ProviderError(
        f"sandbox: a host did not come up: {said.removeprefix('failed: ') or 'its keeper died'}"
    )


def _keeper(folder: Path) -> tuple[int, subprocess.Popen[bytes]]:
    """Start a keeper, detached; the end of a pipe on which it will say one line, and the process that forks it."""
    answer, mouth = os.pipe2(os.O_CLOEXEC)
    # Absolute, since the keeper doesn't stand where we stand; little else, since hosts don't share our secrets.
    root = str(Path(hostler.__file__).parent.parent)
    environment = {name: os.environ[name] for name in ("HOME", "TZ", MARK) if name in os.environ}
    environment |= {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": root,
    }
    try:
        starter = subprocess.Popen(
            [sys.executable, "-P", "-m", "hostler.providers.sandbox_keeper", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=mouth,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        os.close(answer)
        raise ProviderError(f"sandbox: {sys.executable}: {error.strerror}") from None
    finally:
        os.close(mouth)
    return answer, starter


def _taken_over(registry: Registry, record: Record) -> Record:
    """The record with this process as the one that answers for the host."""
    mine = dataclasses.replace(record, controller=pin(os.getpid()))
    write(registry.path / record.id, mine)
    return mine


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


def _left(until: float) -> float:
    return max(0.0, until - time.monotonic())
