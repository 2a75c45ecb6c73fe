"""What becomes of a request: judged, set in motion, answered in words that people read.

An answer says what is so by the turn that it stands in. A request whose doing takes time, the cancelling of jobs that
run, is answered when it is done; until then it waits in the store, and the next owner takes it up again.
"""

from __future__ import annotations

from hostler.engine import lines
from hostler.engine.batch import Batch
from hostler.engine.facts import Asked, Resize
from hostler.engine.hands import Line
from hostler.model.events import (
    HostEnrolled,
    JobsAccepted,
    JobsCancelled,
    RequestAnswered,
    RequestMade,
    RunPaused,
    RunUnpaused,
    SettingChanged,
    StopRequested,
)
from hostler.model.jobs import JobState
from hostler.model.requests import Add, Cancel, Change, Pause, Stop, Unpause

#: Jobs that an answer names one by one.
NAMED = 5


def asked(batch: Batch, fact: Asked) -> None:
    """Take a request up."""
    wish, request = fact.wish, fact.request
    if not fact.again:
        batch.happen(RequestMade(at=batch.at, request=request, who=fact.who, kind=fact.kind))
    if fact.stale:
        answer(batch, request, "the run was taken up anew after this was asked for; ask again", done=False)
    elif isinstance(wish, Stop):
        stop(batch, request, wish, fact.who)
    elif isinstance(wish, (Pause, Unpause)):
        pause(batch, request, wish)
    elif isinstance(wish, Add):
        add(batch, request, wish)
    elif isinstance(wish, Change):
        change(batch, request, wish)
    elif isinstance(wish, Cancel):
        cancel(batch, fact, wish)
    else:
        answer(batch, request, f"its owner is of a version that doesn't know {fact.kind!r}", done=False)


def answer(batch: Batch, request: int, words: str, *, done: bool = True) -> None:
    """Answer a request."""
    batch.happen(RequestAnswered(at=batch.at, request=request, done=done, words=words))


def stop(batch: Batch, request: int, wish: Stop, who: str) -> None:
    """End the run; one that nobody works on is ended on every host that may hold something of it."""
    # A visitor knows no slots, so it can't tell what runs from what was sent ahead.
    running = counted(batch.counts[JobState.OPEN] if batch.visiting else batch.running, "job")
    alone = batch.visiting and not wish.drain
    if alone:
        batch.visiting = False
        for hand in batch.hands.values():
            # What one command on one line left, if anything, is what it holds.
            hand.owed = hand.spool is not None and not (batch.spec.oneshot and not hand.open)
    batch.stopped_for = batch.stopped_for or not (batch.visiting or batch.stopping)
    if batch.visiting:
        answer(batch, request, "nobody works on it, so nothing new is started anyway", done=False)
        return
    if batch.ending:
        answer(batch, request, "it is being stopped already")
    elif batch.stopping and wish.drain:
        answer(batch, request, f"it is draining already ({running} at work)")
    elif wish.drain:
        lines.stop(batch, f"drained for {who}", drain=True)
        answer(batch, request, f"nothing new is started; it stops when what runs has ended ({running})")
    else:
        lines.stop(batch, f"stopped for {who}")
        if alone and not batch.stopping:  # all jobs have ended, but their hosts may not know it
            batch.happen(StopRequested(at=batch.at, why=f"stopped for {who}"))
        answer(batch, request, f"stopping: what runs is being ended ({running})")


def pause(batch: Batch, request: int, wish: Pause | Unpause) -> None:
    """Start nothing more, or go on."""
    if isinstance(wish, Unpause):
        if not batch.paused:
            answer(batch, request, "it was not paused")
            return
        batch.happen(RunUnpaused(at=batch.at))
        later = "; nobody works on it" if batch.visiting else ""
        answer(
            batch,
            request,
            f"no longer paused: {counted(batch.counts[JobState.QUEUED], 'job')} to start{later}",
        )
        return
    if batch.paused:
        answer(batch, request, "it is paused already")
        return
    batch.happen(RunPaused(at=batch.at))
    if not batch.visiting:
        for hand in batch.hands.values():
            lines.call_back(batch, hand)
    answer(batch, request, "paused: nothing new is started; what runs goes on")


def add(batch: Batch, request: int, wish: Add) -> None:
    """Take in more jobs and hosts."""
    if batch.spec.fanout:
        answer(batch, request, "it is one command on the hosts that it began with: run another", done=False)
        return
    said = []
    if wish.jobs:
        first = sum(batch.counts.values()) + 1
        last = first + wish.jobs - 1
        batch.happen(JobsAccepted(at=batch.at, first=first, last=last, request=request))
        said.append(f"job {first}" if first == last else f"jobs {first} to {last}")
    for host in wish.hosts:
        worker = batch.names.get(host.name, max(batch.hands, default=0) + 1)
        batch.happen(
            HostEnrolled(at=batch.at, worker=worker, name=host.name, request=request, machine=host.machine)
        )
        hand = batch.hands[worker]
        if hand.line in (Line.LOST, Line.RESTING):
            hand.line = Line.DOWN
        hand.failures = hand.refusals = hand.misses = 0
        hand.resting = hand.retired = hand.out = hand.given_up = hand.gone = False
    if wish.hosts:
        said.append(counted(len(wish.hosts), "host"))
    wait = "; they wait for a resume" if wish.jobs and (batch.stopping or batch.visiting) else ""
    answer(batch, request, f"added: {' and '.join(said) or 'nothing'}{wait}")


def change(batch: Batch, request: int, wish: Change) -> None:
    """Work by other values from now on."""
    said = []
    for name, value in wish.values.items():
        batch.happen(SettingChanged(at=batch.at, name=name, value=value))
        said.append(f"{name} {value:g}s" if name == "timeout" else f"{name} {value}")
    for hand in batch.hands.values():
        if wish.slots is not None:
            hand.slots = wish.slots
            if hand.line is Line.UP:
                batch.effects.append(Resize(hand.id, wish.slots))
        if wish.timeout is not None and not batch.visiting:
            lines.call_back(batch, hand)
    keep = "; what runs keeps its timeout" if wish.timeout is not None else ""
    answer(batch, request, f"from now on: {', '.join(said) or 'nothing changed'}{keep}")


def cancel(batch: Batch, fact: Asked, wish: Cancel) -> None:
    """Strike off jobs that wait, and end those that are under way."""
    standings = dict(fact.standings)
    under_way = {
        held.queued.job: (hand, serial) for hand in batch.hands.values() for serial, held in hand.open.items()
    }
    became = batch.asked[fact.request] = dict.fromkeys(wish.jobs, "")
    waited = []
    for job in became:
        if job in under_way:
            batch.cancelling.setdefault(job, set()).add(fact.request)
            lines.cancel(batch, *under_way[job])
        elif job in batch.cancelled or standings.get(job) is JobState.CANCELLED:
            became[job] = "cancelled before"
        elif standings.get(job) is JobState.QUEUED:
            waited.append(job)
            became[job] = JobState.CANCELLED.word
        else:
            became[job] = f"{standings[job].word} before" if job in standings else "not in this run"
    if waited:
        batch.cancelled.update(waited)
        batch.happen(JobsCancelled(at=batch.at, jobs=tuple(waited)))
        batch.forget(waited)


def settle(batch: Batch) -> None:
    """Answer the requests of which every job is settled."""
    for request, became in list(batch.asked.items()):
        if not all(became.values()):
            continue
        del batch.asked[request]
        for job in became:
            askers = batch.cancelling.get(job)
            if askers is not None:
                askers.discard(request)
                if not askers:
                    del batch.cancelling[job]
        by_word: dict[str, list[int]] = {}
        for job, word in became.items():
            by_word.setdefault(word, []).append(job)
        words = "; ".join(f"{jobs_named(sorted(jobs))}: {word}" for word, jobs in by_word.items())
        answer(batch, request, words, done=JobState.CANCELLED.word in by_word)


def jobs_named(jobs: list[int]) -> str:
    """Jobs as people are told of them.

    >>> jobs_named([4]), jobs_named([1, 2]), jobs_named(list(range(9)))
    ('job 4', 'jobs 1, 2', '9 jobs (0, 1, 2, 3, 4 …)')
    """
    some = ", ".join(map(str, jobs[:NAMED]))
    if len(jobs) > NAMED:
        return f"{len(jobs)} jobs ({some} …)"
    return f"job {some}" if len(jobs) == 1 else f"jobs {some}"


def counted(count: int, word: str) -> str:
    """So many of something.

    >>> counted(1, "job"), counted(2, "job")
    ('1 job', '2 jobs')
    """
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
