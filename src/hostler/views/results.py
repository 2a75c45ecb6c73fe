"""Each job's output in a folder named by its arguments, as GNU parallel lays it out: --results DIR.

`DIR/1/A/2/B/` holds `stdout`, `stderr` and `seq` of the job whose arguments were A and B. An argument is data: none
ever leads out of DIR. Each file is there whole or not at all, and `seq` comes last.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from hostler.errors import UsageError
from hostler.model.endings import Ended
from hostler.model.events import AttemptEnded, Event
from hostler.model.jobs import OutputRef
from hostler.views.joblog import Fetch, at_once, no_more

#: The longest name that is made of an argument, in bytes; of a longer one the beginning and a digest are kept.
LONGEST = 200
_SIGNS = {0x5C: b"\\\\", 0x2F: b"\\_", 0x09: b"\\t", 0x0A: b"\\n"}


class Results:
    """Writes the last attempt of each job; `fetch` gives attempts by (job, n), `read` a stream of kept output."""

    def __init__(
        self, folder: Path, *, fetch: Fetch, read: Callable[[OutputRef, int], Iterable[bytes]]
    ) -> None:
        self._folder, self._fetch, self._read = folder, fetch, read

    def begin(self, before: Iterable[Ended]) -> None:
        """Make the folder, and write what has ended before and is not in it. Raises UsageError."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for ended in before:
                if ended.last and self._lacks(ended):
                    self._write(ended)
        except OSError as error:
            raise UsageError(f"--results {self._folder}: {error.strerror}") from None

    def saw(self, events: Sequence[Event]) -> None:
        """Write the jobs that are over. Raises UsageError."""
        keys = [(e.job, e.n) for e in events if isinstance(e, AttemptEnded) and e.then.final]
        if keys:
            try:
                for ended in self._fetch(keys):
                    self._write(ended)
            except OSError as error:
                raise no_more(f"--results {self._folder}", error) from None

    def _lacks(self, ended: Ended) -> bool:
        place = self._place(ended)
        with suppress(OSError):
            return ended.ended_at > (place / "seq").stat().st_mtime
        return True

    def _write(self, ended: Ended) -> None:
        place = self._place(ended)
        place.mkdir(parents=True, exist_ok=True)
        for name, pieces in (
            ("stdout", self._stream(ended, 1)),
            ("stderr", self._stream(ended, 2)),
            ("seq", [b"%d\n" % ended.job]),
        ):
            # A temporary name that no argument makes.
            fresh = place / f"{name}\\new"
            fresh.unlink(missing_ok=True)  # what a killed run left, or a link that somebody laid
            with open(fresh, "xb", buffering=0) as file:
                file.writelines(pieces)
            fresh.replace(place / name)

    def _stream(self, ended: Ended, stream: int) -> Iterable[bytes]:
        return self._read(ended.output, stream) if ended.output is not None else ()

    def _place(self, ended: Ended) -> Path:
        """The job's own folder; a job whose arguments another one had too has its number added."""
        parts = [part for at, word in enumerate(ended.args, 1) for part in (str(at), file_name(word))]
        place = self._folder.joinpath(*parts) if parts else self._folder / "0"
        try:
            # Whatever somebody laid there: a pipe must not be waited for.
            with open(place / "seq", "rb", opener=at_once) as file:
                taken = file.read(32)
        except OSError:
            return place
        return place if taken == b"%d\n" % ended.job else Path(f"{place}\\#{ended.job}")


def file_name(word: bytes) -> str:
    r"""A file's name that an argument makes; no two make the same one.

    >>> file_name(b"../a b"), file_name(b"..")
    ('..\\_a b', '\\..')
    """
    made = (
        b"".join([_SIGNS.get(sign) or bytes((sign,)) for sign in word]) if set(word) & set(_SIGNS) else word
    )
    if made in (b"", b".", b".."):
        made = b"\\" + (made or b"e")
    if len(made) > LONGEST:
        made = made[: LONGEST - 18] + b"\\+" + sha256(word).hexdigest()[:16].encode()
    return os.fsdecode(made)


def check_results(folder: Path, *, fresh: bool) -> None:
    """Refuse what can't hold results, before a run is made; a `fresh` run's folder is empty. Raises UsageError."""
    try:
        if not folder.exists():
            above = next(parent for parent in folder.parents if parent.exists())
            if not above.is_dir():
                raise UsageError(f"--results {folder}: {above} is not a folder")
            if not os.access(above, os.W_OK):
                raise UsageError(f"--results {folder}: Permission denied")
            return
        if not folder.is_dir():
            raise UsageError(f"--results {folder}: not a folder")
        if not os.access(folder, os.W_OK):
            raise UsageError(f"--results {folder}: Permission denied")
        if fresh and any(_some(folder)):
            raise UsageError(f"--results {folder}: not empty; name a new folder for a new run")
    except OSError as error:
        raise UsageError(f"--results {folder}: {error.strerror}") from None


def _some(folder: Path) -> Iterator[bool]:
    with os.scandir(folder) as found:
        for _ in found:
            yield True
