"""One command on many hosts, told at its end: who was not well and why, like with like, then the counts.

Pure: values in, lines out. It must never name a host twice, nor take two different ends for one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hostler.model.durations import format_duration
from hostler.model.jobs import Ending, JobState
from hostler.model.outcomes import Outcome
from hostler.views.text import one_line
from hostler.views.words import signal_name

#: Words for what hosts came to, in the order in which they are told.
WORDS = {
    "ok": "ok",
    "failed": "failed",
    "timeout": "timed out",
    "unreachable": "unreachable",
    "lost": "lost",
    "interrupted": "interrupted",
    "cancelled": "cancelled",
    "kill-failed": "could not be killed",
    "quarantined": "quarantined",
    "open": "may still run",
    "queued": "not run",
}
#: Different ends that are told, each on a line; the rest is counted.
LINES = 40


def end_words(outcome: Outcome, *, timeout: float | None) -> str:
    """How a host's command ended, as the last lines have it.

    >>> end_words(Outcome(job=1, host="a", state=JobState.FAILED, ending=Ending.EXIT, code=2), timeout=None)
    'exit 2'
    """
    state, reason = outcome.state, one_line(outcome.reason.encode())
    if state is JobState.QUEUED:
        return "not run"
    if state is JobState.TIMEOUT:
        whole = timeout is not None and timeout < 60 and timeout % 1 == 0
        return f"timeout after {timeout:.0f}s" if whole else f"timeout after {format_duration(timeout or 0)}"
    if outcome.ending is Ending.EXIT:
        return f"exit {outcome.code}"
    if outcome.ending is Ending.SIGNAL:
        return f"killed by {signal_name(outcome.signal)}"
    word = WORDS.get(outcome.word, outcome.word)
    return f"{word}: {reason}" if reason else word


def summary(
    outcomes: Iterable[Outcome], *, number: int, elapsed: float | None, timeout: float | None,
    fold: Callable[[Iterable[str]], str],
) -> list[str]:  # fmt: skip
    """The last lines of a fan-out: `n[11,13]: timeout after 30s` and their like, then the line that counts.

    >>> ok = Outcome(job=1, host="n1", state=JobState.OK, ending=Ending.OK, code=0)
    >>> summary([ok], number=7, elapsed=1.5, timeout=None, fold=",".join)
    ['run 7: 1 ok in 1.5s']
    """
    by_end: dict[tuple[int, str], list[str]] = {}
    counts: dict[str, int] = {}
    order = list(WORDS)
    for each in outcomes:
        counts[each.word] = counts.get(each.word, 0) + 1
        if each.state is not JobState.OK:
            key = (order.index(each.word), end_words(each, timeout=timeout))
            by_end.setdefault(key, []).append(each.host)
    told = sorted(by_end.items(), key=lambda item: (item[0][0], -len(item[1]), item[0][1]))
    lines = [f"{fold(hosts)}: {words}" for (_, words), hosts in told[:LINES]]
    if len(told) > LINES:
        left = sum(len(hosts) for _, hosts in told[LINES:])
        lines.append(f"{left} more hosts ended in {len(told) - LINES} other ways")
    said = ", ".join(f"{counts[word]} {WORDS[word]}" for word in order if word in counts)
    took = "" if elapsed is None else f" in {format_duration(elapsed)}"
    return [*lines, f"run {number}: {said or 'no hosts'}{took}"]
