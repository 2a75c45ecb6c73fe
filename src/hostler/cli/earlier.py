"""Hosts chosen by earlier results: `@last:failed`, `@run/42:unreachable`, `@last:out~"disk full"`.

Asked of the store when a target text says so, and only then. It must never answer for a machine that its provider
would look after: a host that the earlier run launched is a host like any other here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from hostler.errors import StoreError, UsageError

if TYPE_CHECKING:
    from hostler.model.hosts import Host
    from hostler.model.terms import ResultSet


def results(wanted: ResultSet) -> Iterable[Host]:
    """The hosts of an earlier run that came to some result. Raises UsageError for what can't be told here."""
    from msgspec.structs import replace

    from hostler.cli.looking import opened
    from hostler.model.health import Fault
    from hostler.model.jobs import Ending
    from hostler.stores.reads import results as reads
    from hostler.stores.reads.batch import no_run_yet
    from hostler.stores.reads.runs import resolve

    with opened() as reader:
        if reader is None:
            raise no_run_yet(wanted.run)
        run = resolve(reader, wanted.run)
        if wanted.out is not None:
            try:
                found = reads.printing(reader, run, wanted.out.encode("utf-8", "surrogateescape"))
            except StoreError as error:
                raise UsageError(str(error)) from error
        elif wanted.state == "all":
            found = reads.enrolled(reader, run)
        elif wanted.state in (Fault.UNREACHABLE, Fault.REFUSED):
            out = reads.out_of_reach(reader, run)
            refused = wanted.state == Fault.REFUSED
            found = [host for host, fault in out if (fault == Fault.REFUSED) == refused]
            if not refused:
                there = {host.name for host in found}
                told = reads.ended_as(reader, run, [Ending.UNREACHABLE])
                found += [host for host in told if host.name not in there]
        else:
            failed = [each for each in Ending if each not in (Ending.OK, Ending.REVOKED)]
            found = reads.ended_as(
                reader, run, failed if wanted.state == "failed" else [Ending(wanted.state)]
            )
    return [replace(host, instance=None) for host in found]
