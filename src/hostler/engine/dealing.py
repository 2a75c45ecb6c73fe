"""Which waiting job goes to which worker, and when it is taken back.

Free slots come first, then work ahead of need; what waits on a busy worker is given back to an idle one, but only once
its host has confirmed that it never started it.
"""

from __future__ import annotations

from collections import deque

from hostler.engine import trust
from hostler.engine.batch import Batch
from hostler.engine.facts import NeedJobs, Send, TakeBack
from hostler.engine.hands import OPEN_LIMIT, Hand, Line
from hostler.model.events import AttemptDispatched
from hostler.model.jobs import JobState, Queued

#: Seconds after the first worker has come in which few jobs are kept for those that are still coming.
WELCOME = 1.0
#: Seconds after which a worker that should soon be idle is looked at again, while another is idle.
LOOK = 0.25
#: A start as it is sent: serial, job, n, arguments.
Sent = tuple[int, int, int, tuple[bytes, ...]]


def deal(batch: Batch) -> None:
    """Hand out waiting jobs: free slots everywhere first, in equal parts, then ahead of need."""
    batch.bring_due()
    up = takers(batch)
    if not up or not (batch.window or batch.suspects):
        return
    if batch.spec.delay:
        one_at_a_time(batch, up)
        return
    share, queued = OPEN_LIMIT // len(up), batch.ready
    awaited = expected(batch)
    each = -(-(queued + sum(len(hand.open) for hand in up)) // (len(up) + awaited))
    sends: dict[int, list[Sent]] = {}
    if len(up) > 1:
        up.sort(key=lambda hand: len(hand.open) / hand.slots)
    passes = [(False, each), (False, OPEN_LIMIT), (True, max(each, -(-queued // len(up))))]
    if awaited and queued <= (len(up) + awaited) * max(hand.slots for hand in up):
        passes = passes[:1]  # there is not enough for all: keep their parts for those that are coming
    if batch.halt is not None or batch.spec.strikes:
        passes = passes[:2]  # what is sent ahead of need might still begin after the halt, or the last strike
    for ahead, most in passes:
        for hand in up:
            if not batch.window:
                break
            limit = hand.window(share) if ahead else hand.slots
            if trust.on_probation(batch, hand):
                limit = 1
            want = min(limit, most) - len(hand.open)
            if want > 0 and not hand.alone:
                sends.setdefault(hand.id, []).extend(give(batch, hand, want, alone=len(up) == 1))
    for hand in up:
        if batch.suspects and not hand.open:
            sends.setdefault(hand.id, []).extend(
                give(batch, hand, 1, alone=len(up) == 1, among=batch.suspects)
            )
    batch.effects += [Send(worker, tuple(some)) for worker, some in sends.items() if some]


def takers(batch: Batch) -> list[Hand]:
    """The workers that may be given jobs."""
    hands = batch.hands.values()
    return [hand for hand in hands if hand.line is Line.UP and not (hand.resting or hand.retired)]


def one_at_a_time(batch: Batch, up: list[Hand]) -> None:
    """Begin one job where a slot is free, and no other before the delay has passed: nothing is sent ahead of need."""
    among = batch.window or batch.suspects
    free = [
        hand
        for hand in up
        if len(hand.open) < (1 if trust.on_probation(batch, hand) else hand.slots)
        and not hand.alone
        and not (hand.open and among is batch.suspects)
    ]
    if not free:
        return
    if batch.at < batch.next_start:
        batch.wake(batch.next_start)
        return
    free.sort(key=lambda hand: len(hand.open) / hand.slots)
    for hand in free:
        if some := give(batch, hand, 1, alone=len(up) == 1, among=among):
            batch.effects.append(Send(hand.id, tuple(some)))
            break
    batch.next_start = batch.at + batch.spec.delay
    batch.wake(batch.next_start)


def expected(batch: Batch) -> int:
    """How many workers are just being reached for the first time: for a moment, jobs are kept for them."""
    coming = [
        h
        for h in batch.hands.values()
        if h.line is Line.CONNECTING and not (h.failures or h.came or trust.on_probation(batch, h))
    ]
    if not coming:
        return 0
    if not batch.first_up:
        batch.first_up = batch.at
        batch.wake(batch.at + WELCOME)
    return len(coming) if batch.at - batch.first_up < WELCOME else 0


def give(
    batch: Batch, hand: Hand, want: int, *, alone: bool, among: deque[Queued] | None = None
) -> list[Sent]:
    """Dispatch up to `want` jobs to one worker, those of the window, preferring jobs that have not failed on it."""
    window, at = batch.window if among is None else among, batch.at
    given: list[Sent] = []
    aside: list[Queued] = []
    while window and len(given) < want:
        queued = window.popleft()
        if queued.avoid == hand.id and not alone and len(aside) < 64:
            aside.append(queued)
            continue
        serial, n = hand.serial + 1, queued.attempts + 1
        batch.pick = queued
        batch.happen(AttemptDispatched(at=at, job=queued.job, n=n, worker=hand.id, serial=serial))
        given.append((serial, queued.job, n, queued.args))
    window.extendleft(reversed(aside))
    return given


def want(batch: Batch) -> None:
    """Ask for more waiting jobs before the window runs dry."""
    if batch.loading or batch.counts[JobState.QUEUED] <= batch.here or len(batch.later) >= OPEN_LIMIT:
        return
    capacity = sum(hand.window(OPEN_LIMIT) for hand in batch.hands.values() if hand.line is Line.UP)
    if len(batch.window) <= max(capacity, 256):
        batch.loading = True
        batch.effects.append(NeedJobs(batch.cursor, min(max(4 * capacity, 1024), OPEN_LIMIT)))


def level(batch: Batch) -> None:
    """Take back what waits on a busy worker while another has nothing to do."""
    if batch.ready > 0:
        return
    up = takers(batch)
    free = sum(max(0, hand.slots - len(hand.open)) for hand in up)
    if not free:
        return
    if any(held.taken_back for hand in up for held in hand.open.values()):
        return
    victim = max(up, key=lambda hand: hand.backlog(batch.at))
    surplus = victim.surplus()
    if victim.backlog(batch.at) < max(0.1, 2 * victim.rtt):
        if surplus:  # it should be through with them in no time: see whether it is
            batch.wake((batch.at // LOOK + 1) * LOOK)
        return
    serials = surplus[: max(1, min(free, len(surplus) // 2 or 1))] if surplus else []
    for serial in serials:
        victim.open[serial].taken_back = True
    if serials:
        batch.effects.append(TakeBack(victim.id, tuple(serials)))
