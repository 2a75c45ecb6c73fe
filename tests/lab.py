"""Throw-away SSH hosts for tests, and how to look at what runs on them.

    from tests.lab import Lab, lab          # `lab` is a fixture, one for the whole session

    def test_it(lab): [one, two] = lab.hosts(2)

Everything begun through a host ends with it, and every host ends with its Lab; if the test process itself is
killed, they end by their fuse, or when somebody removes their folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from hostler.model.hosts import Host
from hostler.providers.sandbox_end import end
from hostler.providers.sandbox_files import MARK, Registry
from hostler.providers.sandbox_make import Launch
from hostler.providers.sandbox_procs import look
from hostler.providers.sandbox_procs import marked as marked
from hostler.providers.sandbox_sshd import choose, home
from hostler.providers.sandbox_start import start

FUSE = 3600.0


class Lab:
    """Sandbox hosts in a folder of their own. `server` is "sshd" or "asyncssh", None for what the machine has."""

    def __init__(self, *, server: str | None = None, path: Path | None = None) -> None:
        self.path = path or Path(tempfile.mkdtemp(prefix="hostler-lab-"))
        self.path.mkdir(mode=0o700, exist_ok=True)
        self.registry = Registry(self.path)
        self.server = server
        self._shared: list[Host] = []
        self._launches = 0

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def home(self) -> Path:
        """HOME on these hosts: the dot files of whoever runs the tests are nothing to build on."""
        home = self.path / "home"
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return home

    @property
    def env(self) -> dict[str, str]:
        """What a process needs in its environment to see these hosts as its own, and to begin such hosts."""
        chosen = {"HOSTLER_SANDBOX_SERVER": self.server} if self.server else {}
        return {"HOSTLER_SANDBOX_DIR": str(self.path), "HOSTLER_SANDBOX_HOME": str(self.home), **chosen}

    def hosts(self, count: int = 1, *, sshd_lines: Sequence[str] = ()) -> list[Host]:
        """New hosts, up and answering; `sshd_lines` go before ours in their sshd_config ("MaxSessions 2")."""
        self._launches += 1
        launch = Launch(
            run=None,
            token=f"lab{self._launches}",
            now=time.time(),
            lifetime=FUSE,
            server=choose({**os.environ, **self.env}),
            environment=home(self.env),
            sshd_lines=tuple(sshd_lines),
        )
        records = start(self.registry, count, launch=launch, seconds=60.0)
        return [record.host for record in records]

    def shared(self, count: int = 1) -> list[Host]:
        """Hosts that are there for any test that does no harm to them: the same ones again at each call."""
        if len(self._shared) < count:
            self._shared += self.hosts(count - len(self._shared))
        return self._shared[:count]

    def end(self, *hosts: Host) -> None:
        """End hosts, with all that was begun through them."""
        names = {host.name for host in hosts}
        end(self.registry, lambda entry: entry.name in names, seconds=30.0)

    def id(self, host: Host) -> str:
        """The host's id: every process begun through it carries HOSTLER_SANDBOX=id, unless it cleaned itself."""
        return next(entry.id for entry in self.registry.entries() if entry.name == host.name)

    def mark(self, host: Host) -> str:
        """What `marked` finds this host's processes by."""
        return f"{MARK}={self.id(host)}"

    def ssh(self, host: Host, *options: str) -> list[str]:
        """The ssh program's argv up to the command, strict about the host key, reading nobody's settings."""
        known = self.path / "known_hosts"
        with contextlib.suppress(FileExistsError):
            known.touch(exist_ok=False)
        line = (
            f"[{host.address}]:{host.port} {host.host_key}\n"
            if host.port != 22
            else f"{host.address} {host.host_key}\n"
        )
        if line not in known.read_text():
            with open(known, "a") as file:
                file.write(line)
        words = [
            "ssh",
            "-F",
            "none",
            "-T",
            "-p",
            str(host.port),
            "-o",
            f'IdentityFile="{_literal(host.identity)}"',
        ]
        words += ["-o", f'UserKnownHostsFile="{_literal(known)}"', "-o", "GlobalKnownHostsFile=none"]
        for setting in ("BatchMode=yes", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "LogLevel=ERROR"):
            words += ["-o", setting]
        # The usual key exchange costs the client 75 ms of CPU, this one 12.
        words += ["-o", "KexAlgorithms=curve25519-sha256"]
        return [*words, *options, f"{host.user}@{host.address}"]

    def run(self, host: Host, command: str, *, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a command on a host with the ssh program."""
        return subprocess.run(
            [*self.ssh(host), command], input=stdin, capture_output=True, timeout=60, check=False
        )

    def close(self) -> None:
        """End all hosts and remove the folder."""
        try:
            end(self.registry, lambda entry: True, seconds=60.0)
        finally:
            shutil.rmtree(self.path, ignore_errors=True)


def _literal(path: object) -> str:
    """A path as ssh takes it for itself."""
    return str(path).replace("%", "%%")


def count_marked(mark: str) -> int:
    """How many living processes began with `mark` ("NAME=value") in their environment."""
    found = (look(pid) for pid in marked(mark))
    return sum(process is not None and not process.zombie for process in found)


def wait_until(true: Callable[[], object], *, seconds: float = 30.0, what: str = "") -> None:
    """Look again and again until it is so; fail after `seconds`."""
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            pytest.fail(f"not within {seconds:.0f} s: {what or true}")
        time.sleep(0.02)


def lab_environment(lab: Lab, **more: str) -> dict[str, str]:
    """Our environment, with `lab` as the place of sandbox hosts and `more` over it."""
    return {**os.environ, **lab.env, **more}


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """One Lab for all tests of the session."""
    with Lab() as made:
        yield made


@pytest.fixture
def fresh_lab() -> Iterator[Lab]:
    """A Lab for this test alone."""
    with Lab() as made:
        yield made
