"""A run's attempts in a file, a line each, in GNU parallel's columns: --joblog FILE.

The store is the truth: a run that is taken up again writes the file anew from it, so that a line is neither lost nor
doubled, whenever hostler was killed. It must never be read back to decide anything.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from hostler.errors import UsageError
from hostler.model.endings import Ended
from hostler.model.events import AttemptEnded, Event
from hostler.model.jobs import Ending

HEADER = b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"
#: Bytes gathered before they are written.
GATHER = 1 << 18

Fetch = Callable[[Sequence[tuple[int, int]]], Iterable[Ended]]


class JobLog:
    """Writes the lines of attempts as they end; `fetch` gives attempts by (job, n), `command` what one executed."""

    def __init__(self, path: Path, *, fetch: Fetch, command: Callable[[Ended], str]) -> None:
        self._path, self._fetch, self._command = path, fetch, command

    def begin(self, before: Iterable[Ended]) -> None:
        """Write the file anew with what has ended before. Raises UsageError."""
        try:
            if _regular(self._path):
                fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
                try:
                    fresh.unlink(missing_ok=True)  # what a killed run left, or a link that somebody laid
                    with open(fresh, "xb") as file:
                        self._write(file.write, before)
                    if self._path.exists():
                        fresh.chmod(stat.S_IMODE(self._path.stat().st_mode))
                    fresh.replace(self._path)
                except BaseException:
                    with suppress(OSError):
                        fresh.unlink()
                    raise
            else:
                with open(self._path, "wb", buffering=0, opener=at_once) as file:
                    self._write(file.write, before)
        except OSError as error:
            raise UsageError(f"--joblog {self._path}: {error.strerror}") from None

    def saw(self, events: Sequence[Event]) -> None:
        """Add the attempts that ended. Raises UsageError."""
        keys = [
            (event.job, event.n)
            for event in events
            if isinstance(event, AttemptEnded) and event.ending is not Ending.REVOKED
        ]
        if keys:
            lines = b"".join(map(self._line, self._fetch(keys)))
            try:
                with open(self._path, "ab", buffering=0, opener=at_once) as file:
                    file.write(lines)
            except OSError as error:
                raise no_more(f"--joblog {self._path}", error) from None

    def _write(self, write: Callable[[bytes], object], rows: Iterable[Ended]) -> None:
        held = bytearray(HEADER)
        for ended in rows:
            held += self._line(ended)
            if len(held) > GATHER:
                write(bytes(held))
                held.clear()
        write(bytes(held))

    def _line(self, ended: Ended) -> bytes:
        return joblog_line(ended, self._command(ended)).encode("utf-8", "surrogateescape")


def at_once(path: str, flags: int) -> int:
    """Open for `open`; a pipe that nobody has at its other end is refused, where a plain open waits for one, deaf."""
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    os.set_blocking(fd, True)
    return fd


def no_more(what: str, error: OSError) -> UsageError:
    """The word that a file beside a run is written no further, and how it is had all the same."""
    return UsageError(
        f"{what}: {error.strerror}: it is written no more, the run goes on, and a resume completes it"
    )


def joblog_line(ended: Ended, command: str) -> str:
    """One attempt in GNU parallel's columns: an exit value of -1 says that it ended in another way than by itself."""
    began = ended.started_at if ended.started_at is not None else ended.ended_at - (ended.elapsed or 0.0)
    received = ended.output.out + ended.output.err if ended.output is not None else 0
    code = ended.code if ended.code is not None and ended.ending in (Ending.OK, Ending.EXIT) else -1
    columns = (
        ended.job,
        ended.host,
        f"{began:.3f}",
        f"{ended.elapsed or 0.0:10.3f}",
        0,
        received,
        code,
        ended.signal or 0,
        command,
    )
    return "\t".join(map(str, columns)) + "\n"


def check_joblog(path: Path) -> None:
    """Refuse what can't be a joblog, before a run is made. Raises UsageError."""
    try:
        if path.is_dir():
            raise UsageError(f"--joblog {path}: a folder")
        if not path.exists():
            if not path.parent.is_dir():
                raise UsageError(f"--joblog {path}: there is no folder {path.parent}")
            if not os.access(path.parent, os.W_OK):
                raise UsageError(f"--joblog {path}: Permission denied")
            return
        if not os.access(path, os.W_OK):
            raise UsageError(f"--joblog {path}: Permission denied")
        if path.is_file():  # also at the end of a link, which is written to and not replaced
            with open(path, "rb") as file:
                head = file.read(len(HEADER))
            if head and head != HEADER:
                raise UsageError(f"--joblog {path}: it is there and no joblog, so it is not written over")
    except OSError as error:
        raise UsageError(f"--joblog {path}: {error.strerror}") from None


def _regular(path: Path) -> bool:
    """Whether a file is there that can be replaced by another, or none."""
    return not path.exists() or (path.is_file() and not path.is_symlink())
