"""The closed vocabulary of what happened: facts in the past tense.

Fields are only ever added, with defaults, and readers keep types that they don't know. An event never holds a
secret, nor output. `at` is the controller's wall clock in seconds since the epoch; the order is the sequence number
that the run's one writer gives, not the clock.
"""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct

from hostler.model.jobs import Ending, JobState, OutputRef

TYPES: dict[str, type[Event]] = {}


class Event(Struct, frozen=True, kw_only=True):
    """Something that happened at a moment."""

    type: ClassVar[str] = "event"
    at: float

    def __init_subclass__(cls) -> None:
        TYPES[cls.type] = cls


class RunAccepted(Event, frozen=True, kw_only=True):
    """A run is on disk, with all that it wants. Always a run's first event."""

    type: ClassVar[str] = "run.accepted"
    uid: str
    kind: str
    command: str


class RunStarted(Event, frozen=True, kw_only=True):
    """A controller has taken the run: the first one, or with epoch above 1 the next.

    What jobs write is kept in the folder `kept` of its machine, HOST:PATH.
    """

    type: ClassVar[str] = "run.started"
    epoch: int
    owner: str
    options: dict[str, Any]
    kept: str = ""


class StopRequested(Event, frozen=True, kw_only=True):
    """Somebody wants the run to end before its jobs have.

    With `drain` running jobs are let end by themselves; with `halted` it was a rule that the run was given.
    """

    type: ClassVar[str] = "run.stop-requested"
    why: str
    drain: bool = False
    halted: bool = False


class RunFinished(Event, frozen=True, kw_only=True):
    """The run's owner is through with it. Always a run's last event, until it is resumed.

    `state` is finished, or stopped when jobs wait for a resume, or left when some may still run on silent hosts.
    """

    type: ClassVar[str] = "run.finished"
    state: str
    exit_code: int


class JobsAccepted(Event, frozen=True, kw_only=True):
    """Jobs `first` to `last` are on disk; those that joined later waited beside `request` until then."""

    type: ClassVar[str] = "jobs.accepted"
    first: int
    last: int
    request: int | None = None


class JobsRequeued(Event, frozen=True, kw_only=True):
    """Every job in one of `states` was put back to wait, `count` of them."""

    type: ClassVar[str] = "jobs.requeued"
    states: tuple[int, ...]
    count: int


class JobsCancelled(Event, frozen=True, kw_only=True):
    """These jobs, which waited, will not run."""

    type: ClassVar[str] = "jobs.cancelled"
    jobs: tuple[int, ...]


class AttemptDispatched(Event, frozen=True, kw_only=True):
    """An attempt is about to be sent to a worker. Committed before it is sent."""

    type: ClassVar[str] = "attempt.dispatched"
    job: int
    n: int
    worker: int
    serial: int


class AttemptStarted(Event, frozen=True, kw_only=True):
    """The attempt's process runs on its host."""

    type: ClassVar[str] = "attempt.started"
    job: int
    n: int


class AttemptEnded(Event, frozen=True, kw_only=True):
    """An attempt is over; `then` is the state in which that leaves its job.

    `tries` is what the job has used of its retries by now, `kills` how many hosts were lost while it ran there when
    this was one of them, else 0. `elapsed` is in seconds, None when nobody knows.
    """

    type: ClassVar[str] = "attempt.finished"
    job: int
    n: int
    ending: Ending
    then: JobState
    tries: int
    code: int | None = None
    signal: int | None = None
    elapsed: float | None = None
    output: OutputRef | None = None
    detail: str = ""
    kills: int = 0


class AttemptSuperseded(Event, frozen=True, kw_only=True):
    """A result came for an attempt that had been given up; it changes nothing."""

    type: ClassVar[str] = "attempt.superseded"
    job: int
    n: int
    ending: Ending
    code: int | None = None


class HostConnected(Event, frozen=True, kw_only=True):
    """A worker answers; `spool` and `boot` tell whether it is still the one that it was.

    `slots` is how many jobs it runs at once, `way` how it was reached and why so, for people. The others are as in
    model.health.Health, None for what nobody told.
    """

    type: ClassVar[str] = "host.connected"
    worker: int
    spool: str
    boot: str
    slots: int | None = None
    way: str = ""
    took: float | None = None
    skew: float | None = None
    free: int | None = None
    load: float | None = None
    cpus: int | None = None


class HostOut(Event, frozen=True, kw_only=True):
    """A worker's line is gone, or could not be opened; it is tried again.

    What it holds is given up at `until` unless it answers before; None when it holds nothing.
    """

    type: ClassVar[str] = "host.out"
    worker: int
    why: str
    until: float | None = None


class HostStruck(Event, frozen=True, kw_only=True):
    """A worker failed us for a reason that no job can help: a `fault` of model.health.Fault.

    It is left alone until `until`; None when it goes on being tried.
    """

    type: ClassVar[str] = "host.struck"
    worker: int
    why: str
    fault: str = "unreachable"
    until: float | None = None


class HostLost(Event, frozen=True, kw_only=True):
    """This run has given the worker up; with a `fault`, that is a strike as well."""

    type: ClassVar[str] = "host.lost"
    worker: int
    why: str
    fault: str = ""


class HostTrusted(Event, frozen=True, kw_only=True):
    """A worker on probation has shown with a job that it is well."""

    type: ClassVar[str] = "host.trusted"
    worker: int


class HostRetired(Event, frozen=True, kw_only=True):
    """Too many jobs in a row failed on the worker (--strikes): it gets no more until the run is taken up anew.

    The last one, `job`, was put back: that failure is not held against it.
    """

    type: ClassVar[str] = "host.retired"
    worker: int
    why: str
    job: int = 0


class HostReleased(Event, frozen=True, kw_only=True):
    """The worker holds nothing of this run any more."""

    type: ClassVar[str] = "host.released"
    worker: int


class HostEnrolled(Event, frozen=True, kw_only=True):
    """A host has joined the run as this worker, or is known by new facts; they stand in the request.

    `machine` is its Host.machine.
    """

    type: ClassVar[str] = "host.enrolled"
    worker: int
    name: str
    request: int
    machine: str = ""


class RunPaused(Event, frozen=True, kw_only=True):
    """Nothing new is started any more, until the run is unpaused."""

    type: ClassVar[str] = "run.paused"


class RunUnpaused(Event, frozen=True, kw_only=True):
    """Jobs are started again."""

    type: ClassVar[str] = "run.unpaused"


class RequestMade(Event, frozen=True, kw_only=True):
    """The run's owner has taken up what another process wants of it."""

    type: ClassVar[str] = "request.made"
    request: int
    who: str
    kind: str


class RequestAnswered(Event, frozen=True, kw_only=True):
    """A request has been done, or refused; `words` say so."""

    type: ClassVar[str] = "request.answered"
    request: int
    done: bool
    words: str


class SettingChanged(Event, frozen=True, kw_only=True):
    """From now on the run works by another value of its spec."""

    type: ClassVar[str] = "setting.changed"
    name: str
    value: int | float


def to_data(event: Event) -> dict[str, Any]:
    """The event's own fields, without `at`, as plain JSON types."""
    return {name: getattr(event, name) for name in event.__struct_fields__ if name != "at"}


def from_data(type: str, at: float, data: dict[str, Any]) -> Event | None:
    """The event that `to_data` came from; None for a type of a later version."""
    cls = TYPES.get(type)
    if cls is None:
        return None
    values = {name: value for name, value in data.items() if name in cls.__struct_fields__}
    if "ending" in values:
        values["ending"] = Ending(values["ending"])
    return cls(at=at, **{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})
