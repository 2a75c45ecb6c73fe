"""How many jobs at once, for how long, and how often: the options that shape a run, and survive its resuming."""

from __future__ import annotations

from typing import Any

import click

from hostler.cli.options import Marked, duration, group, whole
from hostler.clock import SystemClock
from hostler.errors import UsageError

#: The lease of --on-disconnect kill, in seconds: three keepalives, since an end of the line may never arrive.
KILL = 45.0

#: -j, --delay, --timeout, --retries, --halt, --deadline and --on-disconnect.
pacing_options = group(
    click.option(
        "-j", "--slots", metavar="N", help="Jobs at once on each host (else as many as it has cores)."
    ),
    click.option(
        "--delay",
        cls=Marked,
        habit="0s",
        metavar="DUR",
        help="Begin no job before this long after the one before it.",
    ),
    click.option("--timeout", metavar="DUR", help="End an attempt after this long (30s 5m 2h 1d)."),
    click.option(
        "--retries",
        cls=Marked,
        habit="0",
        metavar="N",
        help="Try a job that fails or times out this many times more.",
    ),
    click.option(
        "--halt",
        cls=Marked,
        habit="never",
        metavar="WHEN",
        help="End the run early: now|soon,fail|success|done=N or N%: soon,fail=3.",
    ),
    click.option("--deadline", metavar="DUR", help="End the run after this long, whatever is done by then."),
    click.option(
        "--on-disconnect",
        cls=Marked,
        habit="lease=2m",
        metavar="WHAT",
        help="When a host's line is lost: lease=DUR (lease=2m), detach or kill.",
    ),
)


def pacing(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of BatchSpec that were given on this command line. Raises UsageError."""
    changes: dict[str, Any] = {}
    if options["slots"] is not None:
        changes["slots"] = whole(options["slots"], "--slots", least=1, most=10_000)
    if options["timeout"] is not None:
        changes["timeout"] = duration(options["timeout"], "--timeout")
    if options["retries"] is not None:
        changes["retries"] = whole(options["retries"], "--retries", least=0, most=1000)
    if options["delay"] is not None:
        changes["delay"] = duration(options["delay"], "--delay", least=0.0)
    if options["halt"] is not None:
        changes["halt"] = halt(options["halt"])
    if options["deadline"] is not None:
        changes["until"] = SystemClock().now() + duration(options["deadline"], "--deadline")
    if options["on_disconnect"] is not None:
        changes["lease"] = lease(options["on_disconnect"])
    return changes


def halt(text: str) -> str:
    """The rule of --halt, as a spec keeps it. Raises UsageError.

    >>> halt("now,fail=1.50%"), halt("never")
    ('now,fail=1.5%', 'never')
    """
    from hostler.model.halting import HaltRule

    try:
        return str(HaltRule.parse(text) or "never")
    except UsageError as error:
        raise UsageError(f"--halt {error}") from None


def lease(text: str) -> float:
    """Seconds that a host works on with nobody listening, from --on-disconnect. Raises UsageError.

    >>> lease("lease=5m"), lease("kill")
    (300.0, 45.0)
    """
    from hostler.model.runs import DETACHED

    if text in ("kill", "detach"):
        return KILL if text == "kill" else DETACHED
    if not text.startswith("lease="):
        raise UsageError(f"--on-disconnect {text}: write lease=DUR (lease=2m is the habit), detach or kill")
    seconds = max(1.0, duration(text.removeprefix("lease="), "--on-disconnect lease="))
    return min(seconds, DETACHED)
