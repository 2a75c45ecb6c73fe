"""One file per host that `tail -f` follows: what begins there, what it prints as it comes, how it ends.

A view over what is recorded: output is told once it is on disk, and how far a file goes is noted with it, so whoever
goes on after a kill adds what is missing and nothing twice. No file stays open. It must never hold the run up: of
output that comes faster than it is told the middle is left to `hostler log`, and a file that can't be written ends the
writing, with one line. Since it is read on terminals, what hosts printed is made harmless in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any
from zlib import crc32

from msgspec import Struct

from hostler.errors import StoreError
from hostler.model.commands import to_type
from hostler.model.durations import format_duration
from hostler.model.endings import Begun, Ended
from hostler.model.events import AttemptEnded, AttemptStarted, Event
from hostler.model.jobs import Ending
from hostler.views.appending import Appending
from hostler.views.text import visible
from hostler.views.words import ending_text, when

#: Bytes of one attempt's output that are told at once; of more only the end, this many bytes of it.
LONG, TAIL = 64 << 10, 8 << 10
#: Bytes of a line without an end that are told without waiting for it.
PARTIAL = 4 << 10
#: Bytes of output that are told in one writing, of all attempts together.
ROOM = 4 << 20
#: Seconds between two writings, and attempts that are gathered at most.
PAUSE, GATHER = 0.25, 1_000
#: Letters of a host's name that a file's name holds.
LONGEST_NAME = 200

Key = tuple[int, int]


class Told(Struct, frozen=True, kw_only=True):
    """Where the view learns what it tells: of a run's attempts, by (job, n), and of their output.

    `ended_since` gives what ended behind an event's number, in order; `running` all that has begun and not ended.
    `size` is how much of a running attempt's own file is written; `read` gives so many bytes of a file, from a place.
    """

    ended: Callable[[Sequence[Key]], Iterable[Ended]]
    ended_since: Callable[[int], Iterable[Ended]]
    begun: Callable[[Sequence[Key]], Iterable[Begun]]
    running: Callable[[], Iterable[Begun]]
    command: Callable[[tuple[bytes, ...], int], str]
    size: Callable[[int, int], int]
    read: Callable[[str, int, int], bytes]


class Telling(Struct):
    """An attempt that runs: which file tells of it, how much of its output is there, and how much there was to tell."""

    name: str
    told: int = 0
    seen: int = 0


class WorkerLogs:
    """The files in `folder` of a run. `later` calls a function after so many seconds; `say` tells a person one line."""

    def __init__(
        self,
        folder: Path,
        *,
        run: int,
        source: Told,
        later: Callable[[float, Callable[[], None]], object],
        say: Callable[[str], None],
    ) -> None:
        self._run, self._source, self._later, self._say = run, source, later, say
        self._files = Appending(folder)
        self._open: dict[Key, Telling] = {}
        self._ended: list[Key] = []
        self._begun: list[Key] = []
        self._pages: dict[str, bytearray] = {}
        #: Whose output stands last in a file, and whether in the middle of a line.
        self._speaker: dict[str, tuple[Key | None, bool]] = {}
        self._seq = 0
        self._waits = self._broken = False

    def begin(self, seq: int) -> None:
        """Tell what has happened up to the event of this number, as far as the files don't yet."""
        with self._telling():
            noted = self._files.recover() or {}
            since, skipped = int(noted.get("seq", 0)), int(noted.get("told", 0))
            for job, n, name, told in noted.get("open", ()):
                self._open[job, n] = Telling(name, told)
            for ended in islice(self._source.ended_since(since), skipped, None):
                self._end(ended)
                skipped += 1
                if skipped % GATHER == 0:
                    self._write(seq=since, told=skipped)
            self._seq = seq
            for begun in self._source.running():
                if (begun.job, begun.n) not in self._open:
                    self._begin(begun)
            self._write(seq=seq)
        self._again()

    def saw(self, events: Sequence[Event]) -> None:
        """Take in events that have been committed."""
        if self._broken:
            return
        self._seq += len(events)
        for event in events:
            if type(event) is AttemptEnded:
                if event.ending is not Ending.REVOKED:
                    self._ended.append((event.job, event.n))
            elif type(event) is AttemptStarted:
                self._begun.append((event.job, event.n))
        if len(self._ended) + len(self._begun) >= GATHER:
            self.flush()
        else:
            self._again()

    def flush(self) -> None:
        """Write what there is to tell."""
        if self._broken:
            return
        with self._telling():
            ended, self._ended = self._ended, []
            begun, self._begun = self._begun, []
            over = set(ended)
            for one in self._source.ended(ended):
                self._end(one)
            for each in self._source.begun([key for key in begun if key not in over]):
                self._begin(each)
            self._look()
            if self._pages:
                self._write(seq=self._seq)
        self._again()

    def _again(self) -> None:
        if (self._open or self._ended or self._begun) and not (self._waits or self._broken):
            self._waits = True
            self._later(PAUSE, self._in_time)

    def _in_time(self) -> None:
        self._waits = False
        self.flush()

    # -- what is told ------------------------------------------------------------------------------------------

    def _begin(self, begun: Begun) -> None:
        """An attempt has begun, and runs."""
        name, key = file_name(begun.host), (begun.job, begun.n)
        self._open[key] = Telling(name)
        self._first(name, key, begun.args, begun.started_at)

    def _end(self, ended: Ended) -> None:
        """An attempt has ended: the rest of its output, and how."""
        name, key = file_name(ended.host), (ended.job, ended.n)
        telling = self._open.pop(key, None)
        if telling is None:
            started = ended.started_at
            if started is None and ended.elapsed is not None:
                started = ended.ended_at - ended.elapsed
            self._first(name, key, ended.args, started)
        told, ref = telling.told if telling else 0, ended.output
        if ref is not None and ref.out + ref.err > told:
            data, _ = self._part(name, key, ref.file, ref.offset, told, ref.out + ref.err)
            self._output(name, key, data)
        how = ending_text(ended.ending, code=ended.code, signal=ended.signal, detail=ended.detail)
        after = "" if ended.elapsed is None else f" after {format_duration(ended.elapsed)}"
        self._heading(name, key, f"ends {when(ended.ended_at)}: {how}{after}")

    def _look(self) -> None:
        """Tell what running attempts have written; who was told of goes to the end of the queue."""
        room = ROOM
        for key in list(self._open):
            telling = self._open[key]
            size = self._source.size(*key)
            if size <= telling.told:
                continue
            rests, telling.seen = size == telling.seen, size
            data, start = self._part(telling.name, key, f"out/{key[0]}.{key[1]}.log", 0, telling.told, size)
            end = data.rfind(b"\n") + 1
            if rests or len(data) - end > PARTIAL:
                end = len(data) - _unfinished(data)
            self._output(telling.name, key, data[:end])
            telling.told = start + end
            self._open[key] = self._open.pop(key)
            room -= end
            if room <= 0:
                return

    def _part(self, name: str, key: Key, file: str, base: int, told: int, end: int) -> tuple[bytes, int]:
        """What is told of the output between these two places, and where that begins: of a lot only the end."""
        try:
            if end - told <= LONG:
                return self._source.read(file, base + told, end - told), told
            at = end - TAIL
            data = self._source.read(file, base + at, TAIL)
            cut = data.find(b"\n") + 1
            if cut < len(data):
                at, data = at + cut, data[cut:]
        except StoreError as error:
            self._aside(name, key, f"({error})")
            return b"", end
        self._aside(
            name, key, f"({at - told} bytes more: {to_type(f'log {self._run} {key[0]} -a {key[1]}')})"
        )
        return data, at

    # -- how it is written -------------------------------------------------------------------------------------

    def _first(self, name: str, key: Key, args: tuple[bytes, ...], started: float | None) -> None:
        at = "" if started is None else f" {when(started)}"
        self._heading(name, key, f"begins{at}: {self._source.command(args, key[0])}")

    def _heading(self, name: str, key: Key, text: str) -> None:
        line = f"== job {key[0]}/{key[1]} {text}\n"
        self._page(name).extend(b"\n" * self._spoken(name)[1] + line.encode("utf-8", "surrogateescape"))
        self._speaker[name] = key, False

    def _output(self, name: str, key: Key, data: bytes) -> None:
        if not data:
            return
        if self._spoken(name)[0] != key:
            self._heading(name, key, "goes on")
        self._page(name).extend(visible(data))
        self._speaker[name] = key, not data.endswith(b"\n")

    def _aside(self, name: str, key: Key, text: str) -> None:
        """A line of ours within what an attempt wrote."""
        if self._spoken(name)[0] != key:
            self._heading(name, key, "goes on")
        line = f"{text}\n".encode("utf-8", "backslashreplace")
        self._page(name).extend(b"\n" * self._spoken(name)[1] + line)
        self._speaker[name] = key, False

    def _spoken(self, name: str) -> tuple[Key | None, bool]:
        """Who spoke last in a file: nobody knows of what stood there before us, but for whether its line is whole."""
        if name not in self._speaker:
            self._speaker[name] = None, self._files.within_line(name)
        return self._speaker[name]

    def _page(self, name: str) -> bytearray:
        return self._pages.setdefault(name, bytearray())

    def _write(self, *, seq: int, told: int = 0) -> None:
        """Append what was gathered, and note with it how far that goes."""
        pages, self._pages = self._pages, {}
        noted: dict[str, Any] = {"seq": seq, "told": told}
        noted["open"] = [(*key, telling.name, telling.told) for key, telling in self._open.items()]
        self._files.append(pages, noted)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Let a failure end the writing, never the run."""
        try:
            yield
        except (OSError, StoreError) as error:
            self._broken = True
            then = f"this completes them: {to_type(f'batch --resume {self._run} --worker-logs')}"
            self._say(f"hostler: the hosts' files are no longer written: {error}; {then}")


def _unfinished(data: bytes) -> int:
    """How many bytes at the end wait for what follows: a part of a character, or a CR.

    >>> _unfinished(b"caf\\xc3"), _unfinished(b"50%\\r"), _unfinished(b"whole")
    (1, 1, 0)
    """
    if data.endswith(b"\r"):
        return 1
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return back if length > back else 0
        if byte < 0x80:
            return 0
    return 0


def file_name(host: str) -> str:
    """What a host's file is called. A name has neither slash nor leading dot; one too long for a file is cut.

    >>> file_name("web1")
    'web1.log'
    """
    if len(host) <= LONGEST_NAME:
        return f"{host}.log"
    return f"{host[:LONGEST_NAME]}~{crc32(host.encode('utf-8', 'surrogateescape')):08x}.log"
