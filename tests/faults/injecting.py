"""Killing and delaying programs at their system calls, by strace: the n-th call of a kind is where they end.

A call at which a program is killed is not carried out. strace counts the calls of each kind for itself, and for each
thread and each process for itself. It must never be attached to a process that the caller didn't begin.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.faults.frame import CannotTry

#: Names of one call on different machines and in different C libraries; strace passes over those that it doesn't know.
SAME = {
    "clone": ("clone", "clone3", "fork", "vfork"),
    "link": ("link", "linkat"),
    "mkdir": ("mkdir", "mkdirat"),
    "rename": ("rename", "renameat", "renameat2"),
    "unlink": ("unlink", "unlinkat"),
    "open": ("open", "openat"),
    "dup": ("dup2", "dup3"),
    "stat": ("newfstatat", "fstat", "stat"),
    "poll": ("poll", "ppoll"),
}
#: Calls that change nothing that anybody else could see.
IDLE = {
    "mmap", "munmap", "brk", "mprotect", "mremap", "madvise", "rt_sigprocmask", "rt_sigreturn", "rt_sigaction",
    "exit_group", "getpid", "getuid", "geteuid", "getppid", "prlimit64", "lseek", "ioctl", "access", "getcwd",
}  # fmt: skip
#: Calls of which there are as many as there are processes on this machine, once those are looked at.
LOOKING = {"open", "close", "read", "stat", "getdents64", "readlink", "statx", "pread64", "poll"}
CALL = re.compile(r"(?:(\d+) +)?(\w+)\(")


def kinds(call: str) -> str:
    """The call, under all its names, as strace wants it."""
    return ",".join(f"?{name}" for name in SAME.get(call, (call,)))


def kind_of(name: str) -> str:
    """The name under which a call is counted here."""
    return next((kind for kind, names in SAME.items() if name in names), name)


def need_strace() -> None:
    """Raises CannotTry where strace isn't there, or may not trace."""
    if why := _why_not():
        raise CannotTry(why)


@cache
def _why_not() -> str:
    if shutil.which("strace") is None:
        return "strace is not installed: apt install strace"
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            with attached(killing("getpid", 1), process.pid):
                return ""
        except AssertionError as error:
            return f"strace may not trace here: {error}"
        finally:
            process.kill()


def killing(call: str, at: int, *, log: Path | None = None) -> list[str]:
    """The words before a program, or before -p and a pid, that kill it at its `at`-th call of a kind, from 1."""
    set_ = kinds(call)
    return [*_strace(log), "-e", f"trace={set_}", "-e", f"inject={set_}:signal=KILL:when={at}"]


def delaying(calls: Sequence[str], seconds: float, *, log: Path | None = None) -> list[str]:
    """The words before a program that hold it up before each of these calls, in every process of it."""
    set_ = ",".join(map(kinds, calls))
    return [
        *_strace(log),
        "-f",
        "-e",
        f"trace={set_}",
        "-e",
        f"inject={set_}:delay_enter={seconds * 1e6:.0f}",
    ]


def watching(log: Path, calls: Iterable[str] = ()) -> list[str]:
    """The words that only write down the calls, all or those of some kinds."""
    return [*_strace(log), "-e", f"trace={','.join(map(kinds, calls)) or 'all'}"]


def _strace(log: Path | None) -> list[str]:
    return ["strace", "-qq", "-e", "signal=none", "-o", str(log or "/dev/null")]


@contextmanager
def attached(words: Sequence[str], pid: int) -> Iterator[None]:
    """Have strace hold a process of ours meanwhile."""
    loud = [word for word in words if word != "-qq"]  # so that it says when it holds it
    with subprocess.Popen([*loud, "-p", str(pid)], stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            said = process.stderr.readline()
            assert b"attached" in said, said.decode().strip()
            yield
        finally:
            process.terminate()
            process.wait(30)


def killed(log: Path) -> bool:
    """Whether strace killed something, by what it wrote: a call that never returned."""
    return log.exists() and any(line.endswith("= ?") for line in log.read_text(errors="replace").splitlines())


def places(log: Path, *, but: str = "$.") -> list[tuple[str, int]]:
    """Where a program can be killed, as (call, n), by what strace wrote of it when it was let be.

    Calls in which the expression `but` is found are left out. Once the program looks at processes, whose number changes
    all the time, calls that only look are not counted any more.
    """
    found: set[tuple[str, int]] = set()
    by_process: dict[str, Counter[str]] = {}
    looking = False
    for line in log.read_text(errors="replace").splitlines():
        match = CALL.match(line)
        looking = looking or '"/proc"' in line or '"/proc/"' in line
        if match is None or (call := kind_of(match[2])) in IDLE or (looking and call in LOOKING):
            continue
        mine = by_process.setdefault(match[1], Counter())
        mine[call] += 1
        if not re.search(but, line):
            found.add((call, mine[call]))
    return sorted(found)
