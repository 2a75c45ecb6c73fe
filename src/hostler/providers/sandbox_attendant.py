"""The process that holds one fault of a sandbox host: what listens in its server's place, and when it is over.

Started as `python -m hostler.providers.sandbox_attendant FOLDER`, it says "ready" once the fault holds, and stays until
it is killed or the fault's time is over; then it mends the host. It carries the host's mark, and so ends with it.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
import time
from collections import deque
from pathlib import Path

from msgspec.structs import replace

from hostler.errors import HostlerError
from hostler.providers.sandbox_faults import FILE, Standing, held, standing, write
from hostler.providers.sandbox_files import Record, read
from hostler.providers.sandbox_injure import mend
from hostler.providers.sandbox_procs import pin

PATIENCE = 20.0
LOOK_EVERY = 1.0
DELAY = 0.25
CHUNK = 65536
#: What a slow line holds of bytes that are under way, each way.
UNDER_WAY = 64
#: Closing with this says so by a reset.
AT_ONCE = struct.pack("ii", 1, 0)


def listening(record: Record, *, backlog: int) -> socket.socket:
    """Listen where the host's server did; the port is given up a moment after it moved. Raises OSError."""
    until = time.monotonic() + PATIENCE
    while True:
        door = socket.socket()
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((record.address, record.port))
            door.listen(backlog)
        except OSError:
            door.close()
            if time.monotonic() >= until:
                raise
            time.sleep(0.01)
        else:
            return door


def fill(door: socket.socket) -> list[socket.socket]:
    """Fill the queue before a door whose backlog is 0: the kernel drops what comes then, as a firewall would."""
    comers = []
    for _ in range(16):
        comer = socket.socket()
        comer.settimeout(0.3)
        comers.append(comer)
        try:
            comer.connect(door.getsockname())
        except TimeoutError:
            break
    return comers


def reset(door: socket.socket) -> None:
    """Reset everyone who comes."""
    while True:
        line, _ = door.accept()
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        line.close()


def delayed(door: socket.socket, address: str, port: int) -> None:
    """Carry everyone who comes to the server, each way late."""
    while True:
        near, _ = door.accept()
        try:
            far = socket.create_connection((address, port), timeout=PATIENCE)
        except OSError:
            near.close()
            continue
        far.settimeout(None)
        for one, other in ((near, far), (far, near)):
            line = Late(one, other)
            for part in (line.take, line.give):
                threading.Thread(target=part, daemon=True).start()


class Late:
    """One direction of a slow line: every piece goes on DELAY seconds after it came."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self._source, self._sink = source, sink
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._room = threading.Semaphore(UNDER_WAY)
        self._there = threading.Semaphore(0)

    def take(self) -> None:
        """Read pieces to the end of the stream."""
        data = b"-"
        while data:
            self._room.acquire()
            try:
                data = self._source.recv(CHUNK)
            except OSError:
                data = b""
            self._pieces.append((time.monotonic() + DELAY, data))
            self._there.release()

    def give(self) -> None:
        """Write pieces when their time has come; the last one closes."""
        while True:
            self._there.acquire()
            due, data = self._pieces.popleft()
            time.sleep(max(0.0, due - time.monotonic()))
            self._room.release()
            try:
                if data:
                    self._sink.sendall(data)
                else:
                    self._sink.shutdown(socket.SHUT_WR)
            except OSError:
                data = b""
            if not data:
                return


def hold(record: Record, state: Standing) -> list[socket.socket]:
    """Do what the fault wants in the server's place; what must stay open for it. Raises OSError."""
    if state.name not in ("silent", "reset", "slow"):
        return []
    door = listening(record, backlog=0 if state.name == "silent" else 128)
    if state.name == "silent":
        return [door, *fill(door)]
    work = (
        threading.Thread(target=reset, args=(door,), daemon=True)
        if state.name == "reset"
        else threading.Thread(target=delayed, args=(door, record.address, state.port), daemon=True)
    )
    work.start()
    return [door]


def main(folder: Path) -> int:
    """Hold the fault of the host in `folder`; 0 when it is over and the host is sound."""
    if os.fork():
        os._exit(0)
    record, state = read(folder), standing(folder)
    if record is None or state is None:
        return 1
    state = replace(state, attendant=pin(os.getpid()))
    left = None if state.until is None else state.until - time.time()
    over = None if left is None else time.clock_gettime(time.CLOCK_BOOTTIME) + left
    try:
        write(folder, state)
        doors = hold(record, state)
    except OSError as error:
        os.write(1, f"{error}\n".encode())
        return 1
    os.write(1, b"ready\n")
    for number in (0, 1):
        os.dup2(2, number)  # /dev/null
    while over is None or (left := over - time.clock_gettime(time.CLOCK_BOOTTIME)) > 0:
        time.sleep(LOOK_EVERY if over is None or left is None else min(LOOK_EVERY, left))
        if standing(folder) != state:
            return 1  # the host has gone, or somebody else has its fault in hand
    for door in doors:
        door.close()
    try:
        with held(folder, seconds=PATIENCE):
            if standing(folder) == state:
                mend(folder, record, seconds=PATIENCE)
                (folder / FILE).unlink(missing_ok=True)
    except (OSError, HostlerError) as error:
        with open(folder / "log", "a", encoding="utf-8") as log:
            log.write(f"attendant: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
