"""What a host's report on an attempt means for the job: ended, tried again, given back, lost.

Only the job's own endings cost it a retry; what befell its host costs it nothing.
"""

from __future__ import annotations

from hostler.engine.batch import Batch
from hostler.engine.hands import Hand, Try
from hostler.model.events import AttemptEnded, AttemptStarted, AttemptSuperseded
from hostler.model.jobs import STATE_AFTER, Ending, JobState, OutputRef, Queued
from hostler.model.reports import Began, Lost, Refused, Renewed, Report, Result, Revoked

#: Hosts that a job may lose before it is given up: it may be what kills them.
LOSSES = 3
WITHOUT_END = (Ending.REVOKED, Ending.INTERRUPTED)
BLAMES_JOB = (Ending.EXIT, Ending.SIGNAL, Ending.TIMEOUT, Ending.OUTPUT_LIMIT)


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
    elif isinstance(report, Revoked):
        give_back(batch, hand, held, "")
    elif isinstance(report, Refused):
        give_back(batch, hand, held, report.why)
    elif isinstance(report, Lost):
        batch.ack(hand.id, serial)
        lost(batch, hand, held, report.why)


def result(batch: Batch, hand: Hand, held: Try, report: Result, output: OutputRef | None) -> None:
    """An attempt has ended, and its host says how."""
    queued, ending = held.queued, report.ending
    tries = queued.tries + (ending in BLAMES_JOB)
    then = STATE_AFTER[ending]
    if (ending in BLAMES_JOB and tries <= batch.spec.retries) or ending is Ending.INTERRUPTED:
        then = JobState.QUEUED
    ended(batch,
        hand, held, ending=ending, then=then, tries=tries, code=report.code, signal=report.signal,
        elapsed=report.elapsed, output=output, detail=report.detail,
    )  # fmt: skip
    if ending not in (Ending.INTERRUPTED, Ending.CANCELLED):
        hand.finished(report.elapsed, batch.at)
    if then is JobState.QUEUED:
        requeue(batch, Queued(queued.job, queued.args, tries, held.n, hand.id), last=True)


def late(batch: Batch, hand: Hand, report: Result | Lost) -> None:
    """A result that nobody waits for any more: kept as superseded if we had given its attempt up."""
    batch.ack(hand.id, report.serial)
    job_n = batch.given_up.pop((hand.id, report.serial), None)
    if job_n is not None and isinstance(report, Result):
        job, n = job_n
        batch.happen(AttemptSuperseded(at=batch.at, job=job, n=n, ending=report.ending, code=report.code))


def lost(batch: Batch, hand: Hand, held: Try, why: str) -> None:
    """Give an attempt up whose end nobody can tell; its job waits again, but not for ever."""
    queued = held.queued
    batch.losses[queued.job] += 1
    batch.given_up[hand.id, held.serial] = (queued.job, held.n)
    then = JobState.QUEUED if batch.losses[queued.job] < LOSSES else JobState.LOST
    ended(batch, hand, held, ending=Ending.LOST, then=then, tries=queued.tries, detail=why)
    if then is JobState.QUEUED:
        requeue(batch, Queued(queued.job, queued.args, queued.tries, held.n, hand.id), last=False)


def give_back(batch: Batch, hand: Hand, held: Try, why: str) -> None:
    """An attempt was never started and never will be: its job is the next to go out."""
    queued = held.queued
    ended(batch, hand, held, ending=Ending.REVOKED, then=JobState.QUEUED, tries=queued.tries, detail=why)
    avoid = hand.id if why else queued.avoid
    requeue(batch, Queued(queued.job, queued.args, queued.tries, held.n, avoid), last=False)


def ended(batch: Batch, hand: Hand, held: Try, *, ending: Ending, then: JobState, tries: int, code: int | None = None,
    signal: int | None = None, elapsed: float | None = None, output: OutputRef | None = None, detail: str = "",
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
        )
    )
    for request in batch.cancelling.get(job, ()):
        batch.asked[request][job] = then.word


def requeue(batch: Batch, queued: Queued, *, last: bool) -> None:
    """A job waits again. One that the store's order would bring later anyway is left to it."""
    if queued.job in batch.cancelling:
        return
    if (queued.tries, queued.job) > batch.cursor:
        return
    if last:
        batch.window.append(queued)
    else:
        batch.window.appendleft(queued)
