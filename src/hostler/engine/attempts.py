"""What a host's report on an attempt means for the job: ended, tried again, given back, lost.

Only the job's own endings cost it a retry; what befell its host costs it nothing.
"""

from __future__ import annotations

from msgspec.structs import replace

from hostler.engine import trust
from hostler.engine.batch import Batch
from hostler.engine.hands import Hand, Try
from hostler.model.events import AttemptEnded, AttemptStarted, AttemptSuperseded
from hostler.model.jobs import BLAMES_JOB, STATE_AFTER, Ending, JobState, OutputRef, Queued
from hostler.model.reports import Began, Lost, Refused, Renewed, Report, Result, Revoked

#: Hosts that may be lost while a job runs there before it is quarantined: it must be what kills them.
KILLS = 3
UNASKED = "its host gave it back unasked"
WITHOUT_END = (Ending.REVOKED, Ending.INTERRUPTED)


def heard(batch: Batch, hand: Hand, report: Report, output: OutputRef | None) -> None:
    """Take in one report; `output` says where a result's output has been put."""
    if isinstance(report, Renewed):
        hand.renewed = batch.at
        hand.rtt = report.rtt if not hand.rtt else min(hand.rtt * 1.1, report.rtt)
        return
    serial = getattr(report, "serial", 0)
    held = hand.open.get(serial)
    if held is None:
        if isinstance(report, (Result, Lost)):
            late(batch, hand, report)
        return
    if isinstance(report, Result):
        batch.ack(hand.id, serial)
        result(batch, hand, held, report, output)
    elif isinstance(report, Began):
        held.taken_back = False  # this is also the answer when it was too late to take it back
        if not held.started:
            batch.found = (hand, serial)
            batch.happen(AttemptStarted(at=batch.at - report.ago, job=held.queued.job, n=held.n))
            trust.probed(batch, hand)
    elif isinstance(report, Revoked):
        asked = held.taken_back or held.again
        hand.unasked += not asked
        give_back(batch, hand, held, "" if asked else UNASKED)
    elif isinstance(report, Refused):
        give_back(batch, hand, held, report.why)
    elif isinstance(report, Lost):
        batch.ack(hand.id, serial)
        lost(batch, hand, held, report.why)


def result(batch: Batch, hand: Hand, held: Try, report: Result, output: OutputRef | None) -> None:
    """An attempt has ended, and its host says how."""
    queued, ending = held.queued, report.ending
    tries = queued.tries + (ending in BLAMES_JOB)
    then, again = STATE_AFTER[ending], batch.retry.takes(ending, report.code)
    if again and ((ending in BLAMES_JOB and tries <= batch.spec.retries) or ending is Ending.INTERRUPTED):
        then = JobState.QUEUED
    retired = trust.counts_out(batch, hand, ending)
    if retired:  # it may have been the host's doing: what it failed last is not held against the job
        then, tries = JobState.QUEUED, queued.tries
    ended(batch,
        hand, held, ending=ending, then=then, tries=tries, code=report.code, signal=report.signal,
        elapsed=report.elapsed, output=output, detail=report.detail,
    )  # fmt: skip
    if ending not in (Ending.INTERRUPTED, Ending.CANCELLED):
        hand.finished(report.elapsed, batch.at)
    trust.ended(batch, hand, ending)
    if then is JobState.QUEUED:
        since = batch.at if ending in BLAMES_JOB else None
        later = replace(queued, tries=tries, attempts=held.n, avoid=hand.id, since=since)
        requeue(batch, later, last=True)
    if retired:
        trust.retire(batch, hand, queued.job)


def late(batch: Batch, hand: Hand, report: Result | Lost) -> None:
    """A result that nobody waits for any more: kept as superseded if we had given its attempt up."""
    batch.ack(hand.id, report.serial)
    job_n = batch.given_up.pop((hand.id, report.serial), None)
    if job_n is not None and isinstance(report, Result):
        job, n = job_n
        batch.happen(AttemptSuperseded(at=batch.at, job=job, n=n, ending=report.ending, code=report.code))


def lost(
    batch: Batch, hand: Hand, held: Try, why: str, *, silent: bool = False, at_work: bool = True,
    strike: str | None = "",
) -> None:  # fmt: skip
    """Give an attempt up whose end nobody can tell; its job waits again, but not for ever.

    The host is struck for it, in the words of `strike`, unless that is None. It counts against the job only where it
    was `at_work`: what takes host after host with it is quarantined. A `silent` host was not heard to have lost it.
    """
    queued = held.queued
    kills = queued.kills + at_work
    batch.given_up[hand.id, held.serial] = (queued.job, held.n)
    then = JobState.QUEUED
    if kills >= KILLS:
        then = JobState.QUARANTINED
        why = f"{why}; {kills} hosts were lost while this job ran there"
    elif not batch.retry.takes(Ending.LOST, None):
        then = JobState.LOST
    ended(batch,
        hand, held, ending=Ending.LOST, then=then, tries=queued.tries, detail=why, kills=kills if at_work else 0,
    )  # fmt: skip
    if strike is not None:
        trust.lost_work(batch, hand, strike or f"it lost a job: {why}", silent=silent)
    if then is JobState.QUEUED:
        requeue(batch, replace(queued, attempts=held.n, avoid=hand.id, kills=kills, since=None), last=False)


def at_work(hand: Hand) -> set[int]:
    """The serials that may have begun on a worker: those that it said so of, and as many as it has slots, in order."""
    first = sorted(hand.open)[: hand.slots]
    return {*first, *(serial for serial, held in hand.open.items() if held.started)}


def give_back(batch: Batch, hand: Hand, held: Try, why: str) -> None:
    """An attempt was never started and never will be: its job is the next to go out."""
    queued = held.queued
    ended(batch, hand, held, ending=Ending.REVOKED, then=JobState.QUEUED, tries=queued.tries, detail=why)
    avoid = hand.id if why else queued.avoid
    requeue(batch, replace(queued, attempts=held.n, avoid=avoid, since=None), last=False)


def ended(batch: Batch, hand: Hand, held: Try, *, ending: Ending, then: JobState, tries: int, code: int | None = None,
    signal: int | None = None, elapsed: float | None = None, output: OutputRef | None = None, detail: str = "",
    kills: int = 0,
) -> None:  # fmt: skip
    """Record an attempt's end. A job that is to be cancelled is not tried again."""
    job = held.queued.job
    if job in batch.cancelling and then is JobState.QUEUED:
        then = JobState.CANCELLED if ending in WITHOUT_END else STATE_AFTER[ending]
    batch.found = (hand, held.serial)
    batch.happen(
        AttemptEnded(
            at=batch.at,
            job=job,
            n=held.n,
            ending=ending,
            then=then,
            tries=tries,
            code=code,
            signal=signal,
            elapsed=elapsed,
            output=output,
            detail=detail,
            kills=kills,
        )
    )
    for request in batch.cancelling.get(job, ()):
        batch.asked[request][job] = then.word


def requeue(batch: Batch, queued: Queued, *, last: bool) -> None:
    """A job waits again. One that the store would bring later anyway is left to it, unless a line is held for it."""
    if queued.job in batch.cancelling:
        return
    if queued.pin is None and (queued.tries, queued.job) > batch.cursor:
        return
    batch.take_in(queued, first=not last)
