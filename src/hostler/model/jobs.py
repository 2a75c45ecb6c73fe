"""Jobs, attempts, and the ways in which they end.

A job is one command with an id and a final state; an attempt is one try of it on one host. Nothing here says
which host a job belongs to: a job belongs to none, but it may be pinned to one worker of its run.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum

from msgspec import Struct


class Ending(StrEnum):
    """How an attempt ended. None of these is ever guessed from another: 255 is an exit code like any other."""

    OK = "ok"
    EXIT = "exit"
    SIGNAL = "signal"
    TIMEOUT = "timeout"
    LOST = "lost"
    INTERRUPTED = "interrupted"
    UNREACHABLE = "unreachable"
    STAGING_FAILED = "staging-failed"
    OUTPUT_LIMIT = "output-limit"
    REVOKED = "revoked"
    CANCELLED = "cancelled"
    KILL_FAILED = "kill-failed"


class JobState(IntEnum):
    """Where a job stands. The numbers are stored: they are only ever added to."""

    QUEUED = 0
    OPEN = 1
    OK = 2
    FAILED = 3
    TIMEOUT = 4
    LOST = 5
    INTERRUPTED = 6
    CANCELLED = 7
    KILL_FAILED = 8
    QUARANTINED = 9

    @property
    def final(self) -> bool:
        """Whether nothing more happens to the job unless somebody asks for it."""
        return self >= JobState.OK

    @property
    def word(self) -> str:
        """The state as people read it."""
        return self.name.lower().replace("_", "-")


class Counted(Struct, frozen=True, kw_only=True):
    """Something that has jobs, by how many of them are in which state.

    >>> run = Counted(counts={JobState.OK: 3, JobState.FAILED: 1, JobState.QUEUED: 2})
    >>> run.total, run.done, run.bad
    (6, 4, 1)
    """

    counts: Mapping[JobState, int]

    @property
    def total(self) -> int:
        """All of its jobs."""
        return sum(self.counts.values())

    @property
    def done(self) -> int:
        """Jobs of which nothing more is expected."""
        return sum(count for state, count in self.counts.items() if state.final)

    @property
    def bad(self) -> int:
        """Jobs that ended, and not well."""
        return self.done - self.counts.get(JobState.OK, 0)


#: The state in which a job is left by the ending of its last attempt.
STATE_AFTER = {
    Ending.OK: JobState.OK,
    Ending.EXIT: JobState.FAILED,
    Ending.SIGNAL: JobState.FAILED,
    Ending.TIMEOUT: JobState.TIMEOUT,
    Ending.OUTPUT_LIMIT: JobState.FAILED,
    Ending.STAGING_FAILED: JobState.FAILED,
    Ending.LOST: JobState.LOST,
    Ending.UNREACHABLE: JobState.LOST,
    Ending.INTERRUPTED: JobState.INTERRUPTED,
    Ending.CANCELLED: JobState.CANCELLED,
    Ending.KILL_FAILED: JobState.KILL_FAILED,
    Ending.REVOKED: JobState.QUEUED,
}

#: Endings that are the job's own doing: a try is spent by them, and the host was well enough to see them.
BLAMES_JOB = (Ending.EXIT, Ending.SIGNAL, Ending.TIMEOUT, Ending.OUTPUT_LIMIT)

#: States that `--retry` puts back.
RETRYABLE = (
    JobState.FAILED, JobState.TIMEOUT, JobState.LOST, JobState.INTERRUPTED, JobState.KILL_FAILED,
    JobState.QUARANTINED,
)  # fmt: skip


class Queued(Struct, frozen=True):
    """A job that waits: its number (from 1), arguments, retries used, attempts made, and the worker of the last.

    `tries` counts only attempts that the job itself ended; a lost host costs none. `kills` counts the hosts that were
    lost while it ran there, `since` is when its last attempt failed, None when it did not. A job that is pinned to the
    worker `pin` goes to no other.
    """

    job: int
    args: tuple[bytes, ...]
    tries: int = 0
    attempts: int = 0
    avoid: int | None = None
    kills: int = 0
    since: float | None = None
    pin: int | None = None


class Start(Struct, frozen=True):
    """One attempt as it is sent to a host.

    `serial` numbers the starts on that host, from 1, always growing: it is the fence. `words` is an argv, or with
    `shell` one text for the account's shell. `timeout` is in seconds.
    """

    serial: int
    job: int
    n: int
    words: tuple[bytes, ...]
    shell: bool = False
    timeout: float | None = None


class OutputRef(Struct, frozen=True):
    """Where an attempt's output is kept: a file beneath the run's folder.

    With `indexed`, both streams are interleaved in `file` as they arrived and `file` + ".idx" tells them apart;
    otherwise stdout stands at `offset` and stderr right behind it. Lengths are in bytes.
    """

    file: str
    offset: int
    out: int
    err: int
    indexed: bool = False


def attempt_id(uid: str, job: int, n: int) -> str:
    """The name of an attempt everywhere outside the store: `<run uid>/<job>/<n>`.

    >>> attempt_id("6f1e", 17, 1)
    '6f1e/17/1'
    """
    return f"{uid}/{job}/{n}"
