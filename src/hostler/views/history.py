"""Events in words for people, and as plain values for programs.

What programs are given has stable names, the same as everywhere: `job`, `attempt`, `host`, `seconds`. A type that this
version doesn't know is told as it was written. It must never say more than the event does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hostler.model.durations import format_duration
from hostler.model.events import (
    AttemptDispatched,
    AttemptEnded,
    AttemptStarted,
    AttemptSuperseded,
    Event,
    HostConnected,
    HostEnrolled,
    HostLost,
    HostOut,
    HostReleased,
    HostRetired,
    HostStruck,
    HostTrusted,
    JobsAccepted,
    JobsCancelled,
    JobsRequeued,
    RequestAnswered,
    RequestMade,
    RunAccepted,
    RunFinished,
    RunPaused,
    RunStarted,
    RunUnpaused,
    SettingChanged,
    StopRequested,
    to_data,
)
from hostler.model.jobs import JobState
from hostler.views.tables import counted, listed
from hostler.views.text import one_line
from hostler.views.words import ending_text

#: Hosts' names by worker.
Names = Mapping[int, str]


def in_words(event: Event, names: Names, *, host: str | None = None) -> str:
    """An event as one harmless line for people, without its time and type; `host` is where its attempt is.

    >>> in_words(HostStruck(at=0.0, worker=1, why="connection refused"), {1: "web1"})
    'web1: connection refused'
    """
    told = WORDS.get(type(event))
    text = told(event, names) if told else unknown_in_words(to_data(event))
    text = f"{host}: {text}" if host else text
    return one_line(text.encode("utf-8", "surrogateescape"))


def unknown_in_words(data: Mapping[str, Any]) -> str:
    """What an event of another version holds, as it stands.

    >>> unknown_in_words({"worker": 3, "why": "x"})
    'worker=3 why=x'
    """
    return " ".join(f"{name}={value}" for name, value in data.items())


def as_data(event: Event, names: Names) -> dict[str, Any]:
    """An event's own facts under their stable names, for programs."""
    data = to_data(event)
    if "n" in data:
        data = {("attempt" if name == "n" else name): value for name, value in data.items()}
    if "worker" in data:
        data["host"] = names.get(data["worker"])
    if isinstance(event, AttemptEnded):
        output = data.pop("output")
        del data["kills"]  # it stands in the job's row
        data["ending"], data["then"] = event.ending.value, event.then.word
        data["seconds"] = data.pop("elapsed")
        data["stdout_bytes"] = output.out if output else 0
        data["stderr_bytes"] = output.err if output else 0
    elif isinstance(event, JobsRequeued):
        data["states"] = [JobState(state).word for state in event.states]
    return data


def _accepted(event: RunAccepted, names: Names) -> str:
    return f"{event.kind}: {event.command}"


def _started(event: RunStarted, names: Names) -> str:
    again = "" if event.epoch <= 1 else f"taken up again (controller {event.epoch}) "
    # What is no plain value, the environment say, is nothing for a screen.
    plain = {name: value for name, value in event.options.items() if isinstance(value, int | float | str)}
    options = ", ".join(f"{name} {plain[name]}" if name in plain else name for name in event.options)
    return f"{again}by {event.owner}" + (f", from now on with {options}" if options else "")


def _finished(event: RunFinished, names: Names) -> str:
    return f"{event.state}, exit code {event.exit_code}"


def _jobs_accepted(event: JobsAccepted, names: Names) -> str:
    count = event.last - event.first + 1
    return f"{counted(count, 'job')}: {event.first}" + (f" to {event.last}" if count > 1 else "")


def _requeued(event: JobsRequeued, names: Names) -> str:
    states = ", ".join(JobState(state).word for state in event.states)
    return f"{counted(event.count, 'job')} to be tried again ({states})"


def _cancelled(event: JobsCancelled, names: Names) -> str:
    return f"{counted(len(event.jobs), 'job')} that waited: {listed(event.jobs, shown=10)}"


def _dispatched(event: AttemptDispatched, names: Names) -> str:
    return f"job {event.job}, attempt {event.n}, to {_name(event.worker, names)}"


def _began(event: AttemptStarted, names: Names) -> str:
    return f"job {event.job}, attempt {event.n}"


def _ended(event: AttemptEnded, names: Names) -> str:
    took = "" if event.elapsed is None else f" after {format_duration(event.elapsed)}"
    how = ending_text(event.ending, code=event.code, signal=event.signal, detail=event.detail)
    thens = {JobState.QUEUED: "; the job waits again", JobState.QUARANTINED: "; the job is quarantined"}
    then = thens.get(event.then, "")
    return f"job {event.job}, attempt {event.n}: {how}{took}{then}"


def _superseded(event: AttemptSuperseded, names: Names) -> str:
    how = ending_text(event.ending, code=event.code)
    return f"job {event.job}, attempt {event.n}, given up before, ended after all: {how}"


def _connected(event: HostConnected, names: Names) -> str:
    told = [counted(event.slots, "slot")] if event.slots is not None else []
    told += [f"by {event.way}"] if event.way else []
    return f"{_name(event.worker, names)} answers" + (f": {', '.join(told)}" if told else "")


def _host_why(event: HostOut | HostStruck | HostLost | HostRetired, names: Names) -> str:
    name = _name(event.worker, names)
    return f"{name}: {event.why.removeprefix(f'{name}: ')}"


def _released(event: HostReleased, names: Names) -> str:
    return f"{_name(event.worker, names)} holds nothing of this run any more"


def _enrolled(event: HostEnrolled, names: Names) -> str:
    return f"{event.name} has joined (request {event.request})"


def _request(event: RequestMade, names: Names) -> str:
    return f"request {event.request} of {event.who}: {event.kind}"


def _answered(event: RequestAnswered, names: Names) -> str:
    return f"request {event.request} {'done' if event.done else 'refused'}: {event.words}"


def _name(worker: int, names: Names) -> str:
    return names.get(worker, f"host {worker}")


WORDS: dict[type[Event], Callable[[Any, Names], str]] = {
    RunAccepted: _accepted,
    RunStarted: _started,
    RunFinished: _finished,
    StopRequested: lambda event, names: event.why,
    RunPaused: lambda event, names: "nothing new is started",
    RunUnpaused: lambda event, names: "jobs are started again",
    JobsAccepted: _jobs_accepted,
    JobsRequeued: _requeued,
    JobsCancelled: _cancelled,
    AttemptDispatched: _dispatched,
    AttemptStarted: _began,
    AttemptEnded: _ended,
    AttemptSuperseded: _superseded,
    HostConnected: _connected,
    HostOut: _host_why,
    HostStruck: _host_why,
    HostLost: _host_why,
    HostRetired: _host_why,
    HostTrusted: lambda event, names: f"{_name(event.worker, names)} has shown that it is well",
    HostReleased: _released,
    HostEnrolled: _enrolled,
    RequestMade: _request,
    RequestAnswered: _answered,
    SettingChanged: lambda event, names: f"{event.name} is {event.value} from now on",
}
