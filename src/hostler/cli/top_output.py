"""A job's output for `hostler top`: the last of it, what comes, and what its next attempts print.

It reads what another process writes, a bounded piece at a time. It must never follow more than one job.
"""

from __future__ import annotations

from collections.abc import Iterator

from hostler.cli.looking import Look, output_of
from hostler.errors import StoreError
from hostler.model.jobs import Ending
from hostler.model.runs import AttemptRow
from hostler.stores.growing import Growing
from hostler.stores.output_reading import last_part, read_last
from hostler.stores.reads.attempts import attempts
from hostler.stores.reads.kept import kept_on, place_of, telling
from hostler.views.ring import MOST
from hostler.views.running import COMMANDS
from hostler.views.text import last_line
from hostler.views.top.eyes import Said
from hostler.views.words import ending_words, took

#: Bytes that one look gives at most.
PIECE = 1 << 20
#: Bytes of an attempt's end in which its last line is looked for, and lines that are known by heart.
TAIL, KNOWN = 1024, 20_000


class Follower:
    """Follows one job from attempt to attempt."""

    def __init__(self, number: int, job: int) -> None:
        self.number, self.job = number, job
        self._growing: Growing | None = None
        self._source: Iterator[tuple[int, bytes]] | None = None
        self._n, self._over, self._trouble = 0, False, ""

    def look(self, seen: Look, *, now: float) -> Said:
        """What has come since the last look. Raises StoreError."""
        made = [
            each for each in attempts(seen.reader, self.number, job=self.job) if each.ending != Ending.REVOKED
        ]
        if not made:
            return Said(title=f"job {self.job}: waits", note="it has not been tried yet")
        last = made[-1]
        anew = last.n != self._n
        if anew:
            self.close()
            self._n = last.n
        title = self._title(last, now=now, alive=seen.alive)
        if self._over:
            return Said(title=title, anew=anew, note=self._trouble or _silent(last))
        ended = not last.open
        try:
            if self._growing is not None and self._growing.behind > 2 * MOST:
                # It comes faster than it can be shown: what would only fly by is left out.
                self.close()
                anew = True
            pieces, more = self._take(seen, last)
        except StoreError as error:
            self._over, self._trouble = ended, str(error)
            return Said(title=title, anew=anew, note=self._trouble, over=ended)
        self._over = ended and not more
        return Said(
            title=title, anew=anew, pieces=pieces, over=self._over, more=more, note=_where(seen, last)
        )

    def close(self) -> None:
        """Let go of what is open."""
        if self._growing is not None:
            self._growing.close()
        self._growing = self._source = None
        self._over, self._trouble = False, ""

    def _take(self, seen: Look, last: AttemptRow) -> tuple[list[tuple[int, bytes]], bool]:
        """Some pieces, and whether more are there by now."""
        if seen.folder is None:
            return [], False
        if self._growing is None and self._source is None:
            self._growing = Growing(seen.folder, self.job, last.n, most=MOST)
        taken: list[tuple[int, bytes]] = []
        size = 0
        while size < PIECE:
            if self._source is None:
                assert self._growing is not None
                self._source = self._growing.news()
            piece = next(self._source, None)
            if piece is not None:
                taken.append(piece)
                size += len(piece[1])
                continue
            if last.open or self._growing is None or self._growing.begun:
                self._source = None if self._growing is not None else iter(())
                return taken, False
            # It had no file of its own: what it printed lies with that of others.
            self._growing.close()
            self._growing = None
            self._source = self._kept(seen, last)
        return taken, True

    def _kept(self, seen: Look, last: AttemptRow) -> Iterator[tuple[int, bytes]]:
        ref = output_of(seen, last)
        if ref is not None and seen.folder is not None:
            with telling(seen.reader, self.number, ref.file, folder=seen.folder):
                yield from read_last(seen.folder, ref, MOST)

    def _title(self, last: AttemptRow, *, now: float, alive: bool) -> str:
        attempt = f", attempt {last.n}," if last.n > 1 else ""
        if last.open and not alive:
            return f"job {self.job}{attempt} on {last.worker}: open, and nobody works on the run"
        if last.open and last.started_at is None:
            return f"job {self.job}{attempt} on {last.worker}: sent"
        lasted = took(last, now=now)
        how = f"runs {lasted}" if last.open else f"{ending_words(last)} after {lasted}"
        return f"job {self.job}{attempt} on {last.worker}: {how}"


def _silent(last: AttemptRow) -> str:
    return "nothing printed yet" if last.open else "it printed nothing"


def _where(seen: Look, last: AttemptRow) -> str:
    """Why there may be nothing to be seen."""
    if last.open and seen.folder is not None:
        place = kept_on(seen.reader, seen.row.number, f"out/{last.job}.{last.n}.log")
        if place and place != place_of(seen.folder):
            return f"its output is kept where it is taken in: {place}"
    return _silent(last)


class LastLines:
    """The last line that each attempt printed; of those that have ended it is read once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int], str] = {}

    def of(self, seen: Look, attempt: AttemptRow, *, width: int) -> str:
        """The last line of an attempt, as one harmless line; empty where it was silent, or can't be read here."""
        key = (seen.row.number, attempt.job, attempt.n)
        if key in self._known:
            return self._known[key]
        if len(self._known) > KNOWN:
            self._known.clear()
        try:
            line = last_line(COMMANDS.sub(b"", _end(seen, attempt)), width=width)
        except StoreError:
            line = ""
        if not attempt.open:
            self._known[key] = line
        return line


def _end(seen: Look, attempt: AttemptRow) -> bytes:
    """The end of what an attempt printed, on whichever stream."""
    if seen.folder is None:
        return b""
    if attempt.open:
        return last_part(seen.folder, f"out/{attempt.job}.{attempt.n}.log", TAIL)
    ref = output_of(seen, attempt)
    if ref is None:
        return b""
    return b"".join(data for _, data in read_last(seen.folder, ref, TAIL))
