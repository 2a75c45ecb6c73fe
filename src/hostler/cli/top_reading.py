"""What `hostler top` reads of a store: no more than stands on the screen, and only when something has changed.

It goes by the store's version first, then by what each run's row says of itself; what has ended is not counted twice.
It only reads, and must never be asked by two threads.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from hostler.cli.looking import Look, by_state, host_figures, stalled_words, state_word, template_of
from hostler.cli.storing import open_reader
from hostler.cli.top_output import Follower, LastLines
from hostler.clock import Clock, SystemClock
from hostler.engine.summary import Pace, Progress
from hostler.model.commands import to_type
from hostler.model.health import Health
from hostler.model.jobs import JobState
from hostler.model.runs import AttemptRow, RunRow
from hostler.stores.reading import Reader
from hostler.stores.reads.attempts import open_attempts
from hostler.stores.reads.batch import spec, unknown_run
from hostler.stores.reads.board import JobNow, Stamp, jobs_page, rests, stamps, worker_counts
from hostler.stores.reads.hosts import WorkerRow, worker_rows
from hostler.stores.reads.ledger import health
from hostler.stores.reads.runs import has_owner, run, stalled
from hostler.views.dashboard import JobLine, RunLine
from hostler.views.dashboard_hosts import HostLine
from hostler.views.dashboard_place import HOSTS, JOBS
from hostler.views.filters import BAD
from hostler.views.text import one_line
from hostler.views.top.eyes import Said, Seen, Want

#: Runs that are listed, jobs of a page, attempts at work that are looked at.
LISTED, PAGE, AT_WORK = 200, 500, 20_000
#: Seconds between two looks whether who works on a run lives, and shows it.
PULSE = 1.0
#: Columns of a command and of a last line that are read.
WIDE = 200


class Known(Struct):
    """A run as it was read last."""

    stamp: Stamp
    row: RunRow
    up: int
    hosts: int
    alive: bool = False
    stalled: float | None = None


class Board:
    """The eyes of `hostler top`. Raises StoreError."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._reader: Reader | None = None
        self._version, self._due = -1, 0.0
        self._runs: dict[int, Known] = {}
        self._told: Want | None = None
        self._page: tuple[tuple[object, ...], list[JobNow], dict[int, str]] | None = None
        self._paces: dict[int, Pace] = {}
        self._hosts: dict[int, list[WorkerRow]] = {}
        self._rests: dict[int, tuple[dict[int, float | None], int]] = {}
        self._lines = LastLines()
        self._follower: Follower | None = None

    # -- what a screen asks ---------------------------------------------------------------------------------------

    def look(self, want: Want) -> Seen | None:
        """What there is to see; None where nothing has changed since this was asked for last."""
        now = self._clock.now()
        reader = self._opened()
        if reader is None:
            told, self._told = self._told, want
            return None if told == want else Seen(want=want, at=now)
        version, pulse = reader.version(), self._clock.steady() >= self._due
        changed = version != self._version
        if not changed and not pulse and want == self._told and not self._alive(want):
            return None
        with reader.moment():
            owners = self._refresh(reader, want, pulse=pulse) if changed or pulse else False
            if not changed and not owners and want == self._told and not self._alive(want):
                return None
            found = self._seen(reader, want, now=now)
        self._version, self._told = version, want
        return found

    def follow(self, run: int, job: int) -> Said:
        """What has come of a job's output since it was asked for last; another job's begins anew."""
        reader = self._opened()
        if reader is None or run not in self._runs:
            return Said(title=f"job {job}")
        if self._follower is None or (self._follower.number, self._follower.job) != (run, job):
            self.unfollow()
            self._follower = Follower(run, job)
        return self._follower.look(self._look(reader, self._runs[run]), now=self._clock.now())

    def unfollow(self) -> None:
        """Let go of the output that is followed."""
        if self._follower is not None:
            self._follower.close()
        self._follower = None

    def close(self) -> None:
        """Let go of the store."""
        self.unfollow()
        if self._reader is not None:
            self._reader.close()

    # -- reading --------------------------------------------------------------------------------------------------

    def _opened(self) -> Reader | None:
        if self._reader is None:
            self._reader = open_reader()
        return self._reader

    def _alive(self, want: Want) -> bool:
        """Whether last lines are in view that may change without anybody telling the store."""
        place = want.place
        known = self._runs.get(place.run) if place.run is not None else None
        return place.part == JOBS and known is not None and known.alive

    def _refresh(self, reader: Reader, want: Want, *, pulse: bool) -> bool:
        """Read anew the runs that have changed; whether any of them has, or who works on them."""
        number = want.place.run
        changed = False
        for each, stamp in stamps(reader, limit=LISTED if number is None else 1, up_to=number):
            known = self._runs.get(each)
            if known is None or known.stamp != stamp:
                up, hosts = worker_counts(reader, each)
                self._runs[each] = known = Known(stamp, run(reader, each), up, hosts)
                self._owner(reader, known)
                changed = True
            elif pulse and known.row.exit_code is None:
                changed = self._owner(reader, known) or changed
        if pulse:
            self._due = self._clock.steady() + PULSE
        return changed

    def _owner(self, reader: Reader, known: Known) -> bool:
        """Look whether somebody works on a run; whether that is news."""
        before = (known.alive, known.stalled is None)
        known.alive = known.row.exit_code is None and has_owner(reader, known.row.number)
        known.stalled = stalled(reader, known.row.number) if known.alive else None
        return before != (known.alive, known.stalled is None)

    def _seen(self, reader: Reader, want: Want, *, now: float) -> Seen:
        place = want.place
        if place.run is None:
            lines = [_run_line(self._runs[number]) for number in sorted(self._runs, reverse=True)[:LISTED]]
            return Seen(want=want, at=now, runs=lines)
        if place.run not in self._runs:
            raise unknown_run(reader, place.run)
        known = self._runs[place.run]
        look = self._look(reader, known)
        found = Seen(
            want=want,
            at=now,
            runs=[_run_line(known)],
            progress=self._progress(known) if known.alive else None,
            notice=_notice(known),
            alive=known.alive or known.row.exit_code is not None,
        )
        if place.part == HOSTS:
            hosts = self._host_lines(look)
            longest = {host.longest.job: host.longest for host in hosts if host.longest is not None}
            told = {
                job: self._lines.of(look, longest[job], width=WIDE) or look.command_of(job, width=WIDE)
                for job in want.shown
                if job in longest
            }
            return replace(found, hosts=hosts, told=told)
        jobs, commands = self._jobs(look, want, now=now)
        shown = set(want.shown)
        lines_of = [
            JobLine(
                job=each.job,
                state=each.state,
                last=each.last,
                command=commands[each.job],
                said=self._lines.of(look, each.last, width=WIDE) if each.job in shown and each.last else "",
            )
            for each in jobs[:PAGE]
        ]
        return replace(found, jobs=lines_of, first=place.page * PAGE + 1, more=len(jobs) > PAGE)

    def _look(self, reader: Reader, known: Known) -> Look:
        number = known.row.number
        wanted = spec(reader, number)
        return Look(
            reader=reader, row=known.row, alive=known.alive, stalled=known.stalled, spec=wanted,
            template=template_of(wanted), folder=reader.run_folder(number),
        )  # fmt: skip

    def _progress(self, known: Known) -> Progress:
        row = known.row
        counts = by_state(row.counts)
        done = sum(count for state, count in counts.items() if state.final)
        now = self._clock.steady()
        pace = self._paces[row.number] = (
            self._paces[row.number].seen(now, done) if row.number in self._paces else Pace.begin(now, done)
        )
        named = (JobState.OK, JobState.FAILED, JobState.TIMEOUT, JobState.LOST)
        ok, failed, timed_out, lost = (counts.get(state, 0) for state in named)
        queued, running = counts.get(JobState.QUEUED, 0), counts.get(JobState.OPEN, 0)
        return Progress(
            number=row.number, total=done + queued + running, queued=queued, running=running, ok=ok, failed=failed,
            timed_out=timed_out, lost=lost, other=done - ok - failed - timed_out - lost, hosts_up=known.up,
            hosts_total=known.hosts, rate=pace.rate,
            eta=pace.eta(queued + running),
        )  # fmt: skip

    # -- hosts and jobs -------------------------------------------------------------------------------------------

    def _workers(self, look: Look) -> list[WorkerRow]:
        """The run's hosts; read again only where there are more of them, or somebody else works on the run."""
        number = look.row.number
        known = self._hosts.get(number)
        if known is None or len(known) != self._runs[number].hosts:
            known = self._hosts[number] = worker_rows(look.reader, number)
        return known

    def _host_lines(self, look: Look) -> list[HostLine]:
        reader, number = look.reader, look.row.number
        workers = self._workers(look)
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

    def _jobs(self, look: Look, want: Want, *, now: float) -> tuple[list[JobNow], dict[int, str]]:
        """The jobs of this page, one more where another follows, and their commands; the last answer where it holds."""
        number = look.row.number
        about = (want.place.table, self._runs[number].stamp)
        if self._page is None or self._page[0] != about:
            found = self._read_jobs(look, want, now=now)
            commands = {each.job: look.command(each.args, each.job, width=WIDE) for each in found}
            self._page = about, found, commands
        return self._page[1], self._page[2]

    def _read_jobs(self, look: Look, want: Want, *, now: float) -> list[JobNow]:
        place, asked = want.place, want.place.asked
        some = asked.filter
        states = some.states or None
        if asked.failing:
            states = frozenset(BAD) if states is None else states & set(BAD)
        hosts = {each.id: (each.host.name, each.host.tags) for each in self._workers(look)}
        return jobs_page(
            look.reader, look.row.number, states=states, workers=some.workers(hosts), numbers=some.numbers or None,
            slowest=now if asked.slowest else None, limit=PAGE + 1, offset=place.page * PAGE,
        )  # fmt: skip


def _run_line(known: Known) -> RunLine:
    row = known.row
    return RunLine(
        number=row.number, kind=row.kind, state=state_word(row, alive=known.alive, stalled=known.stalled),
        counts=by_state(row.counts), up=known.up, hosts=known.hosts, begun=row.started or row.created,
        ended=row.finished, command=one_line(row.command.encode("utf-8", "surrogateescape"), width=WIDE),
        paused=row.paused,
    )  # fmt: skip


def _notice(known: Known) -> str:
    """What there is to know of a run that nobody sees to, with what leads on."""
    row = known.row
    if known.stalled is not None:
        return one_line(stalled_words(row, known.stalled).encode("utf-8", "surrogateescape"))
    left = row.exit_code is None and not known.alive
    if not left and row.state not in ("stopped", "left"):
        return ""
    who = "nobody works on it any more" if left else f"it is {row.state}"
    return f"{who}; this goes on with it: {to_type(f'batch --resume {row.number}')}"
