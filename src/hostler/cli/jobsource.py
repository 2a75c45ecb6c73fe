"""Where a batch's jobs come from: the words behind `:::`, a file, or stdin. Lines are passed on one by one, never held.

It must never read a terminal as if it were a list of jobs, and never be deaf to signals while a slow writer is read.
"""

from __future__ import annotations

import io
import os
import random
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from io import FileIO
from typing import TYPE_CHECKING, Any

from hostler.cli.rows import Form, Row, checked_names, combined
from hostler.cli.splitter import BLOCK, JobLines, words_as_bytes
from hostler.errors import UsageError

if TYPE_CHECKING:
    from hostler.model.templates import Template

#: Seconds between two looks at whether a signal has come, and until a silent stdin is spoken of.
LOOK = 0.2
SILENT = 3.0
NO_JOBS = "no jobs: give one a line on stdin, after :::, or with --jobs FILE"
#: Lines of files behind `::::` that are combined with others have to be held: so many bytes of them.
HELD = 256 << 20


class JobSource:
    """The jobs of a new run. `skipped` counts lines without a job, and is right when all have been read.

    `sources` are the lists of words behind `:::`, `marks` what stood before each; without any, lines of `file` or of
    stdin are read. `names` are the columns' names, where there is a header. Raises UsageError when there is nowhere
    to read from.
    """

    def __init__(
        self,
        sources: Sequence[Sequence[str]],
        file: str | None,
        template: Template | None = None,
        *,
        marks: Sequence[str] = (),
        form: Form | None = None,
    ) -> None:
        self.skipped = 0
        self.names: tuple[str, ...] = ()
        self._form = form = form or Form()
        self._check: Callable[[], None] = lambda: None
        self._lists: list[list[Row]] = []
        self._linked: list[bool] = []
        self._file: FileIO | None = None
        self._numbers = 0  # of the last line that was read
        if file and sources:
            raise UsageError("jobs behind ':::' and --jobs: one or the other")
        if len(sources) == 1 and list(marks) == ["::::"] and len(sources[0]) == 1:
            file, sources = sources[0][0], ()
        if sources:
            self._hold(sources, marks or [":::"] * len(sources))
        else:
            self._name = file if file and file != "-" else "stdin"
            self._file = _opened(self._name, "::::" if marks else "--jobs")
            self._lines = self._read(self._file, self._name)
            if form.header:
                first = next(self._lines, None)
                if first is None:
                    raise UsageError(f"{self._name}: no line that could name columns")
                self.names = checked_names(first, where=f"{self._name}: line {self._numbers}")
        if template is not None:
            self.fill(template)

    def fill(self, template: Template) -> None:
        """Say what the jobs are for. Raises UsageError when they could not fill the command's holes."""
        there = len(self.names) or (sum(map(len, (rows[0] for rows in self._lists if rows))) or 1)
        known = self.names or self._form.plain
        if known and template.needs > there:
            if not (all(self._lists) if self._file is None else next(self._lines, None)):
                raise UsageError(NO_JOBS)
            raise UsageError(f"the command asks for argument {{{template.needs}}}, and each job has {there}")
        self._key = template.key

    def jobs(self, *, check: Callable[[], None]) -> Iterator[tuple[Row, bytes]]:
        """Every job, as arguments and content key; `check` is called now and then, and ends it by raising."""
        self._check, key = check, self._key
        rows = (
            combined(self._lists, self._linked, link=self._form.link) if self._file is None else self._lines
        )
        if self._form.seed is not None:
            held = list(rows)
            random.Random(self._form.seed).shuffle(held)
            rows = iter(held)
        try:
            for args in rows:
                yield args, key(args)
        except OSError as error:
            raise UsageError(f"{self._name}: {error.strerror}") from None
        except UsageError as error:
            if self._form.plain or self._file is None or self._form.seed is not None:
                raise
            raise UsageError(f"{self._name}: {self._what} {self._numbers}: {error}") from None

    def close(self) -> None:
        """Close the file of jobs."""
        if self._file is not None and self._name != "stdin":
            self._file.close()

    @property
    def _what(self) -> str:
        return "item" if self._form.null else "line"

    def _read(self, file: FileIO, name: str) -> Iterator[Row]:
        """The rows of a file, as they come."""
        form = self._form
        stream = io.BufferedReader(_Patient(file, self._look), BLOCK)
        lines = JobLines(
            stream, name=name, end=b"\0" if form.null else b"\n", whole=not form.plain or form.header
        )
        if not lines.whole:
            for line in lines:
                yield (line,)
            self.skipped = lines.skipped
            return
        for self._numbers, line in enumerate(lines, 1):
            row = form.cut(line) if line else ()
            if row:
                yield row
            else:
                self.skipped += 1

    def _look(self) -> None:
        self._check()

    def _hold(self, sources: Sequence[Sequence[str]], marks: Sequence[str]) -> None:
        """Take in lists of words, and of files' lines; and their names, where there is a header."""
        names: list[bytes] = []
        self._name = "':::'"
        for words, mark in zip(sources, marks, strict=True):
            for rows in self._rows(words, mark):
                if not self._lists and mark.endswith("+"):
                    raise UsageError(f"{mark!r} goes in step with the list before it, and there is none")
                if self._form.header:
                    if not rows:
                        raise UsageError(f"{mark!r}: no word that could name a column")
                    names += rows[0]
                    rows = rows[1:]
                self._lists.append(rows)
                self._linked.append(mark.endswith("+"))
        if self._form.header:
            self.names = checked_names(tuple(names), where="--header")

    def _rows(self, words: Sequence[str], mark: str) -> Iterator[list[Row]]:
        """The lists that stand behind one mark."""
        if not mark.startswith("::::"):
            yield [self._form.cut(word) for word in words_as_bytes(words)]
            return
        for name in words:
            held, size = [], 0
            with _opened("stdin" if name == "-" else name, mark) as file:
                try:
                    for row in self._read(file, name):
                        size += sum(map(len, row)) + 64
                        if size > HELD:
                            raise UsageError(f"{name}: too long to be combined with other lists")
                        held.append(row)
                except OSError as error:
                    raise UsageError(f"{name}: {error.strerror}") from None
            yield held


def _opened(name: str, flag: str) -> FileIO:
    if name != "stdin":
        try:
            return FileIO(name)
        except OSError as error:
            raise UsageError(f"{flag} {name}: {error.strerror}") from None
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
