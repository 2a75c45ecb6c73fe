"""One file per host that people `tail -f`: what it did, attempt after attempt, each as a whole once it has ended.

A view over what is recorded: a file is always the beginning of what the store would write, so after a kill it is
completed and holds nothing twice. It only ever grows, and one at a time is open. It must never hold the run up: the
beginning of long output is left to `hostler log`, and a file that can't be written ends the writing, with one line.
Since it is read on terminals, what hosts printed is made harmless in it; `hostler log` has the bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from hostler.errors import StoreError
from hostler.model.durations import format_duration
from hostler.model.endings import Ended
from hostler.model.events import AttemptEnded, Event
from hostler.model.jobs import Ending, OutputRef
from hostler.views.text import visible
from hostler.views.words import ending_text, when

#: Bytes of output beyond which only its end is written, and how many lines of each stream that is at most.
LONG, LINES = 64 << 10, 100

#: Seconds between two writings, and attempts that are gathered at most.
PAUSE, GATHER = 0.25, 1_000

#: Letters of a host's name that a file's name holds.
LONGEST_NAME = 200

#: Beside the files: how many attempts are written, and how long each file was then.
WRITTEN = ".written"

Fetch = Callable[[Sequence[tuple[int, int]]], Iterable[Ended]]
#: All of an output as it came; and the last so many lines of a stream.
Read = Callable[[OutputRef], Iterable[tuple[int, bytes]]]
Tail = Callable[[OutputRef, int, int], bytes]


class WorkerLogs:
    """The files in `folder` of a run.

    `fetch` gives attempts by (job, n), `command` what one executed, `read` and `tail` what it wrote. `later` calls a
    function after so many seconds; `say` tells a person one line.
    """

    def __init__(
        self,
        folder: Path,
        *,
        run: int,
        fetch: Fetch,
        command: Callable[[Ended], str],
        read: Read,
        tail: Tail,
        later: Callable[[float, Callable[[], None]], object],
        say: Callable[[str], None],
    ) -> None:
        self._folder, self._run, self._fetch, self._command = folder, run, fetch, command
        self._read, self._tail, self._later, self._say = read, tail, later, say
        self._ended: list[tuple[int, int]] = []
        self._waits = self._broken = False
        self._count = 0
        self._sizes: dict[str, int] = {}

    def begin(self, before: Iterable[Ended]) -> None:
        """Write what has ended `before`, in the order of its ends, as far as it isn't there yet."""
        with self._telling():
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._count, self._sizes = self._marked()
            there = {path.name: path.stat().st_size for path in self._folder.glob("*.log")}
            if any(there.get(name, 0) < size for name, size in self._sizes.items()):
                self._count, self._sizes = (
                    0,
                    {},
                )  # a power cut took what the mark speaks of: from the beginning
            ahead = {name: size - self._sizes.get(name, 0) for name, size in there.items()}
            self._write(islice(before, self._count, None), ahead=ahead)

    def saw(self, events: Sequence[Event]) -> None:
        """Take in events that have been committed."""
        if self._broken:
            return
        for event in events:
            if isinstance(event, AttemptEnded) and event.ending is not Ending.REVOKED:
                self._ended.append((event.job, event.n))
        if len(self._ended) >= GATHER:
            self.flush()
        elif self._ended and not self._waits:
            self._waits = True
            self._later(PAUSE, self.flush)

    def flush(self) -> None:
        """Write what has been gathered."""
        self._waits = False
        ended, self._ended = self._ended, []
        if ended and not self._broken:
            with self._telling():
                self._write(self._fetch(ended), ahead={})

    def block(self, ended: Ended) -> bytes:
        """An attempt as its host's file tells it: the same whenever it is made."""
        name = b"== job %d/%d: " % (ended.job, ended.n)
        parts = [name, self._command(ended).encode("utf-8", "surrogateescape"), b"\n", *self._output(ended)]
        if not parts[-1].endswith(b"\n"):
            parts.append(b"\n")
        how = ending_text(ended.ending, code=ended.code, signal=ended.signal, detail=ended.detail)
        after = "" if ended.elapsed is None else f" after {format_duration(ended.elapsed)}"
        parts += [name, f"{how}{after}, {when(ended.ended_at)}\n".encode("utf-8", "surrogateescape")]
        return b"".join(parts)

    def _output(self, ended: Ended) -> Iterator[bytes]:
        ref = ended.output
        if ref is None:
            return
        try:
            if ref.out + ref.err <= LONG:
                yield visible(b"".join(data for _, data in self._read(ref)))
                return
            ends = [self._tail(ref, stream, LINES) for stream in (1, 2)]
        except StoreError as error:
            yield f"({error})".encode("utf-8", "backslashreplace")
            return
        left = ref.out + ref.err - sum(map(len, ends))
        yield b"(%d bytes more: hostler log %d %d -a %d)\n" % (left, self._run, ended.job, ended.n)
        for end in ends:
            yield visible(end if end.endswith(b"\n") or not end else end + b"\n")

    def _write(self, some: Iterable[Ended], *, ahead: dict[str, int]) -> None:
        """Append attempts to their hosts' files, but for what is there already: `ahead` bytes of each file."""
        gathered: dict[str, list[bytes]] = {}
        for number, ended in enumerate(some, 1):
            name, text = file_name(ended.host), self.block(ended)
            if (there := ahead.get(name, 0)) > 0:
                ahead[name] = there - len(text)
                text = text[there:]
            gathered.setdefault(name, []).append(text)
            self._count += 1
            if number % GATHER == 0:
                self._append(gathered)
        self._append(gathered)
        self._mark()

    def _append(self, gathered: dict[str, list[bytes]]) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        for name, texts in gathered.items():
            fd = os.open(self._folder / name, flags, 0o600)
            try:
                left = memoryview(b"".join(texts))
                while left:
                    left = left[os.write(fd, left) :]
                self._sizes[name] = os.fstat(fd).st_size
            finally:
                os.close(fd)
        gathered.clear()

    def _mark(self) -> None:
        """Note how far the files are written, so that who goes on need not look at all that there is."""
        fresh = self._folder / f"{WRITTEN}.new"
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps({"attempts": self._count, "sizes": self._sizes}), encoding="utf-8")
        fresh.replace(self._folder / WRITTEN)

    def _marked(self) -> tuple[int, dict[str, int]]:
        """What the mark says; that nothing is written when there is none that can be read."""
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            found = json.loads((self._folder / WRITTEN).read_bytes())
            return int(found["attempts"]), {str(name): int(size) for name, size in found["sizes"].items()}
        return 0, {}

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Let a failure end the writing, never the run."""
        try:
            yield
        except (OSError, StoreError) as error:
            self._broken = True
            then = f"this completes them: hostler batch --resume {self._run} --worker-logs"
            self._say(f"hostler: the hosts' files are no longer written: {error}; {then}")


def file_name(host: str) -> str:
    """What a host's file is called: a name has neither slash nor leading dot, but may be too long for a file.

    >>> file_name("web1")
    'web1.log'
    """
    return f"{host[:LONGEST_NAME]}.log"
