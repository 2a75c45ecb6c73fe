"""How many jobs at once, for how long, and how often: the options that shape a run, and survive its resuming."""

from __future__ import annotations

import re
from typing import Any

import click

from hostler.cli.options import Marked, blaming, duration, group, whole
from hostler.cli.parsing import said
from hostler.clock import SystemClock
from hostler.errors import UsageError

#: The lease of --on-disconnect kill, in seconds: three keepalives, since an end of the line may never arrive.
KILL = 45.0

#: -j, --delay, --timeout, --retries and what qualifies it, --halt, --max-bad-hosts, --strikes, --deadline and
#: --on-disconnect.
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
        "--retry-on",
        cls=Marked,
        habit="failed,timeout,lost,interrupted",
        metavar="WHAT",
        help="Try again only: failed, timeout, lost, interrupted, exit codes (75,lost), or none.",
    ),
    click.option(
        "--retry-delay",
        cls=Marked,
        habit="0s",
        metavar="DUR",
        help="Wait this long before a failed job's next try, twice as long before each after it.",
    ),
    click.option(
        "--retry-delay-max",
        cls=Marked,
        habit="5m",
        metavar="DUR",
        help="Wait no longer than this before any try.",
    ),
    click.option(
        "--halt",
        cls=Marked,
        habit="never",
        metavar="WHEN",
        help="End the run early: now|soon,fail|success|done=N or N%: soon,fail=3.",
    ),
    click.option(
        "--max-bad-hosts",
        metavar="N|N%",
        help="End the run when more hosts than this can't be had (3, 10%).",
    ),
    click.option(
        "--strikes",
        cls=Marked,
        habit="0",
        metavar="N",
        help="Give a host no more jobs after N in a row failed or timed out on it (0: never).",
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
    changes |= trying_again(options, changes)
    if options["max_bad_hosts"] is not None:
        changes["max_bad_hosts"] = bad_hosts(options["max_bad_hosts"])
    if options["strikes"] is not None:
        changes["strikes"] = whole(options["strikes"], "--strikes", least=0, most=1000)
    if options["delay"] is not None:
        changes["delay"] = duration(options["delay"], "--delay", least=0.0)
    if options["halt"] is not None:
        changes["halt"] = halt(options["halt"])
    if options["deadline"] is not None:
        changes["until"] = SystemClock().now() + duration(options["deadline"], "--deadline")
    if options["on_disconnect"] is not None:
        changes["lease"] = lease(options["on_disconnect"])
    return changes


def trying_again(options: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """What qualifies --retries, as a spec keeps it. Raises UsageError."""
    from hostler.model.runs import BatchSpec

    found: dict[str, Any] = {}
    if options["retry_on"] is not None:
        found["retry_on"] = retry_on(options["retry_on"])
    if options["retry_delay"] is not None:
        found["retry_delay"] = duration(options["retry_delay"], "--retry-delay", least=0.0)
    if options["retry_delay_max"] is not None:
        found["retry_delay_max"] = duration(options["retry_delay_max"], "--retry-delay-max")
    first, most = found.get("retry_delay"), found.get("retry_delay_max")
    if first is not None and most is None and first > BatchSpec().retry_delay_max:
        found["retry_delay_max"] = most = first
    if first is not None and most is not None and first > most:
        raise UsageError(f"--retry-delay {options['retry_delay']}: longer than --retry-delay-max")
    fresh = not (options["resume"] or options["retry"])
    for name in ("retry_on", "retry_delay"):
        needs = found.get(name) if name == "retry_delay" else re.search(r"[0-9]", found.get(name, ""))
        if needs and fresh and said(name) and not changes.get("retries"):
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{flag} {options[name]}: say how often to try again, with --retries N")
    return found


def retry_on(text: str) -> str:
    """The rule of --retry-on, as a spec keeps it. Raises UsageError.

    >>> retry_on("75,lost")
    'lost,75'
    """
    from hostler.model.retrying import RetryRule

    with blaming("--retry-on"):
        return str(RetryRule.parse(text))


def bad_hosts(text: str) -> str:
    """The rule of --max-bad-hosts, as a spec keeps it. Raises UsageError.

    >>> bad_hosts("10%")
    '10%'
    """
    from hostler.model.badhosts import BadHosts

    with blaming("--max-bad-hosts"):
        return str(BadHosts.parse(text))


def halt(text: str) -> str:
    """The rule of --halt, as a spec keeps it. Raises UsageError.

    >>> halt("now,fail=1.50%"), halt("never")
    ('now,fail=1.5%', 'never')
    """
    from hostler.model.halting import HaltRule

    with blaming("--halt"):
        return str(HaltRule.parse(text) or "never")


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
