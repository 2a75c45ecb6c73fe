"""Which hosts are trusted with how much: strikes, probation, retirement, and how many bad ones a run puts up with.

A machine that failed us is left alone for a while, then probed: by one connect, or where it failed with jobs on it, by
one job. Nothing here is any job's fault, and nothing costs one a retry.
"""

from __future__ import annotations

from hostler.engine.batch import Batch
from hostler.engine.facts import Release, Rest, TakeBack
from hostler.engine.hands import DELAYS, STRIKES, Hand, Line
from hostler.model.badhosts import BadHosts
from hostler.model.events import HostRetired, HostStruck, HostTrusted
from hostler.model.health import LONGEST_REST, Fault
from hostler.model.jobs import BLAMES_JOB, Ending, JobState

#: Seconds that a job must have run on a host on probation to show that the host is well.
PROOF = 10.0
#: Bad hosts that are named one by one.
NAMED = 3


def on_probation(batch: Batch, hand: Hand) -> bool:
    """Whether a worker's machine has yet to show that it is well."""
    health = batch.health.get(hand.machine)
    return health is not None and health.probation and health.probation_at(batch.at)


def patience(batch: Batch, hand: Hand, *, broke: bool = False) -> int:
    """Tries to reach a worker, all failing, after which it is struck: one for a machine known to be bad.

    Unless there is no other host to work on meanwhile, or it was there just now and its line `broke`.
    """
    others = any(other.line is Line.UP for other in batch.hands.values())
    return 1 if others and not broke and on_probation(batch, hand) else STRIKES


def strike(batch: Batch, hand: Hand, fault: Fault, why: str, *, rests: bool = True) -> None:
    """Strike a worker; one that `rests` is left alone for as long as its strikes say."""
    rest = batch.health_of(hand).struck(batch.at, fault, why).rest_at(batch.at)
    if fault is Fault.REFUSED and hand.refusals < STRIKES:
        rest = DELAYS[hand.refusals + 1]
    until = batch.at + rest if rests else None
    batch.happen(HostStruck(at=batch.at, worker=hand.id, why=why, fault=fault.value, until=until))
    if rests:
        batch.effects.append(Rest(hand.id, rest))


def lost_work(batch: Batch, hand: Hand, why: str, *, silent: bool) -> None:
    """A worker's attempts are gone: one strike, however many they are. One that is only `silent` may come back well."""
    if hand.id not in batch.struck:
        batch.struck.add(hand.id)
        strike(batch, hand, Fault.UNREACHABLE if silent else Fault.LOST, why, rests=False)
    hand.probed = 0.0


def probed(batch: Batch, hand: Hand) -> None:
    """A job has begun on a worker; on one that is on probation, look again when it has run for long enough."""
    if not hand.probed and on_probation(batch, hand):
        hand.probed = batch.at
        batch.wake(batch.at + PROOF)


def ended(batch: Batch, hand: Hand, ending: Ending) -> None:
    """A worker has brought a job to its own end, which is all that is asked of it."""
    if (ending is Ending.OK or ending in BLAMES_JOB) and on_probation(batch, hand):
        trust(batch, hand)


def trust(batch: Batch, hand: Hand) -> None:
    """Let a worker back in."""
    hand.probed = 0.0
    batch.happen(HostTrusted(at=batch.at, worker=hand.id))


def look(batch: Batch, hand: Hand) -> None:
    """Let a worker back in whose probe has run for long enough."""
    if hand.line is Line.UP and batch.at - hand.probed >= PROOF:
        if hand.open and on_probation(batch, hand):
            trust(batch, hand)
        hand.probed = 0.0


# -- --strikes ----------------------------------------------------------------------------------------------------


def counts_out(batch: Batch, hand: Hand, ending: Ending) -> bool:
    """Whether this end is the last in a row of failures after which the worker is retired (--strikes)."""
    if ending is Ending.OK:
        hand.misses = 0
    elif ending in BLAMES_JOB:
        hand.misses += 1
    most = batch.spec.strikes
    return bool(most) and hand.misses >= most and not hand.retired


def retire(batch: Batch, hand: Hand, job: int) -> None:
    """Give a worker no more jobs, `job` being the last: what it has not started is taken back, what runs is let end."""
    hand.retired = True
    times = f"{hand.misses} jobs in a row" if hand.misses > 1 else "a job"
    why = f"{times} failed or timed out on it (--strikes {batch.spec.strikes})"
    batch.happen(HostRetired(at=batch.at, worker=hand.id, why=why, job=job))
    serials = tuple(serial for serial, held in sorted(hand.open.items()) if not held.started)
    if hand.line is Line.UP and serials:
        for serial in serials:
            hand.open[serial].taken_back = True
        batch.effects.append(TakeBack(hand.id, serials))


def let_go(batch: Batch, hand: Hand) -> None:
    """Let a retired worker go once it holds nothing."""
    if hand.line is Line.UP and not hand.open:
        hand.line = Line.LEAVING
        batch.effects.append(Release(hand.id))


# -- --max-bad-hosts ------------------------------------------------------------------------------------------------


def spent(hand: Hand) -> bool:
    """Whether a worker, though it answers, gets no jobs for longer than a moment."""
    return hand.retired or (hand.resting and hand.refusals >= STRIKES)


def bad(hand: Hand) -> bool:
    """Whether a worker can't be had: out of reach, refusing, given up or retired."""
    return hand.out or hand.line is Line.LOST or spent(hand)


def too_many_bad(batch: Batch) -> str:
    """Why the run is to be ended for its bad hosts; empty when it isn't."""
    rule = batch.bad_hosts
    if rule is not None:
        worse = [hand for hand in batch.hands.values() if bad(hand)]
        if rule.exceeded(len(worse), hosts=len(batch.hands)):
            return _words(batch, rule, worse)
    hands = batch.hands.values()
    if batch.spec.strikes and hands and batch.counts[JobState.QUEUED] and all(hand.retired for hand in hands):
        return f"--strikes {batch.spec.strikes}: every host has been retired"
    return ""


def _words(batch: Batch, rule: BadHosts, worse: list[Hand]) -> str:
    called = {id: name for name, id in batch.names.items()}
    names = ", ".join(called.get(hand.id, str(hand.id)) for hand in worse[:NAMED])
    more = f" and {len(worse) - NAMED} more" if len(worse) > NAMED else ""
    return f"--max-bad-hosts {rule}: {len(worse)} of {len(batch.hands)} hosts are bad ({names}{more})"


def second_look(batch: Batch, hand: Hand) -> None:
    """Try a worker that was given up once more, much later: some say no only for a while.

    Not where a password is told there: asking again with a wrong one locks accounts.
    """
    if not (batch.ending or batch.spec.secrets or batch.spec.as_user):
        batch.effects.append(Rest(hand.id, LONGEST_REST))
