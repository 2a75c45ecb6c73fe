"""What the batch engine is told, and what it answers with.

Facts come from the edge with the moment at which they came; effects go back to it. Neither is ever stored: what is
stored are the events that the engine makes of facts, and of its own intents.
"""

from __future__ import annotations

from dataclasses import dataclass

from hostler.model.jobs import Ending, JobState, OutputRef, Queued
from hostler.model.reports import Hello, Report
from hostler.model.requests import Wish


@dataclass(frozen=True, slots=True)
class HostUp:
    """A worker's runner has answered; `way` says how it was reached and why so, for people."""

    worker: int
    hello: Hello
    way: str = ""


@dataclass(frozen=True, slots=True)
class HostDown:
    """A worker's line is gone or could not be opened; `fatal` when another try would fail the same way."""

    worker: int
    why: str
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """A worker reports; `output` says where a result's output has been put."""

    worker: int
    report: Report
    output: OutputRef | None = None


@dataclass(frozen=True, slots=True)
class Rested:
    """The time that a worker was given to recover is over."""

    worker: int


@dataclass(frozen=True, slots=True)
class LeaseOver:
    """Nobody has heard of a worker for its lease and the margin; `since` is the moment at which it went."""

    worker: int
    since: float


@dataclass(frozen=True, slots=True)
class JobsLoaded:
    """Waiting jobs, in order; fewer than asked for when there are no more."""

    jobs: tuple[Queued, ...]


@dataclass(frozen=True, slots=True)
class StopWanted:
    """Somebody wants the run to end; with `drain`, once the jobs that run have ended by themselves."""

    why: str
    drain: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """Another process wants something; it comes before all other facts of its turn.

    `standings` are the states of the jobs that it is about, as the rows have them. `again` when an earlier owner took
    it up already, `stale` when it was made to an owner that is no more.
    """

    request: int
    who: str
    kind: str
    wish: Wish | None
    standings: tuple[tuple[int, JobState], ...] = ()
    again: bool = False
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Woke:
    """The moment has come that a Wake asked for."""

    moment: float


@dataclass(frozen=True, slots=True)
class WorkerReleased:
    """A worker has been let go."""

    worker: int


Fact = (
    HostUp | HostDown | Heard | Rested | LeaseOver | JobsLoaded | StopWanted | Asked | Woke | WorkerReleased
)


@dataclass(frozen=True, slots=True)
class Connect:
    """Reach a worker and ask after these serials, `delay` seconds from now."""

    worker: int
    ask: tuple[int, ...]
    delay: float


@dataclass(frozen=True, slots=True)
class Send:
    """Send attempts, in rising order of serial: (serial, job, n, args) each."""

    worker: int
    attempts: tuple[tuple[int, int, int, tuple[bytes, ...]], ...]


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Ask a worker to give up attempts that it has not started."""

    worker: int
    serials: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class End:
    """End running attempts by the kill ladder; `ending` is what that makes of them."""

    worker: int
    serials: tuple[int, ...]
    ending: Ending = Ending.INTERRUPTED


@dataclass(frozen=True, slots=True)
class Resize:
    """Tell a worker how many jobs it is to run at once from now on."""

    worker: int
    slots: int


@dataclass(frozen=True, slots=True)
class Ack:
    """Tell a worker that these results are on our disk."""

    worker: int
    serials: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Follow:
    """Tell a worker how far the output of these attempts has come: (serial, job, n) each; then let it talk."""

    worker: int
    attempts: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Rest:
    """Tell us in so many seconds that the worker has rested."""

    worker: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Wake:
    """Tell us of this moment, which is so many seconds from now."""

    moment: float
    seconds: float


@dataclass(frozen=True, slots=True)
class AwaitLease:
    """Tell us in so many seconds that the worker's lease is over, unless it has come back."""

    worker: int
    seconds: float
    since: float


@dataclass(frozen=True, slots=True)
class NeedJobs:
    """Load waiting jobs after this (tries, job), at most `limit`."""

    after: tuple[int, int]
    limit: int


@dataclass(frozen=True, slots=True)
class Release:
    """Let a worker go: nothing of this run is wanted there any more."""

    worker: int


@dataclass(frozen=True, slots=True)
class Finish:
    """The run is over; `stuck` when jobs wait that no worker can take."""

    stuck: bool


Effect = (
    Connect | Send | TakeBack | End | Resize | Ack | Follow | Rest | Wake | AwaitLease | NeedJobs | Release
    | Finish
)  # fmt: skip
