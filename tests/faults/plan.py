"""Jobs whose endings and output are known beforehand, and which write down what they do where they do it.

A job is one line of stdin and the same few lines of sh on every host, with or without Python. It writes a line to the
effect log when it begins and one when it ends, each by one write to a file opened for append, so that lines of many
jobs never mix. Nothing here may ask hostler anything.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

#: $1 is the effect log, $2 the job's line: how it ends, in attempts up to which, seconds, bytes of stdout and stderr,
#: and the gate that it waits for before it ends.
SCRIPT = r"""log=$1; set -- $2; end=$1; n=${HOSTLER_ATTEMPT##*/}
mark() { read up rest </proc/uptime; printf '%s %s %s %s %s %s\n' $1 "$HOSTLER_ATTEMPT" "$HOSTLER_HOST" $$ $up $end >>"$log"; }
put() { [ $2 = 0 ] || yes "$HOSTLER_ATTEMPT $1" | head -c $2; }
[ $n -le $2 ] || end=0
mark begin; put out $4; put err $5 >&2; sleep $3
[ $6 = - ] || : <"$log.gate$6"
[ $end != hang ] || sleep 600
mark end
case $end in [0-9]*) exit $end;; esac
kill -s $end $$; sleep 600"""  # noqa: E501

#: An attempt number that no job reaches.
ALWAYS = 999
SIZES = (0, 1, 40, 300, 4_000, 70_000, 300_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One job: how its attempts up to number `upto` end (a code, a signal, "hang"), later ones well; what it prints.

    With `gate` it doesn't end before that one of its Gates is open.
    """

    end: str = "0"
    upto: int = ALWAYS
    seconds: float = 0.0
    out: int = 0
    err: int = 0
    gate: int | None = None

    @property
    def line(self) -> str:
        """What the job is given."""
        gate = "-" if self.gate is None else self.gate
        return f"{self.end} {self.upto} {self.seconds:.3f} {self.out} {self.err} {gate}"

    def ends(self, n: int) -> str:
        """How attempt n ends if it is let: an exit code, a signal's name, or "hang"."""
        return self.end if n <= self.upto else "0"

    def prints(self, attempt: str, stream: int) -> bytes:
        """What an attempt prints when it comes that far; `attempt` is its whole name."""
        size = self.out if stream == 1 else self.err
        line = f"{attempt} {'out' if stream == 1 else 'err'}\n".encode()
        return b"".join(repeat(line, size // len(line) + 1))[:size]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The jobs of a run, in order: job 1 is the first."""

    tasks: tuple[Task, ...]
    retries: int = 0
    timeout: float | None = None

    @classmethod
    def make(
        cls, jobs: int, *, chance: random.Random, retries: int = 1, timeout: float = 3.0, longest: float = 0.3,
        largest: int = SIZES[-1], gates: int = 0,
    ) -> Plan:  # fmt: skip
        """So many jobs of all kinds: most end well, some fail always or once, by code, signal or timeout.

        None sleeps longer than `longest` seconds, none prints more than `largest` bytes to a stream. With `gates` the
        later ones wait for so many of them, one after the other, and none hangs: the run lasts until all are open.
        """
        sizes = [size for size in SIZES if size <= largest]
        weights = [2.0 / (1 + number) for number in range(len(sizes))]

        def one(number: int) -> Task:
            end, upto = "0", ALWAYS
            kind = chance.random()
            if kind < 0.12:
                end = str(chance.choice((1, 2, 7, 126, 127, 128, 137, 255)))
            elif kind < 0.16:
                end = chance.choice(("TERM", "KILL", "SEGV", "USR1", "HUP"))
            elif kind < 0.18 and not gates:
                end = "hang"
            if end != "0" and chance.random() < 0.5:
                upto = 1
            return Task(
                end=end,
                upto=upto,
                seconds=chance.choice((0.0, 0.0, 0.05, chance.uniform(0.0, longest))),
                out=chance.choices(sizes, weights)[0],
                err=chance.choices(sizes, weights)[0] if chance.random() < 0.3 else 0,
                gate=number * gates // jobs if gates and number * gates >= jobs else None,
            )

        tasks = tuple(map(one, range(jobs)))
        return cls(tasks=tasks, retries=retries, timeout=None if gates else timeout)

    @property
    def options(self) -> list[str]:
        """The options of `hostler batch` that the plan counts on."""
        timeout = ["--timeout", str(self.timeout)] if self.timeout else []
        return ["--retries", str(self.retries), *timeout]

    def words(self, effects: Path) -> list[str]:
        """The end of a command line: the jobs' command, which writes to this effect log."""
        return ["--", "sh", "-c", SCRIPT, "-", str(effects), "{}"]

    @property
    def lines(self) -> bytes:
        """The jobs, for stdin."""
        return "".join(f"{task.line}\n" for task in self.tasks).encode()


class Gates:
    """What jobs wait for: gate n holds them until `open(n)`. At the end all are open.

    A job waits in the opening of a pipe that nobody writes to, which costs nothing however many do.
    """

    def __init__(self, effects: Path, count: int) -> None:
        self._paths = [Path(f"{effects}.gate{number}") for number in range(count)]
        self._held: list[int] = []
        for path in self._paths:
            os.mkfifo(path)

    def open(self, number: int) -> None:
        """Let pass who waits for this gate or an earlier one, now and from now on."""
        for path in self._paths[len(self._held) : number + 1]:
            self._held.append(os.open(path, os.O_RDWR | os.O_CLOEXEC))

    def __enter__(self) -> Gates:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._held:
            os.close(fd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One line of the effect log. `up` is the host's uptime in seconds."""

    begin: bool
    uid: str
    job: int
    n: int
    host: str
    pid: int
    up: float
    end: str


def read_marks(effects: Path) -> Sequence[Mark]:
    """All that jobs wrote down so far, in order. A line that isn't whole yet is left for later."""
    if not effects.exists():
        return []
    data = effects.read_bytes()
    found = []
    for line in data[: data.rfind(b"\n") + 1].decode().splitlines():
        which, attempt, host, pid, up, end = line.split(" ")
        uid, job, n = attempt.split("/")
        found.append(
            Mark(
                begin=which == "begin",
                uid=uid,
                job=int(job),
                n=int(n),
                host=host,
                pid=int(pid),
                up=float(up),
                end=end,
            )
        )
    return found


def count_begun(effects: Path) -> int:
    """How many attempts have begun so far; cheap."""
    if not effects.exists():
        return 0
    with effects.open("rb") as file:
        return sum(line.startswith(b"begin ") for line in file)


__all__ = ["ALWAYS", "SCRIPT", "Gates", "Mark", "Plan", "Task", "count_begun", "read_marks"]
