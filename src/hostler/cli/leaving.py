"""What is left behind on hosts when a process leaves a run, in words: it must name no more and no less than that."""

from __future__ import annotations

from collections.abc import Sequence

from hostler.engine.requests import jobs_named
from hostler.model.runs import BatchSpec


def may_still_run(host: str, jobs: Sequence[int], *, detached: bool, lease_over: bool = False) -> str:
    """What a host may still be doing for a run, and until when; once its lease is over, that it does no more.

    >>> may_still_run("web1", [7, 3], detached=False)
    'web1: jobs 3, 7 may still run there, until the lease ends'
    """
    if lease_over and not detached:
        return f"{host}: {jobs_named(sorted(jobs))} ended there with the lease, if not before"
    until = "they are done" if detached and len(jobs) > 1 else "it is done" if detached else "the lease ends"
    return f"{host}: {jobs_named(sorted(jobs))} may still run there, until {until}"


def with_secrets(command: str, spec: BatchSpec) -> str:
    """A command that reaches a run's hosts, with the options for the secrets that the run was given.

    >>> with_secrets("hostler stop 7", BatchSpec(secrets="--ssh-password"))
    'hostler stop 7 --ssh-password ask'
    """
    return " ".join([command, *(f"{flag} ask" for flag in spec.secrets.split())])
