"""The decisions of a batch: which job goes where, what an answer means for it, when the run is over.

Theory of operation. `step` takes the facts that have arrived and answers with events and effects. Every durable change
is an event, and `apply` is the only place that folds one in; what a fact makes of itself is judged first, then `decide`
looks at the whole and adds intents. An intent is an event too, so it is never proposed twice, and because it is
committed before its effect is performed, a crash can only find more than was done, never less. `load` is the only way
in: a resumed run and a new one walk the same path. An attempt that was dispatched is asked after, never run again
blindly; it ends when its host says so, or when its host has been silent for longer than its lease.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

from hostler.engine import dealing, lines
from hostler.engine.facts import (
    Ack,
    Connect,
    Effect,
    Fact,
    Finish,
    Heard,
    HostDown,
    HostUp,
    JobsLoaded,
    LeaseOver,
    Release,
    Rested,
    StopWanted,
    WorkerReleased,
)
from hostler.engine.hands import DELAYS, Hand, Line, Try
from hostler.model.events import (
    AttemptDispatched,
    AttemptEnded,
    AttemptStarted,
    AttemptSuperseded,
    Event,
    HostConnected,
    HostReleased,
    JobsAccepted,
    JobsRequeued,
    RunStarted,
    StopRequested,
)
from hostler.model.jobs import STATE_AFTER, Ending, JobState, OutputRef, Queued
from hostler.model.reports import Began, Lost, Refused, Renewed, Report, Result, Revoked
from hostler.model.runs import BatchRows, BatchSpec

#: Hosts that a job may lose before it is given up: it may be what kills them.
LOSSES = 3
BLAMES_JOB = (Ending.EXIT, Ending.SIGNAL, Ending.TIMEOUT, Ending.OUTPUT_LIMIT)


class Batch:
    """The state of one batch and all its rules."""

    def __init__(self, spec: BatchSpec) -> None:
        self.spec = spec
        self.counts: Counter[JobState] = Counter()
        self.hands: dict[int, Hand] = {}
        self.stopping = False
        # From here on nothing is durable.
        self.window: deque[Queued] = deque()
        self.cursor = (0, 0)
        self.loading = False
        self.losses: Counter[int] = Counter()
        self.given_up: dict[tuple[int, int], tuple[int, int]] = {}
        self.finished = False
        self.first_up = 0.0
        self.effects: list[Effect] = []
        self._events: list[Event] = []
        self._acks: dict[int, list[int]] = {}
        self.at = 0.0
        self.pick: Queued | None = None
        self._found: tuple[Hand, int] | None = None

    @classmethod
    def load(cls, rows: BatchRows) -> Batch:
        """A batch as its rows tell it."""
        batch = cls(rows.spec)
        batch.counts.update({state: count for state, count in rows.counts.items() if count})
        batch.stopping = rows.stopping
        for worker in rows.workers:
            batch.hands[worker.id] = Hand(worker.id, serial=worker.serial, spool=worker.spool)
        for row in rows.open:
            queued = Queued(row.job, row.args, row.tries, row.n)
            hand = batch.hands[row.worker]
            hand.open[row.serial] = Try(queued, row.n, row.worker, row.serial, row.started)
        return batch

    def durable(self) -> tuple[object, ...]:
        """All that a store must give back, for comparison."""
        return (
            {state: count for state, count in self.counts.items() if count},
            self.stopping,
            {
                hand.id: (
                    hand.serial,
                    hand.spool,
                    {s: (t.queued.job, t.n, t.started) for s, t in hand.open.items()},
                )
                for hand in self.hands.values()
            },
        )

    @property
    def running(self) -> int:
        """How many jobs are at work, as far as is known: no host works on more than it has slots."""
        return sum(min(len(hand.open), hand.slots) for hand in self.hands.values())

    # -- the turn ---------------------------------------------------------------------------------------------

    def step(self, facts: Iterable[Fact], *, at: float) -> tuple[list[Event], list[Effect]]:
        """Take in facts; the events to commit, then the effects to perform once they are."""
        self.at, self._events, self.effects, self._acks = at, [], [], {}
        for fact in facts:
            self._judge(fact)
        if not self.finished:
            self._decide()
        self.effects += [Ack(worker, tuple(serials)) for worker, serials in self._acks.items()]
        return self._events, self.effects

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
            self.hands[event.worker].spool = event.spool
        elif type(event) is StopRequested:
            self.stopping = True
        elif type(event) is RunStarted:
            self.stopping = False
        elif type(event) is JobsAccepted:
            counts[JobState.QUEUED] += event.last - event.first + 1
        elif type(event) is JobsRequeued:
            for state in event.states:
                counts[JobState.QUEUED] += counts.pop(JobState(state), 0)

    def _taken(self, job: int) -> Queued:
        """The job that is being dispatched; a replay of old events knows its number only."""
        return self.pick if self.pick is not None and self.pick.job == job else Queued(job, ())

    def _whose(self, job: int, n: int) -> tuple[Hand, int]:
        """Who holds an attempt. Live, the judge has just looked it up; a replay has to search."""
        if self._found is not None:
            hand, serial = self._found
            held = hand.open.get(serial)
            if held is not None and held.queued.job == job and held.n == n:
                return hand, serial
        for hand in self.hands.values():
            for serial, held in hand.open.items():
                if held.queued.job == job and held.n == n:
                    return hand, serial
        raise KeyError(f"attempt {n} of job {job} is not open")

    # -- what facts mean ----------------------------------------------------------------------------------------

    def _judge(self, fact: Fact) -> None:
        if isinstance(fact, Heard):
            self._heard(self.hands[fact.worker], fact.report, fact.output)
        elif isinstance(fact, HostUp):
            lines.up(self, self.hands[fact.worker], fact)
        elif isinstance(fact, HostDown):
            lines.down(self, self.hands[fact.worker], fact)
        elif isinstance(fact, JobsLoaded):
            self._loaded(fact)
        elif isinstance(fact, Rested):
            hand = self.hands[fact.worker]
            hand.resting = False
            if hand.line is Line.RESTING:
                hand.line = Line.DOWN
        elif isinstance(fact, LeaseOver):
            hand = self.hands[fact.worker]
            if hand.line is not Line.UP and hand.went == fact.since:
                for held in list(hand.open.values()):
                    self.lost(hand, held, "its host was silent for longer than the lease")
        elif isinstance(fact, StopWanted):
            if not self.stopping:
                self.happen(StopRequested(at=self.at, why=fact.why))
                for hand in self.hands.values():
                    lines.end_all(self, hand)
        elif isinstance(fact, WorkerReleased):
            self.hands[fact.worker].line = Line.RELEASED
            self.happen(HostReleased(at=self.at, worker=fact.worker))

    def _heard(self, hand: Hand, report: Report, output: OutputRef | None) -> None:
        if isinstance(report, Renewed):
            hand.renewed = self.at
            hand.rtt = report.rtt if not hand.rtt else min(hand.rtt * 1.1, report.rtt)
            return
        serial = getattr(report, "serial", 0)
        held = hand.open.get(serial)
        if held is None:
            if isinstance(report, (Result, Lost)):
                self._late(hand, report)
            return
        if isinstance(report, Result):
            self._acks.setdefault(hand.id, []).append(serial)
            self._result(hand, held, report, output)
        elif isinstance(report, Began):
            held.taken_back = False  # this is also the answer when it was too late to take it back
            if not held.started:
                self._found = (hand, serial)
                self.happen(AttemptStarted(at=self.at - report.ago, job=held.queued.job, n=held.n))
        elif isinstance(report, Revoked):
            self._give_back(hand, held, "")
        elif isinstance(report, Refused):
            self._give_back(hand, held, report.why)
            lines.refused(self, hand, report.why)
        elif isinstance(report, Lost):
            self._acks.setdefault(hand.id, []).append(serial)
            self.lost(hand, held, report.why)

    def _result(self, hand: Hand, held: Try, report: Result, output: OutputRef | None) -> None:
        queued, ending = held.queued, report.ending
        tries = queued.tries + (ending in BLAMES_JOB)
        then = STATE_AFTER[ending]
        if (ending in BLAMES_JOB and tries <= self.spec.retries) or ending is Ending.INTERRUPTED:
            then = JobState.QUEUED
        self._ended(
            hand, held, ending=ending, then=then, tries=tries, code=report.code, signal=report.signal,
            elapsed=report.elapsed, output=output, detail=report.detail,
        )  # fmt: skip
        if ending not in (Ending.INTERRUPTED, Ending.CANCELLED):
            hand.finished(report.elapsed, self.at)
        if then is JobState.QUEUED:
            self._requeue(Queued(queued.job, queued.args, tries, held.n, hand.id), last=True)

    def _late(self, hand: Hand, report: Result | Lost) -> None:
        """A result that nobody waits for any more: kept as superseded if we had given its attempt up."""
        self._acks.setdefault(hand.id, []).append(report.serial)
        job_n = self.given_up.pop((hand.id, report.serial), None)
        if job_n is not None and isinstance(report, Result):
            job, n = job_n
            self.happen(AttemptSuperseded(at=self.at, job=job, n=n, ending=report.ending, code=report.code))

    def lost(self, hand: Hand, held: Try, why: str) -> None:
        """Give an attempt up whose end nobody can tell; its job waits again, but not for ever."""
        queued = held.queued
        self.losses[queued.job] += 1
        self.given_up[hand.id, held.serial] = (queued.job, held.n)
        then = JobState.QUEUED if self.losses[queued.job] < LOSSES else JobState.LOST
        self._ended(hand, held, ending=Ending.LOST, then=then, tries=queued.tries, detail=why)
        if then is JobState.QUEUED:
            self._requeue(Queued(queued.job, queued.args, queued.tries, held.n, hand.id), last=False)

    def _give_back(self, hand: Hand, held: Try, why: str) -> None:
        queued = held.queued
        self._ended(hand, held, ending=Ending.REVOKED, then=JobState.QUEUED, tries=queued.tries, detail=why)
        avoid = hand.id if why else queued.avoid
        self._requeue(Queued(queued.job, queued.args, queued.tries, held.n, avoid), last=False)

    def _ended(
        self, hand: Hand, held: Try, *, ending: Ending, then: JobState, tries: int, code: int | None = None,
        signal: int | None = None, elapsed: float | None = None, output: OutputRef | None = None, detail: str = "",
    ) -> None:  # fmt: skip
        self._found = (hand, held.serial)
        self.happen(
            AttemptEnded(
                at=self.at,
                job=held.queued.job,
                n=held.n,
                ending=ending,
                then=then,
                tries=tries,
                code=code,
                signal=signal,
                elapsed=elapsed,
                output=output,
                detail=detail,
            )
        )

    def _requeue(self, queued: Queued, *, last: bool) -> None:
        """A job waits again. One that the store's order would bring later anyway is left to it."""
        if (queued.tries, queued.job) > self.cursor:
            return
        if last:
            self.window.append(queued)
        else:
            self.window.appendleft(queued)

    def _loaded(self, fact: JobsLoaded) -> None:
        self.loading = False
        if fact.jobs:
            self.cursor = (fact.jobs[-1].tries, fact.jobs[-1].job)
            here = {queued.job for queued in self.window}
            self.window.extend(queued for queued in fact.jobs if queued.job not in here)
        elif self.counts[JobState.QUEUED] > len(self.window):
            # Some wait behind the cursor: look from the beginning; what is here is not doubled.
            self.cursor = (0, 0)

    # -- what to set in motion ------------------------------------------------------------------------------------

    def _decide(self) -> None:
        for hand in self.hands.values():
            if hand.line is Line.DOWN and (hand.open or not self._nothing_left()):
                hand.line = Line.CONNECTING
                delay = DELAYS[min(hand.failures, len(DELAYS) - 1)]
                self.effects.append(Connect(hand.id, tuple(sorted(hand.open)), delay))
        if self._over():
            self._leave()
            return
        if not self.stopping:
            dealing.deal(self)
            dealing.want(self)
            dealing.level(self)

    def _nothing_left(self) -> bool:
        return self.stopping or not (self.counts[JobState.QUEUED] or self.counts[JobState.OPEN])

    def _over(self) -> bool:
        """Whether nothing more will happen by waiting."""
        hands = self.hands.values()
        if self.stopping:
            return not any(h.open and h.line in (Line.UP, Line.CONNECTING, Line.DOWN) for h in hands)
        if self._nothing_left():
            return True
        usable = any(h.line in (Line.UP, Line.CONNECTING, Line.DOWN) for h in hands)
        return not usable and not self.counts[JobState.OPEN]

    def _leave(self) -> None:
        """Let every worker go; the run is over when the last one has gone."""
        for hand in self.hands.values():
            if hand.line is Line.UP:
                hand.line = Line.LEAVING
                self.effects.append(Release(hand.id))
        if not any(hand.line is Line.LEAVING for hand in self.hands.values()):
            self.finished = True
            self.effects.append(Finish(bool(self.counts[JobState.QUEUED]) and not self.stopping))
