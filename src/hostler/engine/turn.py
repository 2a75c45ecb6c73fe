"""One turn of a batch: facts judged, then what they call for set in motion.

`step` takes the facts that have arrived and answers with events and effects. What a fact makes of itself is judged,
then the whole is looked at and intents are added. An intent is an event too, so it is never proposed twice, and because
it is committed before its effect is performed, a crash can only find more than was done, never less. An attempt that
was dispatched is asked after, never run again blindly; it ends when its host says so, or when its host has been silent
for longer than its lease.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from hostler.engine import attempts, dealing, fanning, lines, requests, trust
from hostler.engine.batch import Batch
from hostler.engine.facts import (
    Asked,
    Connect,
    Effect,
    Fact,
    Finish,
    Heard,
    HostDown,
    HostUp,
    JobsLoaded,
    LeaseOver,
    MachineEnded,
    Release,
    Rested,
    StopWanted,
    Woke,
    WorkerReleased,
)
from hostler.engine.hands import DELAYS, EAGER, Hand, Line
from hostler.model.events import Event, HostReleased
from hostler.model.jobs import JobState
from hostler.model.reports import Refused

#: Jobs in a row, beyond its slots, that a host may give back unasked before it is taken for one that can't work.
PUT_UP_WITH = 8


def step(batch: Batch, facts: Iterable[Fact], *, at: float) -> tuple[list[Event], list[Effect]]:
    """Take in facts; the events to commit, then the effects to perform once they are."""
    batch.begin(at)
    for fact in facts:
        judge(batch, fact)
    if not batch.finished:
        decide(batch)
    return batch.answer()


def judge(batch: Batch, fact: Fact) -> None:
    """Take in one fact."""
    if isinstance(fact, Heard):
        hand = batch.hands[fact.worker]
        before = hand.unasked
        attempts.heard(batch, hand, fact.report, fact.output)
        if isinstance(fact.report, Refused):
            lines.refused(batch, hand, fact.report.why)
        elif hand.unasked > max(before, hand.slots + PUT_UP_WITH):  # no other word is held against it
            lines.refused(batch, hand, "it gives jobs back unasked")
    elif isinstance(fact, HostUp):
        lines.up(batch, batch.hands[fact.worker], fact)
    elif isinstance(fact, HostDown):
        lines.down(batch, batch.hands[fact.worker], fact)
    elif isinstance(fact, JobsLoaded):
        loaded(batch, fact)
    elif isinstance(fact, Rested):
        hand = batch.hands[fact.worker]
        hand.resting = False
        if hand.gone:
            return
        if hand.line is Line.RESTING or (hand.line is Line.LOST and not batch.ending):
            hand.line = Line.DOWN
    elif isinstance(fact, LeaseOver):
        hand = batch.hands[fact.worker]
        if hand.line is not Line.UP and hand.went == fact.since:
            begun, why = attempts.at_work(hand), "its host was silent for longer than the lease"
            for serial, held in list(hand.open.items()):
                strike = why.removeprefix("its host ")
                attempts.lost(batch, hand, held, why, silent=True, at_work=serial in begun, strike=strike)
    elif isinstance(fact, MachineEnded):
        lines.ended(batch, batch.hands[fact.worker], fact.by)
    elif isinstance(fact, StopWanted):
        lines.stop(batch, fact.why, drain=fact.drain)
    elif isinstance(fact, Asked):
        requests.asked(batch, fact)
    elif isinstance(fact, Woke):
        batch.awaited.discard(fact.moment)
    elif isinstance(fact, WorkerReleased):
        batch.hands[fact.worker].line = Line.RELEASED
        batch.happen(HostReleased(at=batch.at, worker=fact.worker))


def loaded(batch: Batch, fact: JobsLoaded) -> None:
    """Waiting jobs have come from the store."""
    batch.loading = False
    if fact.jobs:
        batch.cursor = (fact.jobs[-1].tries, fact.jobs[-1].job)
        here = batch.numbers() | batch.cancelled
        for queued in fact.jobs:
            if queued.job not in here:
                batch.take_in(queued)
    elif batch.counts[JobState.QUEUED] > batch.here:
        # Some wait behind the cursor: look from the beginning; what is here is not doubled.
        batch.cursor = (0, 0)


def decide(batch: Batch) -> None:
    """Look at the whole, and set in motion what it calls for."""
    halt(batch)
    requests.settle(batch)
    fanout = batch.spec.fanout
    due = fanning.due(batch) if fanout else frozenset()
    for hand in batch.hands.values():
        if hand.probed:
            trust.look(batch, hand)
        if hand.retired:
            trust.let_go(batch, hand)
        if fanout:
            fanning.let_go(batch, hand)
        if hand.line is Line.RELEASED and not (hand.retired or nothing_left(batch)):
            # It was let go because all was done, and then more jobs came.
            hand.line = Line.DOWN if not fanout or hand.id in batch.pinned else Line.RELEASED
        if hand.line is Line.DOWN and (wanted(batch, hand) if not fanout else called(batch, hand, due)):
            hand.line = Line.CONNECTING
            delay = DELAYS[min(hand.failures, len(DELAYS) - 1)]
            if hand.open and not batch.spec.detached:
                delay = min(delay, EAGER)
            batch.effects.append(Connect(hand.id, tuple(sorted(hand.open)), delay, hand.serial))
    if over(batch):
        leave(batch)
        return
    if not batch.holding:
        dealing.deal(batch)
        if batch.pinned:
            fanning.deal(batch)
        dealing.want(batch)
        dealing.level(batch)


def halt(batch: Batch) -> None:
    """End the run early if its own rules say so; when they are about time, be there in time."""
    if batch.visiting:
        return
    rule, until = batch.halt, batch.spec.until
    if rule is not None and rule.met(batch.counts, since=batch.counted_before):
        why = fanning.halted(batch) if batch.spec.fanout else rule.words(batch.counts)
        lines.stop(batch, why, drain=not rule.now, halted=True)
    if not batch.stopping and (why := trust.too_many_bad(batch)):
        lines.stop(batch, why, drain=True, halted=True)
    if until is None or batch.ending:
        return
    if batch.at >= until:
        lines.stop(
            batch, "its --deadline has come (a resume with a new --deadline gives it more time)", halted=True
        )
    else:
        batch.wake(until)


def wanted(batch: Batch, hand: Hand) -> bool:
    """Whether a worker that is not there is to be reached."""
    if batch.visiting:
        return any(held.queued.job in batch.cancelling for held in hand.open.values())
    return bool(hand.open) or hand.owed or not (hand.retired or nothing_left(batch))


def called(batch: Batch, hand: Hand, due: AbstractSet[int]) -> bool:
    """The same for a host of a fan-out: nobody is called before the turn of its job."""
    return hand.id in due or ((bool(hand.open) or hand.owed) and wanted(batch, hand))


def nothing_left(batch: Batch) -> bool:
    """Whether no job waits or is open, or none is to be begun any more."""
    return batch.stopping or not (batch.counts[JobState.QUEUED] or batch.counts[JobState.OPEN])


def over(batch: Batch) -> bool:
    """Whether nothing more will happen by waiting."""
    hands = batch.hands.values()
    if batch.visiting or any(hand.owed for hand in hands):
        return not any(wanted(batch, h) and h.line in (Line.UP, Line.CONNECTING, Line.DOWN) for h in hands)
    if batch.draining:
        return not awaited(batch)
    if batch.stopping:
        return not any(h.open and h.line in (Line.UP, Line.CONNECTING, Line.DOWN) for h in hands)
    if nothing_left(batch) or not (batch.counts[JobState.QUEUED] or awaited(batch)):
        return True
    usable = any(h.line in (Line.UP, Line.CONNECTING, Line.DOWN) and not trust.spent(h) for h in hands)
    return not usable and not awaited(batch)


def awaited(batch: Batch) -> bool:
    """Whether we shall hear of an attempt that is open: where hosts have a lease, of each, when that ends."""
    if batch.spec.detached:
        return any(h.open and h.line not in (Line.LOST, Line.RELEASED) for h in batch.hands.values())
    return bool(batch.counts[JobState.OPEN])


def leave(batch: Batch) -> None:
    """Let every worker go; the run is over when the last one has gone. A visit leaves them as they are."""
    if batch.visiting:
        batch.finished = True
        batch.effects.append(Finish(False))
        return
    for hand in batch.hands.values():
        if hand.line is Line.UP:
            hand.line = Line.LEAVING
            batch.effects.append(Release(hand.id))
    if not any(hand.line is Line.LEAVING for hand in batch.hands.values()):
        batch.finished = True
        batch.effects.append(Finish(bool(batch.counts[JobState.QUEUED]) and not batch.stopping))
