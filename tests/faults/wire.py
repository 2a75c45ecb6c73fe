"""A network of our own: a controller and a host in a network namespace each, and one wire between them.

What is dropped on it is dropped by the kernel without a word to either end, as by a firewall or a machine that has
gone. Nothing of the machine's own network is touched.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from tests.command import Hostler
from tests.contract.own_sshd import OwnSshd, public
from tests.door import entry
from tests.faults.frame import CannotTry
from tests.lab import Lab

#: Addresses that are nobody's (RFC 5737).
HERE, THERE = "192.0.2.1", "192.0.2.2"
PORT = 2222


class Wire:
    """Two network namespaces, `here` and `there`, with a cable between them; `within` and `beyond` run words there."""

    def __init__(self) -> None:
        token = secrets.token_hex(3)
        self.here, self.there = f"hstl{token}a", f"hstl{token}b"
        self.within = ("nsenter", f"--net=/run/netns/{self.here}")
        self.beyond = ("nsenter", f"--net=/run/netns/{self.there}")

    def lay(self) -> None:
        """Make both namespaces and the cable. Raises CannotTry."""
        if os.geteuid() != 0:
            raise CannotTry("network namespaces are root's to make: run it as root")
        for program, package in (("ip", "iproute2"), ("nsenter", "util-linux")):
            if not shutil.which(program):
                raise CannotTry(f"{program} is not installed: apt install {package}")
        for name in (self.here, self.there):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip(
            "link",
            "add",
            "cable",
            "netns",
            self.here,
            "type",
            "veth",
            "peer",
            "name",
            "cable",
            "netns",
            self.there,
        )
        for name, address in ((self.here, HERE), (self.there, THERE)):
            _ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            _ip("-n", name, "link", "set", "cable", "up")

    def drop(self) -> None:
        """Have every packet vanish that arrives at either end."""
        for name in (self.here, self.there):
            _ip("-n", name, "rule", "add", "priority", "0", "iif", "cable", "blackhole")
            _ip("-n", name, "rule", "add", "priority", "1", "lookup", "local")
            _ip("-n", name, "rule", "del", "priority", "0", "lookup", "local")

    def heal(self) -> None:
        """Let packets pass again."""
        for name in (self.here, self.there):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("-n", name, "rule", "add", "priority", "0", "lookup", "local")
                _ip("-n", name, "rule", "del", "priority", "0", "iif", "cable", "blackhole")
                _ip("-n", name, "rule", "del", "priority", "1", "lookup", "local")

    def unplug(self) -> None:
        """Pull the cable at the host's end: who sends is told in time that nobody is there."""
        _ip("-n", self.there, "link", "set", "cable", "down")

    def plug(self) -> None:
        """Put it in again."""
        _ip("-n", self.there, "link", "set", "cable", "up")

    def remove(self) -> None:
        """Remove both namespaces; the cable goes with them."""
        for name in (self.here, self.there):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", name)


class Beyond(OwnSshd):
    """An sshd at the other end of a wire."""

    def __init__(self, folder: Path, wire: Wire) -> None:
        self.within = wire.beyond
        super().__init__(folder, address=THERE, port=PORT)

    def answers(self) -> bool:
        """Whether it listens; nobody here can ask it."""
        return b"Server listening" in (self.folder / "log").read_bytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Far:
    """A command at one end of a wire, and a host at the other, which `-i far.yaml` names."""

    wire: Wire
    hostler: Hostler
    host: Beyond


@contextmanager
def far(folder: Path) -> Iterator[Far]:
    """Lay a wire, as long as the block lasts. Raises CannotTry."""
    with ExitStack() as stack:
        wire = Wire()
        stack.callback(wire.remove)
        wire.lay()
        host = Beyond(folder / "host", wire)
        stack.callback(host.stop)
        hostler = Hostler(folder / "controller", stack.enter_context(Lab(path=folder / "lab")))
        hostler.within = wire.within
        stack.callback(hostler.close)
        known = replace(host.host, host_key=public(host.host_keys[0]))
        (hostler.folder / "far.yaml").write_text("hosts:\n" + entry(known, "far"))
        yield Far(wire=wire, hostler=hostler, host=host)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)
