"""Hosts that come, go, refuse and come back: what each means for the batch.

A host's trouble is never its jobs' fault: it costs no job a retry.
"""

from __future__ import annotations

from hostler.engine import attempts
from hostler.engine.batch import Batch
from hostler.engine.facts import AwaitLease, End, Follow, HostDown, HostUp, Release, Rest, Send, TakeBack
from hostler.engine.hands import DELAYS, STRIKES, Hand, Line
from hostler.model.events import HostConnected, HostLost, HostOut, HostStruck, StopRequested
from hostler.model.jobs import Ending, JobState
from hostler.model.reports import Standing

#: Seconds beyond the lease before an attempt on a silent host is given up: clocks differ, lines are slow.
MARGIN = 10.0


def up(batch: Batch, hand: Hand, fact: HostUp) -> None:
    """A worker answers: what it holds of ours is followed, sent again, or given up, as it says."""
    hello = fact.hello
    gone = hand.spool is not None and hand.spool != hello.spool
    batch.happen(
        HostConnected(
            at=batch.at, worker=hand.id, spool=hello.spool, boot=hello.boot, slots=hello.slots, way=fact.way
        )
    )
    hand.line, hand.slots, hand.why = Line.UP, hello.slots, ""
    hand.renewed = hand.came = batch.at
    hand.went, hand.owed = 0.0, False
    again, follow = [], []
    for serial in sorted(hand.open):
        held = hand.open[serial]
        standing = Standing.LOST if gone else hello.standings.get(serial, Standing.UNKNOWN)
        if standing is Standing.UNKNOWN:
            again.append((serial, held.queued.job, held.n, held.queued.args))
        elif standing is Standing.LOST:
            attempts.lost(
                batch, hand, held, "its host has forgotten it" if gone else "its runner died under it"
            )
        else:
            follow.append((serial, held.queued.job, held.n))
    again = [start for start in again if start[1] not in batch.cancelling]
    if again and not batch.holding:
        batch.effects.append(Send(hand.id, tuple(again)))
    batch.effects.append(Follow(hand.id, tuple(follow)))
    if batch.stopping:
        end_all(batch, hand)
    elif batch.paused:
        call_back(batch, hand)
    for serial, held in hand.open.items():
        if held.queued.job in batch.cancelling:
            cancel(batch, hand, serial)


def down(batch: Batch, hand: Hand, fact: HostDown) -> None:
    """A worker's line is gone, or could not be opened: try again, ever later; its jobs stay its own for the lease."""
    if hand.line in (Line.RELEASED, Line.LOST):
        return
    if hand.line is Line.LEAVING:
        hand.line = Line.RELEASED
        return
    broke = hand.line is Line.UP
    steady = broke and batch.at - hand.came > 5.0
    hand.failures = 0 if steady else hand.failures + 1
    hand.line, hand.why = Line.DOWN, fact.why
    until = None
    if hand.open and not (hand.went or batch.ending or batch.spec.detached):
        hand.went = batch.at
        seconds = max(0.0, batch.spec.lease + MARGIN - (batch.at - (hand.renewed or batch.at)))
        batch.effects.append(AwaitLease(hand.id, seconds, hand.went))
        until = hand.until = batch.at + seconds
    if fact.fatal or (batch.ending and hand.failures):
        hand.line = Line.LOST
        batch.happen(HostLost(at=batch.at, worker=hand.id, why=fact.why))
    elif hand.failures >= STRIKES:
        batch.happen(HostStruck(at=batch.at, worker=hand.id, why=fact.why))
        hand.line = Line.RESTING
        batch.effects.append(Rest(hand.id, DELAYS[-1]))
    elif broke or hand.failures == 1:
        # When its line breaks, and when the first try after that fails: not for each of a thousand tries.
        batch.happen(HostOut(at=batch.at, worker=hand.id, why=fact.why, until=until))


def refused(batch: Batch, hand: Hand, why: str) -> None:
    """A host that can't start jobs rests; one that goes on so is let go, since no waiting helps it."""
    if hand.resting or hand.line is not Line.UP:
        return
    hand.refusals += 1
    hand.why = why
    batch.happen(HostStruck(at=batch.at, worker=hand.id, why=why))
    if hand.refusals < STRIKES:
        hand.resting = True
        batch.effects.append(Rest(hand.id, DELAYS[hand.refusals + 1]))
    else:
        batch.happen(HostLost(at=batch.at, worker=hand.id, why=why))
        hand.line = Line.LEAVING
        batch.effects.append(Release(hand.id))


def end_all(batch: Batch, hand: Hand) -> None:
    """Have a worker give back what it has not started, and end the rest, unless that is let end by itself."""
    if hand.line is Line.UP and hand.open:
        serials = tuple(sorted(hand.open))
        batch.effects.append(TakeBack(hand.id, serials))
        if not batch.draining:
            batch.effects.append(End(hand.id, serials))


def call_back(batch: Batch, hand: Hand) -> None:
    """Have a worker give back what it has not started."""
    serials = tuple(serial for serial, held in sorted(hand.open.items()) if not held.started)
    if hand.line is Line.UP and serials:
        for serial in serials:
            hand.open[serial].taken_back = True
        batch.effects.append(TakeBack(hand.id, serials))


def cancel(batch: Batch, hand: Hand, serial: int) -> None:
    """Have a worker give an attempt back, or end it when it has begun."""
    if hand.line is Line.UP:
        batch.effects += [TakeBack(hand.id, (serial,)), End(hand.id, (serial,), Ending.CANCELLED)]


def stop(batch: Batch, why: str, *, drain: bool = False, halted: bool = False) -> None:
    """Begin nothing more, and end what runs unless it is to drain; a stop that drains may still become a plain one."""
    left = batch.counts[JobState.QUEUED] + batch.counts[JobState.OPEN]
    if not left or batch.ending or (batch.stopping and drain):
        return
    batch.happen(StopRequested(at=batch.at, why=why, drain=drain, halted=halted))
    for hand in batch.hands.values():
        end_all(batch, hand)
