"""How sandbox hosts begin: their keepers are started and waited for, all under the registry's lock.

It must never leave a host behind that nobody knows of: what was begun in a call that fails is ended in it.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

from msgspec.structs import replace

from hostler.errors import ProviderError, UsageError
from hostler.providers.sandbox_end import end_entries
from hostler.providers.sandbox_files import MARK, Record, Registry, import_path, read, write
from hostler.providers.sandbox_make import Launch, Maker
from hostler.providers.sandbox_procs import pin

MOST = 500
SPARE_TRIES = 5
AT_ONCE = 16


def start(registry: Registry, count: int, *, launch: Launch, seconds: float) -> list[Record]:
    """Begin hosts and return once each answers with an SSH banner; blocks for up to `seconds`.

    Living hosts of the same token are given again and counted. By hand they are sandbox1, sandbox2 …, the lowest
    numbers that are free.

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
        living = [entry.record for entry in entries if entry.up and entry.record]
        mine = [record for record in living if record.token == launch.token]
        kept = [_taken_over(registry, record) for record in mine[:count]]
        maker = Maker(registry, launch, living)
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


def _begin(folders: list[Path], maker: Maker, until: float) -> list[Record]:
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
    finally:
        for answer in waiting:
            os.close(answer)
        for starter in starters:  # each has forked away, so that the keeper is nobody's child
            with contextlib.suppress(subprocess.TimeoutExpired):
                starter.wait(1.0 + _left(until))
    return begun


def _too_late(hosts: int) -> NoReturn:
    raise ProviderError(f"sandbox: {hosts} hosts did not come up in time")


def _answered(answer: int, folder: Path, maker: Maker) -> Record | None:
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
    # Little else, since hosts don't share our secrets.
    environment = {name: os.environ[name] for name in ("HOME", "TZ", MARK) if name in os.environ}
    environment |= {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": import_path(),
    }
    try:
        starter = subprocess.Popen(
            [sys.executable, "-P", "-S", "-m", "hostler.providers.sandbox_keeper", str(folder)],
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
    mine = replace(record, controller=pin(os.getpid()))
    write(registry.path / record.id, mine)
    return mine


def _left(until: float) -> float:
    return max(0.0, until - time.monotonic())
