"""Hosts that a run has to do without, jobs that are quarantined, and a halt: a line each at once, with the reason.

The report says it again at the end, in short. It must never say a thing twice, nor fill the screen when a whole site
is down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hostler.model.commands import to_type
from hostler.model.events import (
    AttemptEnded,
    Event,
    HostConnected,
    HostEnrolled,
    HostLost,
    HostRetired,
    HostStruck,
    HostTrusted,
    StopRequested,
)
from hostler.model.health import Fault
from hostler.model.jobs import JobState

#: What becomes of a host that was struck.
THEN = {
    Fault.UNREACHABLE: "trying again",
    Fault.REFUSED: "left alone for a while, then probed by one job",
    Fault.LOST: "it gets one job at a time until one has gone well",
}
#: Lines about hosts that are out, before the rest is left to the report.
LINES = 20


class HostNews:
    """Tells `say` which hosts are out and which came back, unless not `hosts`; `names` are theirs by worker.

    >>> news = HostNews(print)
    >>> news.names = {1: "web1"}
    >>> news.trouble(1, "connection refused by web1:22")
    hostler: web1: connection refused by web1:22; trying again
    """

    def __init__(self, say: Callable[[str], None], *, hosts: bool = True) -> None:
        self.names: dict[int, str] = {}
        self._hosts = hosts
        self._say = say
        self._out: dict[int, str] = {}
        self._held: set[int] = set()
        self._told = 0

    def trouble(self, worker: int, why: str) -> None:
        """A host can't be reached, or its line broke; it is tried again."""
        self._tell(worker, why, "trying again")

    def held(self, worker: int, why: str) -> None:
        """A host begins nothing for now; told once."""
        if worker not in self._held:
            self._held.add(worker)
            self._print(f"{self._name(worker)}: {why}")

    def saw(self, events: Sequence[Event]) -> None:
        """Take in events that have been committed."""
        for event in events:
            if isinstance(event, HostStruck):
                self._tell(event.worker, event.why, THEN.get(Fault(event.fault), "trying again"))
            elif isinstance(event, HostRetired):
                self._tell(event.worker, event.why, "it gets no more jobs")
            elif isinstance(event, HostLost):
                self._tell(event.worker, event.why, "given up")
            elif isinstance(event, StopRequested) and event.halted:
                what = "the jobs that run are" if self._hosts else "what runs is"
                end = f"{what} let end" if event.drain else f"{what} ended"
                self._say(f"hostler: {event.why}: nothing more is begun, {end}")
            elif isinstance(event, HostEnrolled):
                self.names[event.worker] = event.name
            elif isinstance(event, HostConnected | HostTrusted):
                if self._out.pop(event.worker, None) is not None:
                    again = "back again" if isinstance(event, HostConnected) else "well again"
                    self._print(f"{self._name(event.worker)}: {again}")
            elif isinstance(event, AttemptEnded) and event.then is JobState.QUARANTINED:
                self._say(f"hostler: job {event.job} is quarantined: {event.detail}")

    def _tell(self, worker: int, why: str, then: str) -> None:
        name = self._name(worker)
        line = f"{name}: {why.removeprefix(f'{name}: ')}; {then}"
        if self._out.get(worker) != line:
            self._out[worker] = line
            self._print(line)

    def _name(self, worker: int) -> str:
        return self.names.get(worker, f"host {worker}")

    def _print(self, line: str) -> None:
        if not self._hosts:
            return
        self._told += 1
        if self._told <= LINES:
            self._say(f"hostler: {line}")
        elif self._told == LINES + 1:
            self._say(
                "hostler: more hosts come and go; the report names those that are out "
                f"(or: {to_type('status')})"
            )
