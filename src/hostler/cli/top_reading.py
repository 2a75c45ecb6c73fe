"""What `hostler top` reads of a store: no more than stands on the screen, and only when something has changed.

It goes by the store's version first, then by what each run's row says of itself; what has ended is not counted twice.
It only reads, and must never be asked by two threads.
"""

from __future__ import annotations

from msgspec.structs import replace

from hostler.cli.looking import Look, by_state, stalled_words, state_word, template_of
from hostler.cli.storing import open_reader
from hostler.cli.top_output import Follower
from hostler.cli.top_pages import PAGE, WIDE, Known, Pages
from hostler.clock import Clock, SystemClock
from hostler.engine.summary import Pace, Progress
from hostler.model.commands import to_type
from hostler.model.jobs import JobState
from hostler.stores.reading import Reader
from hostler.stores.reads.batch import spec, unknown_run
from hostler.stores.reads.board import stamps, worker_counts
from hostler.stores.reads.runs import has_owner, run, stalled
from hostler.views.dashboard import RunLine
from hostler.views.dashboard_place import HOSTS, JOBS
from hostler.views.text import one_line
from hostler.views.top.eyes import Said, Seen, Want

#: Runs that are listed.
LISTED = 200
#: Seconds between two looks whether who works on a run lives, and shows it.
PULSE = 1.0
#: How many times as long as a look took the store is left alone after it, whatever changes there meanwhile; seconds,
#: at most: a server that once took its time is not a big run.
REST, LONGEST = 10, 10.0


class Board:
    """The eyes of `hostler top`. Raises StoreError."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._reader: Reader | None = None
        self._version, self._due, self._rested = -1, 0.0, 0.0
        self._runs: dict[int, Known] = {}
        self._told: Want | None = None
        self._pages = Pages()
        self._paces: dict[int, Pace] = {}
        self._follower: Follower | None = None

    # -- what a screen asks ---------------------------------------------------------------------------------------

    def look(self, want: Want) -> Seen | None:
        """What there is to see; None where nothing has changed since this was asked for last."""
        now = self._clock.now()
        reader = self._opened()
        if reader is None:
            told, self._told = self._told, want
            return None if told == want else Seen(want=want, at=now)
        begun = self._clock.steady()
        elsewhere = self._told is None or want.place.table != self._told.place.table
        rested = elsewhere or begun >= self._rested
        version, pulse = reader.version() if rested else self._version, rested and begun >= self._due
        same = want == self._told and not self._alive(want)
        if same and version == self._version and not pulse:
            return None
        # Should it fail, all is told again.
        before, self._version, self._told = self._version, -1, None
        with reader.moment():
            news = False
            if version != before or pulse or elsewhere:
                news = self._refresh(reader, want, pulse=pulse)
            # Other runs' news are none here.
            found = None if same and not news else self._seen(reader, want, now=now)
        self._version, self._told = version, want
        if rested:
            took = self._clock.steady() - begun
            self._rested = self._clock.steady() + min(LONGEST, REST * took)
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
            hosts, told = self._pages.hosts(look, known, want.shown)
            return replace(found, hosts=hosts, told=told)
        jobs, more = self._pages.jobs(look, known, want, now=now)
        return replace(found, jobs=jobs, first=place.page * PAGE + 1, more=more)

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
