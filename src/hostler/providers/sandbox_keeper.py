"""The process that is a sandbox host's whole life: it begins the SSH server and ends all that was begun through it.

Started as `python -m hostler.providers.sandbox_keeper FOLDER`, it leaves its starter's session, answers "ready" on
its stdout once the server's banner has been seen, and stays. It is the reaper of all its descendants, so that
nothing begun through the host can hide from it by forking away. It ends them on TERM, when the fuse has burnt down,
when the server dies, and when the folder with its record is taken away. The fuse of a run's host burns while the
run's controller is dead or stopped, that of any other from the beginning.

It must never outlive its record, and never import what it doesn't need: there is one keeper for each host. The
clocks are read directly: this is a program of its own, with nobody to hand it one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

from msgspec.structs import replace

from hostler.providers.sandbox_files import MARK, Record, read, remove, write
from hostler.providers.sandbox_procs import Process, below, children, end_all, living, marked, pin

READY_WITHIN = 15.0
LOOK_EVERY = 2.0
KILL_WITHIN = 10.0
PEEL_FOR = 0.05
PR_SET_CHILD_SUBREAPER = 36
_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Keeper:
    """One sandbox host, from its server's start to its last process's end."""

    def __init__(self, folder: Path, record: Record) -> None:
        self._folder = folder
        self._record = record
        self._server = 0
        self._stop = ""
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        left = None if record.expires is None else record.expires - time.time()
        self._fuse = None if left is None else _now() + left
        self._read = 0
        self._attended = _now()

    def begin(self) -> str:
        """Start the server and wait for its banner; "" when it is there, else why it is not."""
        _become_reaper()
        # Handlers and not SIG_IGN: what is ignored would stay ignored in everything begun through the host.
        for number in _HANDLED:
            signal.signal(number, self._noted)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self._record = replace(self._record, keeper=pin(os.getpid()))
        write(self._folder, self._record)
        environment = {
            name: os.environ[name] for name in ("PATH", "HOME", "TZ", "PYTHONPATH") if name in os.environ
        }
        self._server = os.posix_spawn(
            self._record.command[0],
            self._record.command,
            environment | {MARK: self._record.id},
            setsigmask=(),
            setsigdef=(*_HANDLED, signal.SIGPIPE, signal.SIGXFSZ),
        )
        until = time.monotonic() + READY_WITHIN
        while not self._stop and time.monotonic() < until:
            if (self._folder / "server.pid").exists() and _banner(self._record.address, self._record.port):
                self._record = replace(self._record, server=pin(self._server))
                write(self._folder, self._record)
                return ""
            self._wait(0.01)
        return self._stop or f"no SSH banner from {self._record.host.endpoint} within {READY_WITHIN:.0f} s"

    def stay(self) -> str:
        """Wait until there is a reason to end, and answer it."""
        while not self._stop:
            left = LOOK_EVERY
            if self._fuse is not None:
                left = min(left, self._fuse - _now())
            if left <= 0:
                return "its fuse has burnt down"
            self._wait(left)
            if not self._there():
                return "its record is gone"
            if self._deserted():
                return f"its run has had no controller for {self._record.fuse:.0f} s"
        return self._stop

    def _there(self) -> bool:
        """Whether the record is there; read again when others have changed it, as who takes a run up does."""
        try:
            changed = os.stat(self._folder / "record.json").st_mtime_ns
        except FileNotFoundError:
            return False
        if changed != self._read:
            self._read, self._record = changed, read(self._folder) or self._record
        return True

    def _deserted(self) -> bool:
        """Whether nobody has answered for a run's host for as long as its fuse burns. Who is stopped doesn't."""
        fuse, controller = self._record.fuse, living(self._record.controller)
        if fuse is None or self._record.run is None or (controller and not controller.stopped):
            self._attended = _now()
            return False
        return _now() - self._attended > fuse

    def end(self, why: str) -> tuple[int, ...]:
        """Kill all that was begun through the host; the pids that survive."""
        print(f"keeper: ending, {why}", file=sys.stderr, flush=True)
        until = time.monotonic() + KILL_WITHIN
        self._peel()
        left = end_all(self._find, seconds=KILL_WITHIN, collect=self._peel, looks=1)
        # A list of processes can be outrun by forking; to have no child is proof, since orphans become ours.
        while not self._peel() and time.monotonic() < until:
            left = end_all(self._find, seconds=until - time.monotonic(), collect=self._peel, looks=1)
        if left:
            print(f"keeper: can't end {left}", file=sys.stderr, flush=True)
        else:
            remove(self._folder)
        return left

    def _find(self, processes: dict[int, Process]) -> set[int]:
        return (below({os.getpid()}, processes) | marked(f"{MARK}={self._record.id}")) - {os.getpid()}

    def _noted(self, number: int, _frame: object) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop = self._stop or f"told to by {signal.Signals(number).name}"

    def _wait(self, seconds: float) -> None:
        if select.select([self._wake], [], [], seconds)[0]:
            os.read(self._wake, 4096)
        self._collect()

    def _peel(self) -> bool:
        """Kill our own children, and those that become ours by it, as fast as we can; True when there are none.

        Their pids can't be another's as long as we don't collect them.
        """
        until = time.monotonic() + PEEL_FOR
        while time.monotonic() < until:
            for pid in children():
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            if not self._collect():
                return True
        return False

    def _collect(self) -> bool:
        """Reap; whether any child is left."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return True
                if pid == self._server:
                    self._stop = self._stop or f"its server ended ({os.waitstatus_to_exitcode(status)})"
        return False


def _now() -> float:
    """Seconds by a clock that goes on in suspend and that nobody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _become_reaper() -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl: can't become the reaper of what is begun here")


def _banner(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=2.0) as line:
            return line.recv(8).startswith(b"SSH-2.0-")
    except OSError:
        return False


def _say(answer: int, words: str) -> bool:
    """Tell the starter; False when nobody listens any more."""
    try:
        os.write(answer, f"{words}\n".encode())
    except OSError:
        return False
    finally:
        os.close(answer)
    return True


def _last_lines(log: Path) -> str:
    with contextlib.suppress(OSError):
        lines = log.read_text(errors="replace")[-4096:].strip().splitlines()
        return "; ".join(line.strip() for line in lines[-2:])
    return ""


def main(folder: Path) -> int:
    """Be the keeper of the host in `folder`; 0 when all that was begun through it has ended."""
    if os.fork():
        os._exit(0)
    os.umask(0o022)
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(log, 2)
    answer = os.dup(1)
    os.dup2(log, 1)
    record = read(folder)
    if record is None:
        return 1
    keeper = Keeper(folder, record)
    try:
        why = keeper.begin()
    except OSError as error:
        why = str(error)
    if why:
        said = _last_lines(folder / "log")
        left = keeper.end(why)
        _say(answer, f"failed: {why}; {said}" if said else f"failed: {why}")
    else:
        # A starter that has gone knows nothing of this host: then there must be none.
        why = keeper.stay() if _say(answer, "ready") else "its starter has gone"
        left = keeper.end(why)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
