"""The state of a batch: what is durable, and the fold that is the only way to change it.

Every durable change is an event, and `apply` is the only place that folds one in. `load` is the only way in: a resumed
run and a new one walk the same path, and what the store gives back is what folding every event gives. What to do is
decided elsewhere: in `turn`, `attempts`, `lines` and `dealing`, which change the rest of the state freely.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Any

from msgspec.structs import replace

from hostler.engine.facts import Ack, Effect, Wake
from hostler.engine.hands import OPEN_LIMIT, SUSPECT, Hand, Try
from hostler.model.badhosts import BadHosts
from hostler.model.events import (
    AttemptDispatched,
    AttemptEnded,
    AttemptStarted,
    Event,
    HostConnected,
    HostEnrolled,
    HostLost,
    HostStruck,
    HostTrusted,
    JobsAccepted,
    JobsCancelled,
    JobsRequeued,
    RunPaused,
    RunStarted,
    RunUnpaused,
    SettingChanged,
    StopRequested,
)
from hostler.model.halting import HaltRule
from hostler.model.health import Health
from hostler.model.jobs import JobState, Queued
from hostler.model.retrying import RetryRule, delay_before
from hostler.model.runs import BatchRows, BatchSpec
from hostler.model.waves import Waves


class Batch:
    """The state of one batch."""

    def __init__(self, spec: BatchSpec) -> None:
        self.spec = spec
        self.counts: Counter[JobState] = Counter()
        self.hands: dict[int, Hand] = {}
        self.names: dict[str, int] = {}
        self.health: dict[str, Health] = {}
        self.stopping = self.paused = False
        # From here on nothing is durable. `draining` qualifies `stopping`: what runs is let end by itself.
        self.draining = self.halted = False
        self.halt = HaltRule.parse(spec.halt)
        self.counted_before = 0
        self.awaited: set[float] = set()
        self.next_start = 0.0
        self.retry = RetryRule.parse(spec.retry_on)
        self.bad_hosts = BadHosts.parse(spec.max_bad_hosts) if spec.max_bad_hosts else None
        # Waiting jobs that are here: those to be sent next, those whose next try is not due, those that may have taken
        # hosts with them and are to get one to themselves.
        self.window: deque[Queued] = deque()
        self.later: list[tuple[float, int, Queued]] = []
        self.suspects: deque[Queued] = deque()
        #: And those that one worker alone may be given, by that.
        self.pinned: dict[int, deque[Queued]] = {}
        self.waves = Waves.parse(spec.waves) if spec.waves else None
        self.cursor = (0, 0)
        self.loading = False
        #: Workers that were struck in this turn.
        self.struck: set[int] = set()
        self.given_up: dict[tuple[int, int], tuple[int, int]] = {}
        # Jobs that are to be cancelled and the requests that say so; requests and what became of their jobs.
        self.cancelling: dict[int, set[int]] = {}
        self.asked: dict[int, dict[int, str]] = {}
        self.cancelled: set[int] = set()
        #: Whether a request ends the run.
        self.stopped_for = False
        #: Only requests are answered, and nothing else is set in motion.
        self.visiting = False
        self.finished = False
        self.first_up = 0.0
        self.effects: list[Effect] = []
        self._events: list[Event] = []
        self._acks: dict[int, list[int]] = {}
        self.at = 0.0
        self.pick: Queued | None = None
        self.found: tuple[Hand, int] | None = None

    @classmethod
    def load(cls, rows: BatchRows) -> Batch:
        """A batch as its rows tell it."""
        batch = cls(rows.spec)
        batch.counts.update({state: count for state, count in rows.counts.items() if count})
        batch.stopping, batch.draining, batch.paused = rows.stopping, rows.draining, rows.paused
        for worker in rows.workers:
            batch.names[worker.host.name] = worker.id
            batch.hands[worker.id] = Hand(
                worker.id, serial=worker.serial, spool=worker.spool, machine=worker.host.machine,
                launched=worker.host.instance is not None,
            )  # fmt: skip
        batch.health.update(rows.health)
        for row in rows.open:
            queued = Queued(row.job, row.args, row.tries, row.n, kills=row.kills, pin=row.pin)
            hand = batch.hands[row.worker]
            hand.renewed = rows.last_seen or 0.0
            hand.open[row.serial] = Try(queued, row.n, row.worker, row.serial, row.started)
        if batch.halt is not None and batch.halt.met(batch.counts):
            # It was halted, and somebody goes on with it all the same: the rule begins anew.
            batch.counted_before = batch.halt.count(batch.counts)
        return batch

    def durable(self) -> tuple[object, ...]:
        """All that a store must give back, for comparison."""
        return (
            {state: count for state, count in self.counts.items() if count},
            self.stopping,
            self.paused,
            self.spec,
            self.names,
            {
                hand.id: (
                    hand.serial,
                    hand.spool,
                    hand.machine,
                    self.health_of(hand),
                    {s: (t.queued.job, t.n, t.started) for s, t in hand.open.items()},
                )
                for hand in self.hands.values()
            },
        )

    @property
    def running(self) -> int:
        """How many jobs are at work, as far as is known: no host begins more than it has slots.

        What had begun when it got fewer goes on. Those of hosts that we have lost sight of may be at work, but nobody
        knows.
        """
        return sum(
            max(min(len(hand.open), hand.slots), sum(held.started for held in hand.open.values()))
            for hand in self.hands.values()
            if not hand.went
        )

    @property
    def ending(self) -> bool:
        """Whether running jobs are being ended, rather than let end."""
        return self.stopping and not self.draining

    def wake(self, moment: float) -> None:
        """Have a turn taken at this moment."""
        if moment not in self.awaited:
            self.awaited.add(moment)
            self.effects.append(Wake(moment, max(0.0, moment - self.at)))

    @property
    def holding(self) -> bool:
        """Whether nothing new may be started for the time being."""
        return self.stopping or self.paused or self.visiting

    def begin(self, at: float) -> None:
        """Begin a turn, at this moment."""
        self.at, self._events, self.effects, self._acks = at, [], [], {}
        self.struck.clear()

    def answer(self) -> tuple[list[Event], list[Effect]]:
        """The turn's events, to be committed, and its effects, to be performed then."""
        acks = [Ack(worker, tuple(serials)) for worker, serials in self._acks.items()]
        return self._events, [*self.effects, *acks]

    def health_of(self, hand: Hand) -> Health:
        """What is known of a worker's machine, by all runs."""
        return self.health.get(hand.machine) or Health()

    # -- jobs that wait here --------------------------------------------------------------------------------------

    @property
    def here(self) -> int:
        """How many waiting jobs are here; the store holds the others."""
        some = len(self.window) + len(self.later) + len(self.suspects)
        return some + sum(map(len, self.pinned.values())) if self.pinned else some

    @property
    def ready(self) -> int:
        """How many waiting jobs may be sent at once, wherever they are."""
        return self.counts[JobState.QUEUED] - len(self.later) - len(self.suspects)

    def numbers(self) -> set[int]:
        """The waiting jobs that are here, by their numbers."""
        some = {queued.job for queued in self.window}
        some.update(queued.job for waiting in self.pinned.values() for queued in waiting)
        return some.union((job for _, job, _ in self.later), (queued.job for queued in self.suspects))

    def take_in(self, queued: Queued, *, first: bool = False) -> None:
        """Have a waiting job here, where it belongs; with `first` it is the next of its kind."""
        due = 0.0
        if queued.since is not None and self.spec.retry_delay:
            first_delay, most = self.spec.retry_delay, self.spec.retry_delay_max
            due = queued.since + delay_before(queued.tries, first=first_delay, most=most)
        if due > self.at:
            if len(self.later) < OPEN_LIMIT:  # beyond that it waits in the store
                heappush(self.later, (due, queued.job, queued))
        elif queued.pin is not None:
            self.pinned.setdefault(queued.pin, deque()).append(queued)
        elif queued.kills >= SUSPECT:
            self.suspects.append(queued)
        elif first:
            self.window.appendleft(queued)
        else:
            self.window.append(queued)

    def bring_due(self) -> None:
        """Let jobs be sent whose next try is due, and be there when the next one's is."""
        while self.later and self.later[0][0] <= self.at:
            self.take_in(heappop(self.later)[2])
        if self.later:
            self.wake(self.later[0][0])

    def forget(self, jobs: Iterable[int]) -> None:
        """These jobs wait no longer."""
        gone = set(jobs)
        self.window = deque(queued for queued in self.window if queued.job not in gone)
        self.suspects = deque(queued for queued in self.suspects if queued.job not in gone)
        self.later = [each for each in self.later if each[1] not in gone]
        for worker, waiting in list(self.pinned.items()):
            left = deque(queued for queued in waiting if queued.job not in gone)
            if left:
                self.pinned[worker] = left
            else:
                del self.pinned[worker]

    # -- events -----------------------------------------------------------------------------------------------------

    def ack(self, worker: int, serial: int) -> None:
        """Have a result acknowledged once this turn is committed."""
        self._acks.setdefault(worker, []).append(serial)

    def happen(self, event: Event) -> None:
        """Fold an event in and have it committed with this turn."""
        self.apply(event)
        self._events.append(event)

    def apply(self, event: Event) -> None:
        """Fold one event into the durable state; the only place that does."""
        counts = self.counts
        if type(event) is AttemptDispatched:
            hand = self.hands[event.worker]
            queued = self._taken(event.job)
            hand.open[event.serial] = Try(queued, event.n, event.worker, event.serial)
            hand.serial = event.serial
            counts[JobState.QUEUED] -= 1
            counts[JobState.OPEN] += 1
        elif type(event) is AttemptEnded:
            hand, serial = self._whose(event.job, event.n)
            del hand.open[serial]
            counts[JobState.OPEN] -= 1
            counts[event.then] += 1
        elif type(event) is AttemptStarted:
            hand, serial = self._whose(event.job, event.n)
            hand.open[serial].started = True
        elif type(event) is HostConnected:
            hand = self.hands[event.worker]
            hand.spool = event.spool
            self.health[hand.machine] = self.health_of(hand).answered(
                event.at, took=event.took, skew=event.skew, free=event.free, load=event.load, cpus=event.cpus
            )
        elif type(event) is HostStruck or (type(event) is HostLost and event.fault):
            hand = self.hands[event.worker]
            self.health[hand.machine] = self.health_of(hand).struck(event.at, event.fault, event.why)
        elif type(event) is HostTrusted:
            hand = self.hands[event.worker]
            self.health[hand.machine] = self.health_of(hand).trusted()
        elif type(event) is StopRequested:
            self.stopping, self.draining = True, event.drain
            self.halted = self.halted or event.halted
        elif type(event) is RunStarted:
            self.stopping = self.draining = self.halted = False
        elif type(event) is JobsAccepted:
            counts[JobState.QUEUED] += event.last - event.first + 1
        elif type(event) is JobsCancelled:
            counts[JobState.QUEUED] -= len(event.jobs)
            counts[JobState.CANCELLED] += len(event.jobs)
        elif type(event) is RunPaused or type(event) is RunUnpaused:
            self.paused = type(event) is RunPaused
        elif type(event) is SettingChanged:
            change: dict[str, Any] = {event.name: event.value}
            self.spec = replace(self.spec, **change)
        elif type(event) is HostEnrolled:
            self.names[event.name] = event.worker
            self.hands.setdefault(event.worker, Hand(event.worker)).machine = event.machine
        elif type(event) is JobsRequeued:
            for state in event.states:
                counts[JobState.QUEUED] += counts.pop(JobState(state), 0)

    def _taken(self, job: int) -> Queued:
        """The job that is being dispatched; a replay of old events knows its number only."""
        return self.pick if self.pick is not None and self.pick.job == job else Queued(job, ())

    def _whose(self, job: int, n: int) -> tuple[Hand, int]:
        """Who holds an attempt. Live, the judge has just looked it up; a replay has to search."""
        if self.found is not None:
            hand, serial = self.found
            held = hand.open.get(serial)
            if held is not None and held.queued.job == job and held.n == n:
                return hand, serial
        for hand in self.hands.values():
            for serial, held in hand.open.items():
                if held.queued.job == job and held.n == n:
                    return hand, serial
        raise KeyError(f"attempt {n} of job {job} is not open")
