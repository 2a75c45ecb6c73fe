"""What a run comes to: its counts, its pace, what each host did, and the exit code that says so to scripts.

Everything that people and scripts are told about a run as a whole is worked out here, so that the live line, the
report, `status` and the exit code can't disagree. It must never look at a clock, a file or a screen.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from hostler.model.commands import to_type
from hostler.model.jobs import RETRYABLE, Counted, JobState

#: What each state is called in a count, in the order in which people are told.
COUNTED = (
    (JobState.OK, "ok"),
    (JobState.FAILED, "failed"),
    (JobState.TIMEOUT, "timed out"),
    (JobState.LOST, "lost"),
    (JobState.INTERRUPTED, "interrupted"),
    (JobState.KILL_FAILED, "could not be killed"),
    (JobState.QUARANTINED, "quarantined"),
    (JobState.CANCELLED, "cancelled"),
    (JobState.OPEN, "open"),
    (JobState.QUEUED, "not run"),
)

#: The exit code that one job in this state asks for; the worst of them is the run's.
CODES = {
    JobState.OK: 0,
    JobState.FAILED: 1,
    JobState.TIMEOUT: 3,
    JobState.INTERRUPTED: 3,
    JobState.CANCELLED: 3,
    JobState.KILL_FAILED: 3,
    JobState.LOST: 4,
    JobState.QUARANTINED: 4,
    JobState.OPEN: 4,
    JobState.QUEUED: 4,
}


def exit_code(
    counts: Mapping[JobState, int], *, signal: int | None = None, broken: bool = False, halted: bool = False
) -> int:
    """The exit code of a run with `counts` jobs by state: the worst over its jobs, 0 when every job ended well.

    `signal` is the number of the signal that stopped it, `broken` says that hostler itself could not go on,
    `halted` that a budget or a halt rule stopped it. A job that nobody could run counts like one whose host was
    lost; one that a signal of its own ended has failed.

    >>> exit_code({JobState.OK: 9, JobState.FAILED: 1}), exit_code({JobState.OK: 9}, signal=2)
    (1, 130)
    """
    if signal is not None:
        return 128 + signal
    if broken:
        return 6
    if halted:
        return 5
    return max((CODES[state] for state, count in counts.items() if count), default=0)


class Summary(Counted, frozen=True, kw_only=True):
    """A run at its end, or at the moment of asking. `state` is the run's own word, `elapsed` is in seconds.

    `signal` is the number of the signal that stopped it, `verb` the one that made it and goes on with it.

    >>> Summary(number=42, state="finished", counts={JobState.OK: 9, JobState.LOST: 1}).next_command
    'hostler batch --retry 42'
    """

    number: int
    state: str
    elapsed: float | None = None
    signal: int | None = None
    verb: str = "batch"

    @property
    def rate(self) -> float | None:
        """Jobs ended per second over the whole run; None when nothing sensible can be said."""
        return self.done / self.elapsed if self.elapsed and self.done else None

    @property
    def words(self) -> str:
        """The counts as people read them: "958 ok, 41 failed, 1 lost"."""
        return count_words(self.counts)

    @property
    def next_command(self) -> str | None:
        """The command that brings the run nearer to all jobs well; None when there is nothing left to do."""
        if self.done < self.total:
            return to_type(f"{self.verb} --resume {self.number}")
        if any(self.counts.get(state) for state in RETRYABLE):
            return to_type(f"{self.verb} --retry {self.number}")
        return None


def count_words(counts: Mapping[JobState, int]) -> str:
    """Counts by state in one fixed order, without those that are zero.

    >>> count_words({JobState.LOST: 2, JobState.OK: 801, JobState.FAILED: 0})
    '801 ok, 2 lost'
    """
    return ", ".join(f"{counts[state]} {word}" for state, word in COUNTED if counts.get(state)) or "no jobs"


def percent(done: int, total: int) -> int:
    """How much of `total` is done, rounded down: 100 only when all is.

    >>> percent(999_999, 1_000_000)
    99
    """
    return done * 100 // total if total else 0


class Progress(Struct, frozen=True, kw_only=True):
    """A run as it stands, for the live line: jobs by what became of them, hosts, and the pace.

    `rate` is in jobs per second, `eta` in seconds; both None while nothing sensible can be said. `hosts_out` names
    the hosts that were up once or should be and are not. `phase` is what goes on beside the work itself
    ("connecting", "stopping: waiting for 3 jobs"), empty when nothing does.
    """

    number: int
    total: int
    queued: int = 0
    running: int = 0
    ok: int = 0
    failed: int = 0
    timed_out: int = 0
    lost: int = 0
    other: int = 0
    hosts_up: int = 0
    hosts_total: int = 0
    hosts_out: tuple[str, ...] = ()
    rate: float | None = None
    eta: float | None = None
    phase: str = ""
    verb: str = "batch"

    @property
    def done(self) -> int:
        """Jobs of which nothing more is expected."""
        return self.ok + self.failed + self.timed_out + self.lost + self.other


class Pace(Struct, frozen=True):
    """How fast jobs end, over a sliding window: the last half minute, or the last twenty jobs if those took longer.

    `marks` are (seconds, jobs done) at which that count was first seen; `now` is the last moment seen.

    >>> Pace.begin(0.0, 0).seen(10.0, 50).eta(100)
    20.0
    """

    marks: tuple[tuple[float, int], ...]
    now: float

    #: Seconds, and jobs, that the window holds at least; and the seconds between two marks.
    SPAN = 30.0
    JOBS = 20
    STEP = 0.5

    @staticmethod
    def begin(at: float, done: int) -> Pace:
        """The pace of a run that has `done` jobs behind it when its work begins, at `at` seconds."""
        return Pace(((at, done),), at)

    def seen(self, at: float, done: int) -> Pace:
        """This pace after one more look at the count."""
        marks = self.marks
        if done < marks[-1][1]:
            return Pace.begin(at, done)
        if done == marks[-1][1]:
            return replace(self, now=at)
        if len(marks) > 2 and marks[-1][0] - marks[-2][0] < self.STEP:
            marks = marks[:-1]
        marks = (*marks, (at, done))
        while len(marks) > 2 and at - marks[1][0] > self.SPAN and done - marks[1][1] >= self.JOBS:
            marks = marks[1:]
        return Pace(marks, at)

    @property
    def rate(self) -> float | None:
        """Jobs per second over the window; None until one has ended."""
        (since, before), (_, done) = self.marks[0], self.marks[-1]
        return (done - before) / (self.now - since) if done > before and self.now > since else None

    def eta(self, left: int) -> float | None:
        """Seconds until `left` more jobs have ended at this pace; None while there is no telling."""
        rate = self.rate
        return None if rate is None else left / rate


class HostFigures(Struct, frozen=True, kw_only=True):
    """What one worker did in a run.

    `state` is a word: waiting, up, out, lost or released; `why` explains the last two troubles. `ok`, `failed` and
    `gone` and `interrupted` count ended attempts (`gone`: those that went with the host, `interrupted`: those that we
    ended); `busy` is their seconds together.
    `slots` is how many it ran at once, None when nobody knows.
    """

    host: str
    state: str
    why: str = ""
    ok: int = 0
    failed: int = 0
    gone: int = 0
    interrupted: int = 0
    open: int = 0
    busy: float = 0.0
    slots: int | None = None

    @property
    def ended(self) -> int:
        """Attempts that ended on this host."""
        return self.ok + self.failed + self.gone + self.interrupted

    @property
    def mean(self) -> float | None:
        """Mean seconds of an attempt; None when none ended."""
        return self.busy / self.ended if self.ended else None

    def share(self, elapsed: float | None) -> float | None:
        """The part of its slots' time that was spent on jobs, 0 to 1; None when it can't be known."""
        if not elapsed or not self.slots:
            return None
        return min(1.0, self.busy / (elapsed * self.slots))
