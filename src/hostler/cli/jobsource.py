"""Where a batch's jobs come from: the words behind `:::`, a file, or stdin. They are passed on one by one, never held.

It must never read a terminal as if it were a list of jobs, and never be deaf to signals while a slow writer is read.
"""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from io import FileIO
from typing import TYPE_CHECKING, Any

from hostler.cli.splitter import BLOCK, jobs_from_lines, jobs_from_sources
from hostler.errors import UsageError

if TYPE_CHECKING:
    from hostler.model.templates import Template

#: Seconds between two looks at whether a signal has come, and until a silent stdin is spoken of.
LOOK = 0.2
SILENT = 3.0


class JobSource:
    """The jobs of a new run. `skipped` counts lines without a job, and is right when all have been read.

    Raises UsageError when there is nowhere to read from, or a job could not fill the command's holes.
    """

    def __init__(self, sources: Sequence[Sequence[str]], file: str | None, template: Template) -> None:
        there = len(sources) or 1
        if template.needs > there:
            raise UsageError(f"the command asks for argument {{{template.needs}}}, and each job has {there}")
        self.skipped = 0
        self._sources, self._key = sources, template.key
        self._name = file if file and file != "-" else "stdin"
        self._file = None if sources else _opened(self._name)

    def jobs(self, *, check: Callable[[], None]) -> Iterator[tuple[tuple[bytes, ...], bytes]]:
        """Every job, as arguments and content key; `check` is called now and then, and ends it by raising."""
        key = self._key
        if self._file is None:
            for args in jobs_from_sources(self._sources):
                yield args, key(args)
            return
        lines = jobs_from_lines(io.BufferedReader(_Patient(self._file, check), BLOCK), name=self._name)
        try:
            for line in lines:
                one = (line,)
                yield one, key(one)
        except OSError as error:
            raise UsageError(f"{self._name}: {error.strerror}") from None
        self.skipped = lines.skipped

    def close(self) -> None:
        """Close the file of jobs."""
        if self._file is not None and self._name != "stdin":
            self._file.close()


def _opened(name: str) -> FileIO:
    if name != "stdin":
        try:
            return FileIO(name)
        except OSError as error:
            raise UsageError(f"--jobs {name}: {error.strerror}") from None
    if sys.stdin is None or os.isatty(0):
        state = "closed" if sys.stdin is None else "a terminal"
        raise UsageError(
            f"no jobs: stdin is {state}; pipe jobs in, write them behind ':::', or use --jobs FILE"
        )
    return FileIO(0, closefd=False)


class _Patient(io.RawIOBase):
    """A stream that is waited for with an open ear, and spoken of when nothing comes."""

    def __init__(self, file: FileIO, check: Callable[[], None]) -> None:
        self._file, self._check = file, check

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        """Read what is there, as soon as there is something."""
        self._check()
        waited = 0.0
        while not select.select([self._file], [], [], LOOK)[0]:
            self._check()
            waited += LOOK
            if SILENT <= waited < SILENT + LOOK and os.isatty(2):
                os.write(2, b"hostler: waiting for jobs on stdin, up to its end\n")
        return self._file.readinto(buffer)
