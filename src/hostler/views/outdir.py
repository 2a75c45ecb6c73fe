"""A file per host and stream in one folder: --outdir DIR gives DIR/HOST.out and DIR/HOST.err.

Each is there whole or not at all, and of a host that wrote nothing it is empty. It must never write outside of DIR.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from hostler.errors import UsageError
from hostler.model.endings import Ended
from hostler.model.events import AttemptEnded, Event
from hostler.model.jobs import OutputRef
from hostler.views.joblog import Fetch, no_more
from hostler.views.results import file_name


class OutDir:
    """Writes the last attempt of each host; `fetch` gives attempts by (job, n), `read` a stream of kept output."""

    def __init__(
        self, folder: Path, *, fetch: Fetch, read: Callable[[OutputRef, int], Iterable[bytes]]
    ) -> None:
        self._folder, self._fetch, self._read = folder, fetch, read

    def begin(self) -> None:
        """Make the folder. Raises UsageError."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self._folder, os.W_OK):
                raise UsageError(f"--outdir {self._folder}: Permission denied")
        except OSError as error:
            raise UsageError(f"--outdir {self._folder}: {error.strerror}") from None

    def saw(self, events: Sequence[Event]) -> None:
        """Write what has ended. Raises UsageError."""
        keys = [(e.job, e.n) for e in events if isinstance(e, AttemptEnded) and e.then.final]
        if not keys:
            return
        try:
            for ended in self._fetch(keys):
                self._write(ended)
        except OSError as error:
            raise no_more(f"--outdir {self._folder}", error) from None

    def _write(self, ended: Ended) -> None:
        name = file_name(ended.host.encode())
        for stream, ending in ((1, "out"), (2, "err")):
            fresh = self._folder / f".{name}.{ending}.new"
            fresh.unlink(missing_ok=True)
            with open(fresh, "xb", buffering=0) as file:
                file.writelines(self._read(ended.output, stream) if ended.output is not None else ())
            fresh.replace(self._folder / f"{name}.{ending}")
