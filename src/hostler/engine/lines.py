"""Hosts that come, go, refuse and come back: what each means for the batch.

A host's trouble is never its jobs' fault: it costs no job a retry.
"""

from __future__ import annotations

from hostler.engine import attempts, fanning, trust
from hostler.engine.batch import Batch
from hostler.engine.facts import AskAfter, AwaitLease, End, Follow, HostDown, HostUp, Send, TakeBack
from hostler.engine.hands import STRIKES, Hand, Line
from hostler.model.events import HostConnected, HostLost, HostOut, StopRequested
from hostler.model.health import Fault
from hostler.model.jobs import Ending, JobState
from hostler.model.reports import Standing

#: Seconds beyond the lease before an attempt on a silent host is given up: clocks differ, lines are slow.
MARGIN = 10.0


def up(batch: Batch, hand: Hand, fact: HostUp) -> None:
    """A worker answers: what it holds of ours is followed, sent again, or given up, as it says."""
    hello = fact.hello
    gone = hand.spool is not None and hand.spool != hello.spool
    vitals = hello.vitals
    batch.happen(
        HostConnected(
            at=batch.at, worker=hand.id, spool=hello.spool, boot=hello.boot, slots=hello.slots, way=fact.way,
            took=fact.took, skew=fact.skew, free=vitals.free, load=vitals.load, cpus=vitals.cpus,
        )
    )  # fmt: skip
    hand.line, hand.slots, hand.why = Line.UP, hello.slots, ""
    hand.renewed = hand.came = batch.at
    hand.went = hand.probed = 0.0
    hand.owed = hand.out = hand.given_up = False
    again, follow = [], []
    begun = attempts.at_work(hand)
    for serial in sorted(hand.open):
        held = hand.open[serial]
        standing = Standing.LOST if gone else hello.standings.get(serial, Standing.UNKNOWN)
        if standing is Standing.UNKNOWN:
            held.again = True
            again.append((serial, held.queued.job, held.n, held.queued.args))
        elif standing is Standing.LOST:
            why = "its host has forgotten it" if gone else "its runner died under it"
            strike = "it has forgotten what it held: it was rebooted, or wiped" if gone else "its runner died"
            attempts.lost(batch, hand, held, why, at_work=not gone or serial in begun, strike=strike)
        else:
            if standing is Standing.RUNNING:
                trust.probed(batch, hand)
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
    if batch.spec.fanout and not hand.open:
        fanning.out(batch, hand, fact.why)
        return
    broke = hand.line is Line.UP
    steady = broke and batch.at - hand.came > 5.0
    hand.failures = 0 if steady else hand.failures + 1
    hand.line, hand.why = Line.DOWN, fact.why
    if hand.launched and not batch.visiting:
        batch.effects.append(AskAfter(hand.id))
    until = None
    if hand.open and not (hand.went or batch.ending or batch.spec.detached):
        hand.went = batch.at
        whole = batch.spec.lease + MARGIN
        # Never longer than that, though the last controller's clock was ahead of ours.
        seconds = min(whole, max(0.0, whole - (batch.at - (hand.renewed or batch.at))))
        batch.effects.append(AwaitLease(hand.id, seconds, hand.went))
        until = hand.until = batch.at + seconds
    fatal = fact.fatal
    if fact.nonsense and fatal:  # a host that was well may just be seen to: it is as one out of reach
        fatal = not (hand.came or hand.open)
    elif fact.nonsense:  # a job may have spoilt a line; who spoils each would be sent the same jobs for ever
        hand.nonsense += 1
        fatal = hand.nonsense >= STRIKES
    if fatal or (batch.ending and hand.failures):
        give_up(batch, hand, fact, fatal=fatal)
    elif hand.failures >= trust.patience(batch, hand, broke=broke):
        # Where work of ours is, somebody goes on knocking: it is waited for, though not by who only visits.
        knocks = bool(hand.open) and not (batch.spec.detached or batch.visiting)
        if not (knocks and hand.out):
            trust.strike(batch, hand, Fault.UNREACHABLE, fact.why, rests=not knocks)
        hand.out = True
        hand.line = Line.DOWN if knocks else Line.RESTING
    elif broke or hand.failures == 1:
        # When its line breaks, and when the first try after that fails: not for each of a thousand tries.
        batch.happen(HostOut(at=batch.at, worker=hand.id, why=fact.why, until=until))


def ended(batch: Batch, hand: Hand, by: str) -> None:
    """A worker's machine is no more: what it held is lost at once, whatever lease it was given.

    No strike: nobody will ever meet that machine again. One that answers is not believed to be gone.
    """
    if hand.gone or hand.line in (Line.UP, Line.LEAVING, Line.RELEASED):
        return
    why = f"its machine has ended, {by} says"
    begun = attempts.at_work(hand)
    for serial, held in list(hand.open.items()):
        attempts.lost(batch, hand, held, why, at_work=serial in begun, strike=None)
    hand.line, hand.why, hand.probed, hand.gone = Line.LOST, why, 0.0, True
    hand.out = hand.given_up = True
    batch.happen(HostLost(at=batch.at, worker=hand.id, why=why))


def give_up(batch: Batch, hand: Hand, fact: HostDown, *, fatal: bool) -> None:
    """Do without a worker; one that said no is asked once more, much later."""
    hand.line = Line.LOST
    if not hand.given_up:
        fault = Fault.UNREACHABLE.value if fatal else ""
        batch.happen(HostLost(at=batch.at, worker=hand.id, why=fact.why, fault=fault))
    hand.out = hand.given_up = True
    if fatal:
        trust.second_look(batch, hand)


def refused(batch: Batch, hand: Hand, why: str) -> None:
    """A host that can't start jobs rests, ever longer, and is then probed by one job."""
    if hand.resting or hand.line is not Line.UP:
        return
    hand.refusals += 1
    hand.why, hand.resting = why, True
    trust.strike(batch, hand, Fault.REFUSED, why)


def end_all(batch: Batch, hand: Hand) -> None:
    """Have a worker give back what it has not started, and end the rest, unless that is let end by itself."""
    if hand.line is Line.UP and hand.open:
        serials = tuple(sorted(hand.open))
        for held in hand.open.values():
            held.taken_back = not held.started
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
        hand.open[serial].taken_back = not hand.open[serial].started
        batch.effects += [TakeBack(hand.id, (serial,)), End(hand.id, (serial,), Ending.CANCELLED)]


def stop(batch: Batch, why: str, *, drain: bool = False, halted: bool = False) -> None:
    """Begin nothing more, and end what runs unless it is to drain; a stop that drains may still become a plain one."""
    left = batch.counts[JobState.QUEUED] + batch.counts[JobState.OPEN]
    if not left or batch.ending or (batch.stopping and drain):
        return
    batch.happen(StopRequested(at=batch.at, why=why, drain=drain, halted=halted))
    for hand in batch.hands.values():
        end_all(batch, hand)
