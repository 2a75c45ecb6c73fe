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

from hostler.engine.facts import (
    Ack,
    AwaitLease,
    Connect,
    Effect,
    End,
    Fact,
    Finish,
    Follow,
    Heard,
    HostDown,
    HostUp,
    JobsLoaded,
    LeaseOver,
    NeedJobs,
    Release,
    Rest,
    Rested,
    Send,
    StopWanted,
    TakeBack,
    WorkerReleased,
)  # fmt: skip
from hostler.engine.hands import DELAYS, OPEN_LIMIT, STRIKES, Hand, Line, Try
from hostler.model.events import (
    AttemptDispatched,
    AttemptEnded,
    AttemptStarted,
    AttemptSuperseded,
    Event,
    HostConnected,
    HostLost,
    HostReleased,
    HostStruck,
    JobsAccepted,
    JobsRequeued,
    RunStarted,
    StopRequested,
)  # fmt: skip
from hostler.model.jobs import STATE_AFTER, Ending, JobState, OutputRef, Queued
from hostler.model.reports import Began, Lost, Refused, Renewed, Report, Result, Revoked, Standing
from hostler.model.runs import BatchRows, BatchSpec

#: Seconds beyond the lease before an attempt on a silent host is given up: clocks differ, lines are slow.
MARGIN = 10.0
#: Seconds after the first worker has come in which few jobs are kept for those that are still coming.
WELCOME = 1.0
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
        self._first_up = 0.0
        self._effects: list[Effect] = []
        self._events: list[Event] = []
        self._acks: dict[int, list[int]] = {}
        self._at = 0.0
        self._pick: Queued | None = None
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
        self._at, self._events, self._effects, self._acks = at, [], [], {}
        for fact in facts:
            self._judge(fact)
        if not self.finished:
            self._decide()
        self._effects += [Ack(worker, tuple(serials)) for worker, serials in self._acks.items()]
        return self._events, self._effects

    def _happen(self, event: Event) -> None:
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
        return self._pick if self._pick is not None and self._pick.job == job else Queued(job, ())

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
            self._up(self.hands[fact.worker], fact)
        elif isinstance(fact, HostDown):
            self._down(self.hands[fact.worker], fact)
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
                    self._lost(hand, held, "its host was silent for longer than the lease")
        elif isinstance(fact, StopWanted):
            if not self.stopping:
                self._happen(StopRequested(at=self._at, why=fact.why))
                for hand in self.hands.values():
                    self._end_all(hand)
        elif isinstance(fact, WorkerReleased):
            self.hands[fact.worker].line = Line.RELEASED
            self._happen(HostReleased(at=self._at, worker=fact.worker))

    def _heard(self, hand: Hand, report: Report, output: OutputRef | None) -> None:
        if isinstance(report, Renewed):
            hand.renewed = self._at
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
                self._happen(AttemptStarted(at=self._at - report.ago, job=held.queued.job, n=held.n))
        elif isinstance(report, Revoked):
            self._give_back(hand, held, "")
        elif isinstance(report, Refused):
            self._give_back(hand, held, report.why)
            self._refused(hand, report.why)
        elif isinstance(report, Lost):
            self._acks.setdefault(hand.id, []).append(serial)
            self._lost(hand, held, report.why)

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
            hand.finished(report.elapsed, self._at)
        if then is JobState.QUEUED:
            self._requeue(Queued(queued.job, queued.args, tries, held.n, hand.id), last=True)

    def _late(self, hand: Hand, report: Result | Lost) -> None:
        """A result that nobody waits for any more: kept as superseded if we had given its attempt up."""
        self._acks.setdefault(hand.id, []).append(report.serial)
        job_n = self.given_up.pop((hand.id, report.serial), None)
        if job_n is not None and isinstance(report, Result):
            job, n = job_n
            self._happen(AttemptSuperseded(at=self._at, job=job, n=n, ending=report.ending, code=report.code))

    def _lost(self, hand: Hand, held: Try, why: str) -> None:
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
        self._happen(
            AttemptEnded(
                at=self._at,
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
            self.cursor = (
                0,
                0,
            )  # some wait behind the cursor: look from the beginning, what is here is not doubled

    # -- hosts --------------------------------------------------------------------------------------------------

    def _up(self, hand: Hand, fact: HostUp) -> None:
        hello = fact.hello
        gone = hand.spool is not None and hand.spool != hello.spool
        self._happen(HostConnected(at=self._at, worker=hand.id, spool=hello.spool, boot=hello.boot))
        hand.line, hand.slots, hand.why = Line.UP, self.spec.slots or hello.slots, ""
        hand.renewed = hand.came = self._at
        hand.went = 0.0
        again, follow = [], []
        for serial in sorted(hand.open):
            held = hand.open[serial]
            standing = Standing.LOST if gone else hello.standings.get(serial, Standing.UNKNOWN)
            if standing is Standing.UNKNOWN:
                again.append((serial, held.queued.job, held.n, held.queued.args))
            elif standing is Standing.LOST:
                self._lost(hand, held, "its host has forgotten it" if gone else "its runner died under it")
            else:
                follow.append((serial, held.queued.job, held.n))
        if again and not self.stopping:
            self._effects.append(Send(hand.id, tuple(again)))
        self._effects.append(Follow(hand.id, tuple(follow)))
        if self.stopping:
            self._end_all(hand)

    def _down(self, hand: Hand, fact: HostDown) -> None:
        if hand.line in (Line.RELEASED, Line.LOST):
            return
        if hand.line is Line.LEAVING:
            hand.line = Line.RELEASED
            return
        steady = hand.line is Line.UP and self._at - hand.came > 5.0
        hand.failures = 0 if steady else hand.failures + 1
        hand.line, hand.why = Line.DOWN, fact.why
        if hand.open and not hand.went and not self.stopping:
            hand.went = self._at
            seconds = max(0.0, self.spec.lease + MARGIN - (self._at - (hand.renewed or self._at)))
            self._effects.append(AwaitLease(hand.id, seconds, hand.went))
        if fact.fatal or (self.stopping and hand.failures):
            hand.line = Line.LOST
            self._happen(HostLost(at=self._at, worker=hand.id, why=fact.why))
        elif hand.failures >= STRIKES:
            self._happen(HostStruck(at=self._at, worker=hand.id, why=fact.why))
            hand.line = Line.RESTING
            self._effects.append(Rest(hand.id, DELAYS[-1]))

    def _refused(self, hand: Hand, why: str) -> None:
        """A host that can't start jobs rests; one that goes on so is let go, since no waiting helps it."""
        if hand.resting or hand.line is not Line.UP:
            return
        hand.refusals += 1
        hand.why = why
        self._happen(HostStruck(at=self._at, worker=hand.id, why=why))
        if hand.refusals < STRIKES:
            hand.resting = True
            self._effects.append(Rest(hand.id, DELAYS[hand.refusals + 1]))
        else:
            self._happen(HostLost(at=self._at, worker=hand.id, why=why))
            hand.line = Line.LEAVING
            self._effects.append(Release(hand.id))

    def _end_all(self, hand: Hand) -> None:
        if hand.line is Line.UP and hand.open:
            serials = tuple(sorted(hand.open))
            self._effects += [TakeBack(hand.id, serials), End(hand.id, serials)]

    # -- what to set in motion ------------------------------------------------------------------------------------

    def _decide(self) -> None:
        for hand in self.hands.values():
            if hand.line is Line.DOWN and (hand.open or not self._nothing_left()):
                hand.line = Line.CONNECTING
                delay = DELAYS[min(hand.failures, len(DELAYS) - 1)]
                self._effects.append(Connect(hand.id, tuple(sorted(hand.open)), delay))
        if self._over():
            self._leave()
            return
        if not self.stopping:
            self._deal()
            self._want()
            self._level()

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
                self._effects.append(Release(hand.id))
        if not any(hand.line is Line.LEAVING for hand in self.hands.values()):
            self.finished = True
            self._effects.append(Finish(bool(self.counts[JobState.QUEUED]) and not self.stopping))

    def _deal(self) -> None:
        """Hand out waiting jobs: free slots everywhere first, in equal parts, then ahead of need."""
        up = [hand for hand in self.hands.values() if hand.line is Line.UP and not hand.resting]
        if not up or not self.window:
            return
        share, queued = OPEN_LIMIT // len(up), self.counts[JobState.QUEUED]
        coming = self._coming(up)
        each = -(-(queued + sum(len(hand.open) for hand in up)) // (len(up) + coming))
        sends: dict[int, list[tuple[int, int, int, tuple[bytes, ...]]]] = {}
        if len(up) > 1:
            up.sort(key=lambda hand: len(hand.open) / hand.slots)
        passes = [(False, each), (False, OPEN_LIMIT), (True, max(each, -(-queued // len(up))))]
        if coming and queued <= (len(up) + coming) * max(hand.slots for hand in up):
            passes = passes[:1]  # there is not enough for all: keep their parts for those that are coming
        for ahead, most in passes:
            for hand in up:
                if not self.window:
                    break
                limit = hand.window(share) if ahead else hand.slots
                want = min(limit, most) - len(hand.open)
                if want > 0:
                    sends.setdefault(hand.id, []).extend(self._give(hand, want, alone=len(up) == 1))
        self._effects += [Send(worker, tuple(some)) for worker, some in sends.items() if some]

    def _coming(self, up: list[Hand]) -> int:
        """How many workers are just being reached for the first time: for a moment, jobs are kept for them."""
        coming = [
            h for h in self.hands.values() if h.line is Line.CONNECTING and not h.failures and not h.came
        ]
        if not coming:
            return 0
        if not self._first_up:
            self._first_up = self._at
            self._effects.append(Rest(up[0].id, WELCOME))
        return len(coming) if self._at - self._first_up < WELCOME else 0

    def _give(self, hand: Hand, want: int, *, alone: bool) -> list[tuple[int, int, int, tuple[bytes, ...]]]:
        """Dispatch up to `want` jobs to one worker, preferring jobs that have not failed on it."""
        window, at = self.window, self._at
        given: list[tuple[int, int, int, tuple[bytes, ...]]] = []
        aside: list[Queued] = []
        while window and len(given) < want:
            queued = window.popleft()
            if queued.avoid == hand.id and not alone and len(aside) < 64:
                aside.append(queued)
                continue
            serial, n = hand.serial + 1, queued.attempts + 1
            self._pick = queued
            self._happen(AttemptDispatched(at=at, job=queued.job, n=n, worker=hand.id, serial=serial))
            given.append((serial, queued.job, n, queued.args))
        window.extendleft(reversed(aside))
        return given

    def _want(self) -> None:
        """Ask for more waiting jobs before the window runs dry."""
        if self.loading or self.counts[JobState.QUEUED] <= len(self.window):
            return
        capacity = sum(hand.window(OPEN_LIMIT) for hand in self.hands.values() if hand.line is Line.UP)
        if len(self.window) <= max(capacity, 256):
            self.loading = True
            self._effects.append(NeedJobs(self.cursor, min(max(4 * capacity, 1024), OPEN_LIMIT)))

    def _level(self) -> None:
        """Take back what waits on a busy worker while another has nothing to do."""
        if self.counts[JobState.QUEUED]:
            return
        up = [hand for hand in self.hands.values() if hand.line is Line.UP and not hand.resting]
        free = sum(max(0, hand.slots - len(hand.open)) for hand in up)
        if not free:
            return
        if any(held.taken_back for hand in up for held in hand.open.values()):
            return
        victim = max(up, key=Hand.backlog)
        if victim.backlog() < max(0.1, 2 * victim.rtt):
            return
        surplus = victim.surplus()
        serials = surplus[: max(1, min(free, len(surplus) // 2 or 1))] if surplus else []
        for serial in serials:
            victim.open[serial].taken_back = True
        if serials:
            self._effects.append(TakeBack(victim.id, tuple(serials)))
