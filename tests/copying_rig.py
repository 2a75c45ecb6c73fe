"""Copying to and from a real sshd, as a library: one host, either transport, and trees that can be compared."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from hostler.clock import SystemClock
from hostler.engine.copyplan import Rules
from hostler.model.hosts import Host
from hostler.model.trees import Copied
from hostler.ports import Transport
from hostler.transports.asyncssh import AsyncsshTransport
from hostler.transports.openssh import OpensshTransport
from hostler.work.copying.copies import SAFE_RIGHTS, Getting, Planned, Putting, Wish
from hostler.work.copying.running import Progress, each_host
from tests.contract.own_sshd import OwnSshd

KINDS: dict[str, type[AsyncsshTransport] | type[OpensshTransport]] = {
    "asyncssh": AsyncsshTransport,
    "openssh": OpensshTransport,
}


class Copier:
    """Copies to and from `server`. `python` is what the inventory says of the host's."""

    def __init__(self, server: OwnSshd, kind: str, state: Path, *, python: str | None = None) -> None:
        self.server = server
        self.transport: Transport = KINDS[kind](
            state=state, strict=None, ssh_config=[], say=lambda line: None
        )
        self.host: Host = replace(server.host, vars=(("python", python),) if python else ())
        self.planned: list[Planned] = []
        self.progress = Progress([self.host])

    async def put(self, source: Path, there: str | Path, *, equal: bool = False, **more: object) -> Copied:
        """Put, or with `equal` sync."""
        wish = self._wish(equal=equal, **more)
        root = os.fsencode(source)

        async def one(host: Host, going: object) -> None:
            make = Putting(
                root, os.fsencode(there), transport=self.transport, wish=wish, show=self.planned.append
            )
            await make.to(host, going)  # type: ignore[arg-type]

        return await self._done(one)

    async def sync(self, source: Path, there: str | Path, **more: object) -> Copied:
        """Sync."""
        return await self.put(source, there, equal=True, **more)

    async def get(self, source: str | Path, folder: Path, **more: object) -> Copied:
        """Get into folder/box/."""
        wish = self._wish(rights=SAFE_RIGHTS, **more)
        make = Getting(
            os.fsencode(source), os.fsencode(folder), lambda host, name: host.encode() + b"/" + name,
            transport=self.transport, wish=wish, show=self.planned.append,
        )  # fmt: skip
        return await self._done(make.of)

    async def _done(self, one: Callable) -> Copied:
        self.progress = Progress([self.host])
        [result] = await each_host([self.host], one, progress=self.progress, clock=SystemClock(), forks=1)
        return result

    @staticmethod
    def _wish(**more: object) -> Wish:
        rules = {name: more.pop(name) for name in ("content", "delete", "equal", "rights") if name in more}
        within = not rules.get("equal", False)
        return Wish(rules=Rules(**rules), within=within, **more)  # type: ignore[arg-type]


Fact = tuple[str, int, bytes, int]


def facts(root: Path | bytes, *, times: bool = True) -> dict[bytes, Fact]:
    """All that counts of a tree: kind, rights, content or target, time."""
    found: dict[bytes, Fact] = {}
    top = os.fsencode(root)

    def look(path: bytes, name: bytes) -> None:
        seen = os.lstat(path)
        mode, time = stat.S_IMODE(seen.st_mode), seen.st_mtime_ns if times else 0
        if stat.S_ISLNK(seen.st_mode):
            found[name] = ("link", 0, os.readlink(path), 0)
        elif stat.S_ISDIR(seen.st_mode):
            found[name] = ("folder", mode, b"", time)
            for each in os.listdir(path):
                look(os.path.join(path, each), os.path.join(name, each))
        elif stat.S_ISREG(seen.st_mode):
            with open(path, "rb") as file:
                found[name] = ("file", mode, file.read(), time)
        else:
            found[name] = ("other", mode, b"", 0)

    look(top, b"")
    return found


def parts(root: Path) -> list[Path]:
    """What is left of files that never became whole."""
    return sorted(root.rglob(".hostler-*"))
