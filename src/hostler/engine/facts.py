"""What the batch engine is told, and what it answers with.

Facts come from the edge with the moment at which they came; effects go back to it. Neither is ever stored: what is
stored are the events that the engine makes of facts, and of its own intents.
"""

from __future__ import annotations

from msgspec import Struct

from hostler.model.jobs import Ending, JobState, OutputRef, Queued
from hostler.model.reports import Hello, Report
from hostler.model.requests import Wish


class HostUp(Struct, frozen=True):
    """A worker's runner has answered; `way` says how it was reached and why so, for people.

    `took` is how long the line to it took, `skew` how far its clock is ahead of ours, in seconds.
    """

    worker: int
    hello: Hello
    way: str = ""
    took: float | None = None
    skew: float | None = None


class HostDown(Struct, frozen=True):
    """A worker's line is gone or could not be opened; `fatal` when another try soon would fail the same way.

    It was `nonsense` that ended it: what came from there made no sense, or was no answer of a program of ours.
    A line that couldn't be opened for that is `fatal`, too.
    """

    worker: int
    why: str
    fatal: bool = False
    nonsense: bool = False


class Heard(Struct, frozen=True):
    """A worker reports; `output` says where a result's output has been put."""

    worker: int
    report: Report
    output: OutputRef | None = None


class Rested(Struct, frozen=True):
    """The time that a worker was given to recover is over."""

    worker: int


class LeaseOver(Struct, frozen=True):
    """Nobody has heard of a worker for its lease and the margin; `since` is the moment at which it went."""

    worker: int
    since: float


class MachineEnded(Struct, frozen=True):
    """The machine that a worker was has ended, and nothing runs there any more: whoever launched it says so."""

    worker: int
    by: str


class JobsLoaded(Struct, frozen=True):
    """Waiting jobs, in order; fewer than asked for when there are no more."""

    jobs: tuple[Queued, ...]


class StopWanted(Struct, frozen=True):
    """Somebody wants the run to end; with `drain`, once the jobs that run have ended by themselves."""

    why: str
    drain: bool = False


class Asked(Struct, frozen=True):
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


class Woke(Struct, frozen=True):
    """The moment has come that a Wake asked for."""

    moment: float


class WorkerReleased(Struct, frozen=True):
    """A worker has been let go."""

    worker: int


Fact = (
    HostUp | HostDown | Heard | Rested | LeaseOver | MachineEnded | JobsLoaded | StopWanted | Asked | Woke
    | WorkerReleased
)  # fmt: skip


class Connect(Struct, frozen=True):
    """Reach a worker and ask after these serials, `delay` seconds from now; `given` is the highest that it ever got."""

    worker: int
    ask: tuple[int, ...]
    delay: float
    given: int


class Send(Struct, frozen=True):
    """Send attempts, in rising order of serial: (serial, job, n, args) each."""

    worker: int
    attempts: tuple[tuple[int, int, int, tuple[bytes, ...]], ...]


class TakeBack(Struct, frozen=True):
    """Ask a worker to give up attempts that it has not started."""

    worker: int
    serials: tuple[int, ...]


class End(Struct, frozen=True):
    """End running attempts by the kill ladder; `ending` is what that makes of them."""

    worker: int
    serials: tuple[int, ...]
    ending: Ending = Ending.INTERRUPTED


class Resize(Struct, frozen=True):
    """Tell a worker how many jobs it is to run at once from now on."""

    worker: int
    slots: int


class Ack(Struct, frozen=True):
    """Tell a worker that these results are on our disk."""

    worker: int
    serials: tuple[int, ...]


class Follow(Struct, frozen=True):
    """Tell a worker how far the output of these attempts has come: (serial, job, n) each; then let it talk."""

    worker: int
    attempts: tuple[tuple[int, int, int], ...]


class Rest(Struct, frozen=True):
    """Tell us in so many seconds that the worker has rested."""

    worker: int
    seconds: float


class Wake(Struct, frozen=True):
    """Tell us of this moment, which is so many seconds from now."""

    moment: float
    seconds: float


class AwaitLease(Struct, frozen=True):
    """Tell us in so many seconds that the worker's lease is over, unless it has come back."""

    worker: int
    seconds: float
    since: float


class AskAfter(Struct, frozen=True):
    """Ask whoever launched a worker's machine whether it has ended."""

    worker: int


class NeedJobs(Struct, frozen=True):
    """Load waiting jobs after this (tries, job), at most `limit`."""

    after: tuple[int, int]
    limit: int


class Release(Struct, frozen=True):
    """Let a worker go: nothing of this run is wanted there any more."""

    worker: int


class Finish(Struct, frozen=True):
    """The run is over; `stuck` when jobs wait that no worker can take."""

    stuck: bool


Effect = (
    Connect | Send | TakeBack | End | Resize | Ack | Follow | Rest | Wake | AwaitLease | AskAfter | NeedJobs | Release
    | Finish
)  # fmt: skip
