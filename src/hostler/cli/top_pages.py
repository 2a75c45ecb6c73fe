"""One run's hosts and jobs for `hostler top`: a page of them, added up anew only when the run has changed.

What is dear (adding up a run's attempts, sorting its jobs) is done once for each of its commits that is looked at; the
last lines of what is in view are read at each look. It must never read all jobs.
"""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from hostler.cli.looking import Look, host_figures
from hostler.cli.top_output import LastLines
from hostler.model.health import Health
from hostler.model.runs import AttemptRow, RunRow
from hostler.stores.reads.attempts import open_attempts
from hostler.stores.reads.board import JobNow, Stamp, jobs_page, rests
from hostler.stores.reads.hosts import WorkerRow, worker_rows
from hostler.stores.reads.ledger import health
from hostler.views.dashboard import JobLine
from hostler.views.dashboard_hosts import HostLine
from hostler.views.filters import BAD
from hostler.views.top.eyes import Want

#: Jobs of a page, attempts at work that are looked at, hosts that a question names: databases take no more values.
PAGE, AT_WORK, NAMED = 500, 20_000, 30_000
#: Columns of a command and of a last line that are read.
WIDE = 200

#: What an answer holds for.
About = tuple[object, ...]


class Known(Struct):
    """A run as it was read last."""

    stamp: Stamp
    row: RunRow
    up: int
    hosts: int
    alive: bool = False
    stalled: float | None = None


class Pages:
    """What was read last of one run's hosts, and of its jobs. Raises StoreError."""

    def __init__(self) -> None:
        self._hosts: tuple[About, list[HostLine]] | None = None
        self._jobs: tuple[About, list[JobNow], dict[int, str]] | None = None
        self._workers: tuple[About, list[WorkerRow]] | None = None
        self._rests: dict[int, tuple[dict[int, float | None], int]] = {}
        self._lines = LastLines()

    def hosts(
        self, look: Look, known: Known, shown: Collection[int]
    ) -> tuple[list[HostLine], dict[int, str]]:
        """The run's hosts, and what those of their longest jobs that are in view printed last, or are."""
        about = (look.row.number, known.stamp, known.alive)
        if self._hosts is None or self._hosts[0] != about:
            self._hosts = about, self._read_hosts(look, known)
        hosts = self._hosts[1]
        longest = {host.longest.job: host.longest for host in hosts if host.longest is not None}
        told = {
            job: self._lines.of(look, longest[job], width=WIDE) or look.command_of(job, width=WIDE)
            for job in shown
            if job in longest
        }
        return hosts, told

    def jobs(self, look: Look, known: Known, want: Want, *, now: float) -> tuple[list[JobLine], bool]:
        """The jobs of this page, those in view with their last lines; and whether another page follows."""
        about = (want.place.table, known.stamp)
        if self._jobs is None or self._jobs[0] != about:
            read = self._read_jobs(look, known, want, now=now)
            self._jobs = (
                about,
                read,
                {each.job: look.command(each.args, each.job, width=WIDE) for each in read},
            )
        _, found, commands = self._jobs
        shown = set(want.shown)
        lines = [
            JobLine(
                job=each.job,
                state=each.state,
                last=each.last,
                command=commands[each.job],
                said=self._lines.of(look, each.last, width=WIDE) if each.job in shown and each.last else "",
            )
            for each in found[:PAGE]
        ]
        return lines, len(found) > PAGE

    def _enrolled(self, look: Look, known: Known) -> list[WorkerRow]:
        """The run's hosts; read again only where there are more of them, or somebody else works on the run."""
        about = (look.row.number, look.row.epoch, known.hosts)
        if self._workers is None or self._workers[0] != about:
            self._workers = about, worker_rows(look.reader, look.row.number)
        return self._workers[1]

    def _read_hosts(self, look: Look, known: Known) -> list[HostLine]:
        reader, number = look.reader, look.row.number
        workers = self._enrolled(look, known)
        machines: dict[str, Health] = health(reader, (worker.host.machine for worker in workers))
        until, since = self._rests.get(number, ({}, 0))
        news, since = rests(reader, number, since=since)
        self._rests[number] = (until := until | news), since
        work: dict[str, list[AttemptRow]] = {}
        for attempt in open_attempts(reader, number, limit=AT_WORK):
            if attempt.started_at is not None and look.alive:
                work.setdefault(attempt.worker, []).append(attempt)
        lines = []
        for worker, figures in zip(workers, host_figures(look), strict=False):
            busy = work.get(figures.host, [])
            lines.append(
                HostLine(
                    figures=figures,
                    tags=tuple(sorted(worker.host.tags)),
                    rests_until=until.get(worker.id) if look.alive else None,
                    health=machines.get(worker.host.machine),
                    longest=min(busy, key=lambda attempt: attempt.started_at or 0.0, default=None),
                    running=len(busy),
                )
            )
        return lines

    def _read_jobs(self, look: Look, known: Known, want: Want, *, now: float) -> list[JobNow]:
        place, asked = want.place, want.place.asked
        some = asked.filter
        states = some.states or None
        if asked.failing:
            states = frozenset(BAD) if states is None else states & set(BAD)
        hosts = {each.id: (each.host.name, each.host.tags) for each in self._enrolled(look, known)}
        workers = some.workers(hosts)
        return jobs_page(
            look.reader, look.row.number, states=states, workers=workers and workers[:NAMED],
            numbers=some.numbers or None, slowest=now if asked.slowest else None,
            limit=PAGE + 1, offset=place.page * PAGE,
        )  # fmt: skip
