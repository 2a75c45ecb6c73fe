"""A door before a host: a TCP port that a test opens, leaves silent, freezes, or slams on those who came through.

It stands for the network: what goes wrong in it is neither the host's doing nor the controller's.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import threading
from types import TracebackType

from msgspec.structs import replace

from hostler.model.hosts import Host

LIBC = ctypes.CDLL(None)


class Door:
    """A port of its own that leads to `host`. As a context manager it is closed at the end.

    `passed` is how many bytes came from the controller's side; after `cut_after` of them it is slammed, once.
    """

    def __init__(self, host: Host, *, silent: bool = False, cut_after: int | None = None) -> None:
        self.passed, self._cut_after = 0, cut_after
        self.host, self.silent, self.frozen, self.comers = host, silent, threading.Event(), 0
        self._lines: list[tuple[socket.socket, socket.socket | None]] = []
        self._near: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def sheet(self, name: str = "door") -> str:
        """The host behind this door, as an entry of a YAML inventory."""
        return entry(replace(self.host, address="127.0.0.1", port=self.port), name)

    def slam(self, *, reset: bool = False) -> None:
        """Cut every line that goes through, both ways, as a network does; with `reset` by a RST to both ends."""
        for pair in self._lines:
            for line in filter(None, pair):
                with contextlib.suppress(OSError):
                    if reset:
                        # Connected to nothing: the one way to have a RST sent while a thread still reads.
                        LIBC.connect(line.fileno(), b"\0" * 16, 16)
                    else:
                        line.shutdown(socket.SHUT_RDWR)
        self._lines.clear()

    def shut(self) -> None:
        """Let nobody in and cut what is there, until `reopen`."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.slam()

    def reopen(self) -> None:
        """Let people in again, at the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        listener = self._listener
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            self.comers += 1
            if self.silent:
                self._lines.append((near, None))
                continue
            try:
                far = socket.create_connection((self.host.address, self.host.port or 22))
            except OSError:
                near.close()
                continue
            self._lines.append((near, far))
            self._near.add(near)
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                if self.frozen.is_set():
                    continue  # dropped packets: nobody hears of them
                if one in self._near:
                    self.passed += len(data)
                    if self._cut_after is not None and self.passed >= self._cut_after:
                        other.sendall(data[: len(data) - (self.passed - self._cut_after)])
                        self._cut_after = None
                        break
                other.sendall(data)
        for line in (one, other):
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let nobody in any more, and cut what is there."""
        self.shut()

    def __enter__(self) -> Door:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def entry(host: Host, name: str) -> str:
    """A host as an entry of a YAML inventory."""
    return (
        f"  {name}: {{address: {host.address}, port: {host.port}, user: {host.user}, identity: {host.identity}, "
        f"host_key: '{host.host_key}'}}\n"
    )


def inventory(*doors: Door) -> str:
    """A YAML inventory of the hosts behind doors: door1, door2 …"""
    return "hosts:\n" + "".join(door.sheet(f"door{number}") for number, door in enumerate(doors, 1))
