"""Why a job or a host is where it is, in sentences: what happened when, and what it waits for now.

Made of plain values. It must never guess: what nobody recorded is left out, and what can't be known is said to be so.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from msgspec import Struct

from hostler.engine.hands import SUSPECT
from hostler.model.commands import to_type
from hostler.model.events import (
    Event,
    HostConnected,
    HostLost,
    HostOut,
    HostReleased,
    HostRetired,
    HostStruck,
    HostTrusted,
)
from hostler.model.health import Fault
from hostler.model.jobs import BLAMES_JOB, Ending, JobState
from hostler.model.retrying import USUAL, RetryRule
from hostler.model.runs import AttemptRow
from hostler.views.tables import counted, listed
from hostler.views.words import ending_words, took, when

#: Endings that are tried again unless somebody doesn't want it, whatever --retries says.
HELD = (Ending.LOST, Ending.INTERRUPTED)
#: What probation is for a host.
ONE_JOB = "gets one job at a time, until one has shown that it is well"
#: Endings that cost a job none of its retries.
FREE = (Ending.LOST, Ending.INTERRUPTED, Ending.UNREACHABLE, Ending.REVOKED, Ending.CANCELLED)


class Told(Struct, frozen=True):
    """One sentence, and the moment that it tells of; None for what holds now."""

    at: float | None
    text: str


class HostStanding(Struct, frozen=True, kw_only=True):
    """A host of the run at this moment: its state, its trouble, the events that name it, and what it holds."""

    name: str
    state: str
    why: str
    events: Sequence[Event] = ()
    running: int = 0
    ahead: int = 0
    slots: int | None = None

    def probation_at(self, at: float) -> bool:
        """Whether it had lost or refused jobs of this run before that moment, and had not yet made up for it."""
        bad = False
        for event in self.events:
            if event.at > at:
                break
            if isinstance(event, HostStruck):
                bad = bad or event.fault != Fault.UNREACHABLE
            elif isinstance(event, HostTrusted):
                bad = False
        return bad


class RunStanding(Struct, frozen=True, kw_only=True):
    """The run at this moment: who works on it, what holds it up or ended it, and what jobs may cost."""

    number: int
    alive: bool
    state: str
    paused: bool = False
    stopping: bool = False
    stopped_by: str = ""
    retries: int = 0
    lease: float = 0.0
    retry_on: str = USUAL
    verb: str = "batch"


# -- one attempt --------------------------------------------------------------------------------------------------


def attempt_story(
    attempt: AttemptRow,
    host: HostStanding,
    run: RunStanding,
    *,
    tries: int | None,
    now: float,
    before: Sequence[AttemptRow] = (),
) -> list[Told]:
    """What became of one attempt; `tries` is what its end made of the job's retries, None if not held against it.

    `before` are the job's earlier ones.
    """
    name = host.name
    given = f"attempt {attempt.n} is given to {name}{_because(attempt, host, before)}"
    story = [Told(attempt.dispatched_at, given)]
    if attempt.began is not None:
        story.append(Told(attempt.began, f"attempt {attempt.n} starts on {name}"))
    until = now if attempt.ended_at is None else attempt.ended_at
    meanwhile = (event for event in host.events if attempt.dispatched_at < event.at <= until)
    story += (Told(event.at, words) for event in meanwhile if (words := _meanwhile(event, name)))
    if attempt.ended_at is not None:
        story.append(Told(attempt.ended_at, _end(attempt, run, tries=tries)))
    return sorted(story, key=lambda told: told.at or 0.0)


def _because(attempt: AttemptRow, host: HostStanding, before: Sequence[AttemptRow]) -> str:
    """Why it went there, as far as there was more to it than a free slot."""
    reasons = []
    lost = sum(each.ending == Ending.LOST for each in before)
    ended = [each for each in before if each.ending != Ending.REVOKED or each.detail]
    if lost >= SUSPECT:
        reasons.append(f"which has nothing else to do, since {lost} hosts were lost while it ran there")
    elif ended and ended[-1].worker != attempt.worker:
        reasons.append(f"rather than {ended[-1].worker}, where it had no luck")
    if host.probation_at(attempt.dispatched_at):
        reasons.append("as the one job that is to show whether the host is well")
    return f", {' and '.join(reasons)}" if reasons else ""


def _meanwhile(event: Event, name: str) -> str:
    """What happened to the host while it had the attempt."""
    if isinstance(event, HostOut):
        kept = f"; what it holds stays its own until {when(event.until)}" if event.until is not None else ""
        return f"{name}: {bare(event.why, name)}{kept}"
    if isinstance(event, HostStruck):
        return f"{name} gets a strike: {bare(event.why, name)}"
    if isinstance(event, HostLost):
        return f"{name} is given up: {bare(event.why, name)}"
    if isinstance(event, HostRetired):
        return f"{name} gets no more jobs: {event.why}"
    if isinstance(event, HostTrusted):
        return f"{name} has shown that it is well"
    return f"{name} answers again" if isinstance(event, HostConnected) else ""


def _end(attempt: AttemptRow, run: RunStanding, *, tries: int | None) -> str:
    ending = Ending(attempt.ending or "")
    if ending is Ending.REVOKED:
        why = f": {attempt.worker} could not start it: {attempt.detail}" if attempt.detail else ""
        return f"attempt {attempt.n} is given back before it started{why}"
    lasted = took(attempt, now=0.0)
    after = f" after {lasted}" if lasted not in ("-", "?") else ""
    said = f"attempt {attempt.n} ends on {attempt.worker}: {ending_words(attempt)}{after}"
    if ending is Ending.OK:
        return said
    if not RetryRule.parse(run.retry_on).takes(ending, attempt.code) and ending in (*BLAMES_JOB, *HELD):
        return f"{said}; that is not among what is tried again (--retry-on {run.retry_on})"
    if ending in FREE:
        return f"{said}; that costs the job no retry"
    if tries is None:
        return f"{said}; the job is put back, as that was the failure for which {attempt.worker} gets no more jobs"
    return f"{said}; try {tries} of {run.retries + 1}" if run.retries else said


# -- a job now ----------------------------------------------------------------------------------------------------


def job_now(
    state: JobState, attempt: AttemptRow | None, host: HostStanding | None, run: RunStanding, *, now: float
) -> list[str]:
    """What holds of a job that is open or over; `attempt` is its last one, `host` where that is."""
    if state is not JobState.OPEN or attempt is None or host is None:
        return [over_words(state, run)]
    if not run.alive:
        then = f"; {host.name} is asked after it when somebody does: {to_type(f'{run.verb} --resume {run.number}')}"
        return [f"nobody works on the run{then}"]
    gone = _gone(host)
    if gone is not None:
        did = "ran on" if attempt.began is not None else "had been sent to"
        lines = [f"it {did} {host.name} when that went out of reach: {bare(gone.why, host.name)}"]
        if gone.until is not None:
            then = "the job is given to another host"
            lines.append(f"unless {host.name} answers before {when(gone.until)}, {then}")
        return lines
    if attempt.began is not None:
        return [f"it has run on {host.name} for {took(attempt, now=now)}"]
    return [f"it was sent to {host.name} ahead of need and starts when a slot is free there: {holding(host)}"]


def over_words(state: JobState, run: RunStanding) -> str:
    """What a final state means for what comes next."""
    if state is JobState.OK:
        return "it is done"
    if state is JobState.CANCELLED:
        return "it was cancelled and will not run"
    if state is JobState.QUARANTINED:
        again = f"{to_type(f'{run.verb} --retry {run.number}')} lets it out"
        return f"it is quarantined: one host after another was lost while it ran there; {again}"
    return f"it has ended ({state.word}) and is left so; {to_type(f'{run.verb} --retry {run.number}')} tries it again"


def waiting_words(
    run: RunStanding,
    hosts: Sequence[HostStanding],
    *,
    ahead: int,
    avoid: str | None,
    due: float | None = None,
    kills: int = 0,
) -> list[str]:
    """Why a job that waits is not with a host: the reasons that hold, the most telling first."""
    by = f" ({run.stopped_by})" if run.stopped_by else ""
    if not run.alive:
        ended = f", which was ended{by}" if run.stopping else ""
        return [
            f"nobody works on the run{ended}; it waits for: {to_type(f'{run.verb} --resume {run.number}')}"
        ]
    if run.stopping:
        return [
            f"the run is being ended{by}: what waits is left for {to_type(f'{run.verb} --resume {run.number}')}"
        ]
    lines = []
    if run.paused:
        lines.append(f"the run is paused: nothing is started until {to_type(f'unpause {run.number}')}")
    up = [host for host in hosts if host.state == "up" and not host.why]
    if due is not None:
        lines.append(f"its next try is due at {when(due)} (--retry-delay)")
    if kills >= SUSPECT:
        lines.append(
            f"{kills} hosts were lost while it ran there: it waits for one that has nothing else to do"
        )
    elif ahead:
        are = "job waits" if ahead == 1 else "jobs wait"
        lines.append(f"{ahead} other {are} before it")
    if up:
        running, slots = sum(host.running for host in up), [host.slots for host in up]
        on = up[0].name if len(up) == 1 else f"the {len(up)} hosts that are up"
        if all(slots) and running >= sum(s or 0 for s in slots):
            lines.append(f"no slot is free: {counted(running, 'job')} at work on {on}")
        else:
            lines.append(
                f"{counted(running, 'job')} at work on {on}; a free slot there takes the next one that waits"
            )
        probed = [host for host in up if host.events and host.probation_at(host.events[-1].at)]
        lines += [f"{host.name} {ONE_JOB}" for host in probed[:5]]
    else:
        lines.append("no host can take it now")
    down = [host for host in hosts if host not in up and host.state != "released"]
    lines += [host_now(host) for host in down[:5]]
    if len(down) > 5:
        lines.append(f"and {counted(len(down) - 5, 'other host')} can't")
    if avoid is not None and len(up) > 1:
        lines.append(f"its last attempt ended badly on {avoid}, so another host has the first claim on it")
    return lines


# -- a host -------------------------------------------------------------------------------------------------------


def host_now(host: HostStanding) -> str:
    """How a host stands, and until when."""
    why = bare(host.why, host.name)
    if host.state == "lost":
        return f"{host.name} was given up: {why}"
    if host.state == "retired":
        return f"{host.name} gets no more jobs: {why}"
    if host.state == "released":
        return f"{host.name} was let go: nothing of the run is left for it"
    if host.why:
        last = host.events[-1] if host.events else None
        if isinstance(last, HostStruck):
            until = f"is left alone until about {when(last.until)} and " if last.until is not None else ""
            rest = f"; it {until}is tried again" + (" then" if until else "")
        else:
            rest = "; it is tried again"
        return f"{host.name} is out: {why}{rest}"
    if host.state == "new":
        return f"{host.name} has not answered yet"
    latest = host.events[-1].at if host.events else 0.0
    probed = f"; it {ONE_JOB}" if host.probation_at(latest) else ""
    return f"{host.name} is up: {holding(host)}{probed}"


def holding(host: HostStanding) -> str:
    """What a host holds of the run."""
    said = f"{counted(host.running, 'job')} at work" + (
        f" in {counted(host.slots, 'slot')}" if host.slots else ""
    )
    return said + (f", {host.ahead} sent ahead" if host.ahead else "")


def host_story(host: HostStanding, *, last: int) -> list[Told]:
    """The last things that befell a host itself."""
    told = []
    for event in host.events[-last:]:
        if isinstance(event, HostReleased):
            told.append(Told(event.at, f"{host.name} is let go"))
        elif words := _meanwhile(event, host.name):
            told.append(Told(event.at, words.replace("answers again", "answers")))
    return told


def _gone(host: HostStanding) -> HostOut | None:
    """When and why a host that does not answer now went out of reach; None when it answers."""
    gone = None
    for event in host.events:
        if isinstance(event, HostConnected):
            gone = None
        elif isinstance(event, HostOut) and (gone is None or gone.until is None):
            gone = event
    return gone


def bare(why: str, name: str) -> str:
    """A trouble without the host's name before it.

    >>> bare("web1: connection refused", "web1")
    'connection refused'
    """
    return why.removeprefix(f"{name}: ")


def drawn(
    head: str, about: Sequence[str], story: Sequence[Told], now: Sequence[str], *, width: int | None
) -> str:
    """An explanation as people read it: what it is about, what happened when, what holds now.

    Sentences are broken at `width` columns; with None each is a line, for who searches them.
    """
    lines = [head, *(f"  {line}" for line in about)]
    if story:
        lines.append("")
    for told in story:
        lines += _broken(when(told.at), told.text, width)
    if now:
        lines.append("")
    for number, text in enumerate(now):
        lines += _broken("" if number else "now", text, width)
    return "\n".join(lines) + "\n"


def _broken(before: str, text: str, width: int | None) -> list[str]:
    """A sentence behind its moment, in as many lines as it takes."""
    if width is None:
        return [f"  {before:<19}  {text}"]
    parts = wrap(text, max(20, width - 23), break_on_hyphens=False) or [""]
    return [f"  {before if number == 0 else '':<19}  {part}" for number, part in enumerate(parts)]


def jobs_listed(attempts: Sequence[AttemptRow]) -> str:
    """Numbers of the jobs of some attempts.

    >>> jobs_listed([])
    ''
    """
    return listed([attempt.job for attempt in attempts], shown=10)
