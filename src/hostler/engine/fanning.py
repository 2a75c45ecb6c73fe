"""Jobs that are pinned to one worker, and the hosts of a fan-out, each of which has one such job.

A pinned job goes to its worker or to nobody: where that can't be had it ends as unreachable, at once and with the
host's reason. A fan-out holds no more lines than it may, and lets each go as soon as its job has ended. It must never
give a pinned job to another worker, nor keep one waiting for a host that said no.
"""

from __future__ import annotations

from hostler.engine import attempts, dealing
from hostler.engine.batch import Batch
from hostler.engine.facts import Release, Send
from hostler.engine.hands import Hand, Line
from hostler.model.events import AttemptDispatched, HostLost
from hostler.model.health import Fault
from hostler.model.jobs import Ending, JobState

#: Lines that are open, or nearly.
HELD = (Line.CONNECTING, Line.UP, Line.LEAVING)
#: Lines that can be opened.
CLOSED = (Line.DOWN, Line.RELEASED)
#: Workers that get nothing any more.
OUT = (Line.LOST, Line.RESTING)


def deal(batch: Batch) -> None:
    """Give pinned jobs to their workers, as far as those have free slots and their wave has begun."""
    horizon = last_of_wave(batch)
    for worker, waiting in list(batch.pinned.items()):
        hand = batch.hands.get(worker)
        if hand is None or waiting[0].job > horizon:
            continue
        if hand.line in OUT or hand.resting or hand.retired:
            unreachable(batch, hand, hand.why or "it gets no more jobs")
        elif hand.line is Line.UP and len(hand.open) < hand.slots:
            given = dealing.give(batch, hand, hand.slots - len(hand.open), alone=True, among=waiting)
            batch.effects.append(Send(worker, tuple(given)))
            if not waiting:
                del batch.pinned[worker]


def last_of_wave(batch: Batch) -> float:
    """The number of the last job that may begin now: that of the wave which has not ended yet."""
    if batch.waves is None:
        return float("inf")
    waiting = [queued.job for some in batch.pinned.values() for queued in some]
    waiting += [job for _, job, _ in batch.later]
    waiting += [held.queued.job for hand in batch.hands.values() for held in hand.open.values()]
    return batch.waves.end(min(waiting, default=1), of=sum(batch.counts.values()))


def due(batch: Batch) -> set[int]:
    """The workers of a fan-out that may be called now: those whose jobs are next, as far as there is room for lines."""
    if batch.holding or not batch.pinned:
        return set()
    room = batch.spec.forks - sum(hand.line in HELD for hand in batch.hands.values())
    found: set[int] = set()
    if room <= 0:
        return found
    horizon = last_of_wave(batch)
    for worker, waiting in batch.pinned.items():
        hand = batch.hands.get(worker)
        if hand is not None and hand.line in CLOSED and waiting[0].job <= horizon:
            found.add(worker)
            if len(found) == room:
                break
    return found


def let_go(batch: Batch, hand: Hand) -> None:
    """Let a worker go once it holds nothing, and nothing waits for it."""
    if hand.line is Line.UP and not hand.open and hand.id not in batch.pinned and not batch.loading:
        hand.line = Line.LEAVING
        batch.effects.append(Release(hand.id))


def out(batch: Batch, hand: Hand, why: str) -> None:
    """A worker that holds nothing is out of reach. Nobody asks it again: whoever ran the command wants to know now."""
    hand.failures += 1
    hand.line, hand.why, hand.probed = Line.DOWN, why, 0.0
    if hand.id in batch.pinned and not batch.holding:
        hand.line, hand.out, hand.given_up = Line.LOST, True, True
        batch.happen(HostLost(at=batch.at, worker=hand.id, why=why, fault=Fault.UNREACHABLE.value))
        unreachable(batch, hand, why)


def unreachable(batch: Batch, hand: Hand, why: str) -> None:
    """End what waits for a worker that can't be had: an attempt that never left us."""
    for queued in batch.pinned.pop(hand.id, ()):
        serial, n = hand.serial + 1, queued.attempts + 1
        batch.pick = queued
        batch.happen(AttemptDispatched(at=batch.at, job=queued.job, n=n, worker=hand.id, serial=serial))
        held = hand.open[serial]
        attempts.ended(
            batch, hand, held, ending=Ending.UNREACHABLE, then=JobState.LOST, tries=queued.tries, detail=why
        )


def halted(batch: Batch) -> str:
    """Why a fan-out begins nothing more, in the words in which its rule was given."""
    assert batch.halt is not None
    some = batch.halt.count(batch.counts)
    least = f"{batch.halt.least:g}" + ("%" if batch.halt.percent else "")
    return f"--stop-after {least}: {some} host{'s' if some != 1 else ''} failed"
