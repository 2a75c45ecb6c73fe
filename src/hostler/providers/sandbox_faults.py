"""Faults that a sandbox host can be given, to see what becomes of what runs there: which there are, given and cleared.

A host has one fault at a time. What stays until it is cleared is held by a process of its own, the attendant, which
also clears it when its time is over and which ends with the host. It must never touch anything but that one host.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct, to_builtins

from hostler.errors import ProviderError, UsageError
from hostler.providers.sandbox_files import MARK, Entry, Record, import_path, private
from hostler.providers.sandbox_injure import (
    WRAPPERS,
    cut,
    end_everything,
    freeze,
    hush,
    mend,
    moved,
    signal_runners,
    wipe,
    wrapped,
)
from hostler.providers.sandbox_procs import Pin, living, send

FILE = "fault.json"
CLEAR = "clear"
#: Faults for which the server listens elsewhere, so that its own port is free for something worse.
MOVES = ("refuse", "silent", "reset", "slow", "reboot", "wipe")


class Fault(Struct, frozen=True, kw_only=True):
    """One way for a host to go wrong.

    One that `stays` does so until it is cleared, or for `seconds` where those are given and nobody says otherwise; the
    others happen once. Where it is `sshd_s`, the host's server must be OpenSSH's.
    """

    name: str
    about: str
    stays: bool = True
    sshd_s: bool = True
    seconds: float | None = None


class Standing(Struct, frozen=True, kw_only=True):
    """The fault that a host has now: since and until when, in seconds since the epoch, and who holds it.

    `port` is where its sshd listens meanwhile.
    """

    name: str
    since: float
    until: float | None
    port: int
    attendant: Pin | None = None


FAULTS = (
    Fault(name="refuse", about="nobody listens: open lines break, new ones are refused"),
    Fault(name="silent", about="packets vanish: open lines say nothing more, new ones hang, none is closed"),
    Fault(name="reset", about="open lines break, new ones are reset as soon as they are there"),
    Fault(name="slow", about="open lines break; on new ones every byte comes 250 ms late, each way"),
    Fault(name="cut", about="open lines break, new ones are let in", stays=False),
    Fault(name="freeze", about="the machine stands still: server, runner and jobs", sshd_s=False),
    Fault(name="freeze-runner", about="the runner stands still; its jobs and the server go on", sshd_s=False),
    Fault(name="kill-runner", about="the runner is killed; its jobs go on", stays=False, sshd_s=False),
    Fault(name="reboot", about="every process dies, and nobody listens for 5 s (or --for)", seconds=5.0),
    Fault(name="wipe", about="the same, and what hostler had on its disk is gone", seconds=5.0),
    Fault(name="chatty", about="open lines break; new logins print words and bytes of every kind"),
    Fault(name="no-python", about="open lines break; new logins find no Python"),
)


def fault(name: str) -> Fault:
    """The fault of that name. Raises UsageError.

    >>> fault("cut").stays
    False
    """
    for each in FAULTS:
        if each.name == name:
            return each
    names = ", ".join(each.name for each in FAULTS)
    raise UsageError(f"{name}: no such fault; there are {names}, and {CLEAR}")


def standing(folder: Path) -> Standing | None:
    """The fault that the host in `folder` has, None when it is sound."""
    try:
        fields = json.loads((folder / FILE).read_bytes())
        fields["attendant"] = fields["attendant"] and Pin(**fields["attendant"])
        return Standing(**fields)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write(folder: Path, state: Standing) -> None:
    """Write a host's fault down: the old state or the new one is there, never a part."""
    draft = folder / f".fault-{os.getpid()}"
    private(draft, json.dumps(to_builtins(state)))
    os.rename(draft, folder / FILE)


def give(entry: Entry, wanted: Fault, *, now: float, lasting: float | None, seconds: float) -> None:
    """Give a host a fault in place of the one that it has.

    `now` is seconds since the epoch, `lasting` its length. Blocks for up to `seconds`. Raises UsageError where this
    host can't have it, ProviderError when it could not be done: then the host is sound again, as far as it can be.
    """
    record = _up(entry)
    if wanted.sshd_s and os.path.basename(record.command[0]) != "sshd":
        raise UsageError(f"{entry.name}: has an AsyncSSH server, and {wanted.name} needs OpenSSH's sshd")
    with held(entry.folder, seconds=seconds):
        _cleared(entry.folder, record, seconds=seconds)
        if not wanted.stays:
            _injure(entry.folder, record, wanted, seconds=seconds)
            return
        lasting = wanted.seconds if lasting is None else lasting
        until = None if lasting is None else now + lasting
        port = _free_port(record.address) if wanted.name in MOVES else record.port
        write(entry.folder, Standing(name=wanted.name, since=now, until=until, port=port))
        try:
            _prepare(entry.folder, record, wanted, port=port, seconds=seconds)
            _attended(entry.folder, record, seconds=seconds)
            _injure(entry.folder, record, wanted, seconds=seconds)
        except BaseException:
            _cleared(entry.folder, record, seconds=seconds)
            raise


def clear(entry: Entry, *, seconds: float) -> Standing | None:
    """Take a host's fault back; which it was, None when it had none. Raises ProviderError after `seconds`."""
    record = _up(entry)
    with held(entry.folder, seconds=seconds):
        return _cleared(entry.folder, record, seconds=seconds)


@contextlib.contextmanager
def held(folder: Path, *, seconds: float) -> Iterator[None]:
    """Hold the lock under which a host's fault changes. Raises ProviderError after `seconds`."""
    until = time.monotonic() + seconds
    handle = os.open(folder / "fault.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise ProviderError("sandbox: another hostler is changing this host's fault") from None
                time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def _prepare(folder: Path, record: Record, wanted: Fault, *, port: int, seconds: float) -> None:
    """What new lines are to find, before the open ones are told of anything."""
    if wanted.name in MOVES:
        moved(folder, record, port=port, seconds=seconds)
    elif wanted.name in WRAPPERS:
        wrapped(folder, record, wanted.name, seconds=seconds)


def _injure(folder: Path, record: Record, wanted: Fault, *, seconds: float) -> None:
    """What befalls those who are there: open lines, the runner, jobs. Raises UsageError when there is nobody."""
    state = standing(folder)
    spared = {state.attendant.pid} if state and state.attendant else set()
    match wanted.name:
        case "silent":
            hush(record)
        case "freeze":
            freeze(record, spared=spared)
        case "freeze-runner" | "kill-runner" as name:
            number = signal.SIGKILL if name == "kill-runner" else signal.SIGSTOP
            if not signal_runners(record, number):
                raise UsageError(f"{record.name}: no runner is there; {name} needs a batch at work")
        case "reboot" | "wipe" as name:
            end_everything(record, spared=spared, seconds=seconds)
            if name == "wipe":
                wipe(folder)
        case _:
            cut(record)


def _cleared(folder: Path, record: Record, *, seconds: float) -> Standing | None:
    state = standing(folder)
    if state is None:
        return None
    attendant = living(state.attendant)
    if attendant and attendant.pid != os.getpid():
        send(attendant, signal.SIGKILL)
        until = time.monotonic() + seconds
        while living(state.attendant) and time.monotonic() < until:
            time.sleep(0.005)
    mend(folder, record, seconds=seconds)
    (folder / FILE).unlink(missing_ok=True)
    return state


def _attended(folder: Path, record: Record, *, seconds: float) -> None:
    """Start the process that holds the fault, detached, and wait until it does. Raises ProviderError."""
    environment = {name: os.environ[name] for name in ("HOME", "TZ") if name in os.environ}
    environment |= {"PYTHONPATH": import_path(), MARK: record.id}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-S", "-m", "hostler.providers.sandbox_attendant", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=environment,
            start_new_session=True,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProviderError(f"sandbox: {record.name}: nobody holds the fault: {error}") from None
    said = done.stdout.decode(errors="replace").strip()
    if said != "ready":
        raise ProviderError(f"sandbox: {record.name}: nobody holds the fault: {said or 'its process died'}")


def _up(entry: Entry) -> Record:
    if entry.record is None or not entry.up:
        raise UsageError(f"{entry.name}: this sandbox host is not up (see: hostler sandbox list)")
    return entry.record


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
