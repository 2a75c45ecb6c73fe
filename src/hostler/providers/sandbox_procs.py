"""Processes as the kernel tells of them, and how a whole tree of them is ended for good.

It must never signal a process by its name, nor by a bare pid: a pid counts only together with its start time.
The keeper of a sandbox host lives on this module, so it imports little.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import signal
import time
from collections.abc import Callable, Iterable

from msgspec import Struct

PAUSE = 0.005


class Pin(Struct, frozen=True, kw_only=True):
    """One process, named so that no later one can be taken for it: pid, start in clock ticks, boot."""

    pid: int
    start: int
    boot: str


class Process(Struct, frozen=True, kw_only=True):
    """A process at the moment of looking. A zombie has ended and only waits to be collected; `stopped` is by a signal.

    `name` is what the kernel calls its program: good for telling kinds apart below a known parent, never for finding.
    """

    pid: int
    parent: int
    start: int
    zombie: bool
    name: bytes
    stopped: bool = False


@functools.cache
def boot_id() -> str:
    """What tells this boot of the kernel from all others."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def look(pid: int) -> Process | None:
    """The process with this pid, or None."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    # The command's name stands in parentheses and may hold blanks and parentheses of its own.
    end = text.rfind(b")")
    fields = text[end + 2 :].split()
    if len(fields) < 20:
        return None
    return Process(
        pid=pid,
        parent=int(fields[1]),
        start=int(fields[19]),
        zombie=fields[0] in (b"Z", b"X"),
        name=text[text.find(b"(") + 1 : end],
        stopped=fields[0] == b"T",
    )


def pin(pid: int) -> Pin | None:
    """A lasting name for the living process `pid`, or None when there is none."""
    process = look(pid)
    return None if process is None or process.zombie else Pin(pid=pid, start=process.start, boot=boot_id())


def living(pinned: Pin | None) -> Process | None:
    """The process that was pinned, if it still lives."""
    if pinned is None:
        return None
    process = look(pinned.pid)
    if process is None or process.zombie or process.start != pinned.start or pinned.boot != boot_id():
        return None
    return process


def table() -> dict[int, Process]:
    """Every process there is, by pid."""
    found = (look(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {process.pid: process for process in found if process}


def below(roots: Iterable[int], processes: dict[int, Process]) -> set[int]:
    """The pids of all descendants of `roots`, without the roots."""
    children: dict[int, list[int]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    queue = [*roots]
    while queue:
        for child in children.get(queue.pop(), ()):
            if child not in found:
                found.add(child)
                queue.append(child)
    return found


def children() -> list[int]:
    """The pids of our own children, zombies too; quick. Only for a process of one thread."""
    own = os.getpid()
    try:
        with open(f"/proc/{own}/task/{own}/children", "rb") as file:
            return [int(pid) for pid in file.read().split()]
    except FileNotFoundError:  # a kernel built without it
        return [process.pid for process in table().values() if process.parent == own]


def marked(*marks: str) -> set[int]:
    """The pids of all readable processes, but ours, that began with one of `marks` ("NAME=value") set."""
    wanted, own, found = {mark.encode() for mark in marks}, os.getpid(), set()
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != own:
            with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
                if not wanted.isdisjoint(file.read().split(b"\0")):
                    found.add(int(name))
    return found


def send(process: Process, number: int) -> bool:
    """Signal exactly this process; False when it has gone or isn't ours to signal."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            return False
        handle = -1
    try:
        now = look(process.pid)
        if now is None or now.start != process.start:
            return False
        if handle < 0:
            os.kill(process.pid, number)
        else:
            signal.pidfd_send_signal(handle, number)
    except OSError:
        return False
    finally:
        if handle >= 0:
            os.close(handle)
    return True


def end_all(
    find: Callable[[dict[int, Process]], set[int]],
    *,
    seconds: float,
    collect: Callable[[], object] = lambda: None,
    looks: int = 3,
) -> tuple[int, ...]:
    """Kill all that `find` names in a table of processes, until `looks` looks in a row find nothing.

    They are stopped before they are killed, and looked for again until no new ones appear: what is stopped
    can't fork away from us. `collect` is called between looks to reap zombies that are ours to reap.
    Returns the pids that are left after `seconds`.
    """
    until = time.monotonic() + seconds
    known: dict[int, Process] = {}
    clean = 0
    while True:
        for _ in range(50):
            processes = table()
            new = [
                processes[pid]
                for pid in find(processes)
                if pid in processes
                and not processes[pid].zombie
                and not _same(known.get(pid), processes[pid])
            ]
            if not new:
                break
            for process in new:
                send(process, signal.SIGSTOP)
                known[process.pid] = process
        for process in known.values():
            send(process, signal.SIGKILL)
        collect()
        known = {pid: process for pid, process in known.items() if _lives(process)}
        clean = 0 if known else clean + 1
        if clean >= looks or time.monotonic() >= until:
            return tuple(sorted(known))
        time.sleep(PAUSE)


def _same(one: Process | None, other: Process | None) -> bool:
    return one is not None and other is not None and (one.pid, one.start) == (other.pid, other.start)


def _lives(process: Process) -> bool:
    now = look(process.pid)
    return now is not None and _same(process, now) and not now.zombie
