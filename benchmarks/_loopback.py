"""Many SSH servers of a benchmark's own, on loopback addresses: cheaper than a sandbox host each, and ended with it.

It must never listen on anything but loopback, nor read the machine's own SSH settings.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from _ground import Ground

#: sshd's own limit of addresses.
LISTENS = 16


@contextmanager
def servers(place: Ground, sshd: str, count: int) -> Iterator[None]:
    """Servers on `count` loopback addresses, and an inventory of them as h1, h2 …, for as long as the block lasts."""
    for name in ("host", "client"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(place.path / name)],
            check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=30,
        )  # fmt: skip
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    net, port = f"127.{random.randint(64, 250)}", free_port()
    addresses = [f"{net}.{n // 250}.{n % 250 + 1}" for n in range(count)]
    started = []
    try:
        for first in range(0, count, LISTENS):
            started.append(server(place, sshd, addresses[first : first + LISTENS], port))
        key = " ".join((place.path / "host.pub").read_text().split()[:2])
        shared = f"defaults: {{port: {port}, identity: {place.path}/client}}\nhosts:\n"
        lines = [
            f"  h{n}: {{address: {address}, host_key: {key}}}\n" for n, address in enumerate(addresses, 1)
        ]
        (place.path / "many.yaml").write_text(shared + "".join(lines))
        for address in addresses[::LISTENS]:
            answers(address, port)
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(timeout=20)


def server(place: Ground, sshd: str, addresses: list[str], port: int) -> subprocess.Popen[bytes]:
    """One sshd."""
    lines = [
        f"Port {port}",
        *(f"ListenAddress {address}" for address in addresses),
        f"HostKey {place.path}/host",
        f"AuthorizedKeysFile {place.path}/client.pub",
        "PidFile none",
        "UsePAM no",
        "UseDNS no",
        "StrictModes no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin prohibit-password",
        "MaxStartups 1000",
        "MaxSessions 100",
        "PrintMotd no",
        "PrintLastLog no",
        f'SetEnv "HOME={place.home}"',
    ]
    config = place.path / f"sshd.{addresses[0]}"
    config.write_text("\n".join(lines) + "\n")
    with open(place.path / "sshd.log", "ab") as log:
        return subprocess.Popen(
            [sshd, "-D", "-e", "-f", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={"PATH": place.env["PATH"]}, start_new_session=True,
        )  # fmt: skip


def answers(address: str, port: int) -> None:
    """Wait until a server is there. Ends the benchmark when it doesn't come."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection((address, port), timeout=5) as line:
            if line.recv(4) == b"SSH-":
                return
        time.sleep(0.05)
    raise SystemExit(f"no sshd answers on {address} port {port}")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
