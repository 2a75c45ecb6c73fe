"""How an attempt's end is put in words, the same on every screen.

It must never guess: what the store doesn't know is said to be unknown.
"""

from __future__ import annotations

import shlex
import signal
import time
from datetime import UTC, datetime
from functools import lru_cache

from hostler.errors import UsageError
from hostler.model.durations import format_duration
from hostler.model.jobs import Ending
from hostler.model.runs import AttemptRow
from hostler.model.templates import Template
from hostler.views.text import one_line

PLAIN = {
    Ending.OK: "ok",
    Ending.LOST: "lost",
    Ending.INTERRUPTED: "interrupted",
    Ending.UNREACHABLE: "host unreachable",
    Ending.STAGING_FAILED: "could not be set up",
    Ending.OUTPUT_LIMIT: "too much output",
    Ending.REVOKED: "revoked",
    Ending.CANCELLED: "cancelled",
    Ending.KILL_FAILED: "could not be killed",
    Ending.TIMEOUT: "timeout",
}


def command_words(template: Template, args: tuple[bytes, ...], job: int, *, width: int | None = None) -> str:
    """A job's command as one harmless line, as it would be typed."""
    try:
        made = template.render(args, job)
    except UsageError as error:
        return f"({error})"
    if made.shell:
        return one_line(made.words[0], width=width)
    typed = (shlex.quote(word.decode("utf-8", "surrogateescape")) for word in made.words)
    return one_line(" ".join(typed).encode("utf-8", "surrogateescape"), width=width)


def ending_words(attempt: AttemptRow) -> str:
    """How an attempt ended, without its time: "exit 3", "SIGKILL", "timeout", "lost: n07 was rebooted"."""
    if attempt.ending is None:
        return "running" if attempt.started_at is not None else "sent"
    return ending_text(
        Ending(attempt.ending), code=attempt.code, signal=attempt.signal, detail=attempt.detail
    )


def ending_text(
    ending: Ending, *, code: int | None = None, signal: int | None = None, detail: str = ""
) -> str:
    """An ending in words.

    >>> ending_text(Ending.EXIT, code=3), ending_text(Ending.LOST, detail="n07 was rebooted")
    ('exit 3', 'lost: n07 was rebooted')
    """
    if ending is Ending.EXIT:
        return f"exit {code}"
    if ending is Ending.SIGNAL:
        return signal_name(signal)
    words = PLAIN[ending]
    return f"{words}: {one_line(detail.encode())}" if detail else words


def signal_name(number: int | None) -> str:
    """A signal as people write it.

    >>> signal_name(9), signal_name(64), signal_name(None)
    ('SIGKILL', 'SIGRTMAX', 'a signal')
    """
    if number is None:
        return "a signal"
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def took(attempt: AttemptRow, *, now: float) -> str:
    """How long an attempt took, or has run by `now` (seconds since the epoch); "?" when nobody knows."""
    if attempt.elapsed is not None:
        return format_duration(attempt.elapsed)
    if attempt.started_at is None:
        return "-"
    if attempt.ended_at is None:
        return format_duration(max(0.0, now - attempt.started_at))
    return "?"


def when(at: float | None) -> str:
    """A moment, seconds since the epoch, as date and time of the zone that we are in; "-" for none."""
    if at is None:
        return "-"
    return _second(int(at), time.tzname)


@lru_cache(maxsize=1024)
def _second(at: int, zone: tuple[str, str]) -> str:
    """A long list holds many moments of one second."""
    return datetime.fromtimestamp(at, tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
