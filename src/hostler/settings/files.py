"""The two files that settings stand in, read once: the project's (`./hostler.toml`) and the user's.

A file that somebody else could have written is refused, and so is one in a folder where somebody else could have put
it. It must never follow that with a guess: a refused file ends the command.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct, field

from hostler.errors import SpecError
from hostler.safefiles import doubt

NAME = "hostler.toml"
#: Bytes that a file of settings may have.
LIMIT = 64 << 10

_TABLE = re.compile(r"\s*\[\[?([^\[\]]+)\]\]?\s*(?:#.*)?\Z")
_KEY = re.compile(
    r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_WHERE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)\Z")


class File(Struct, frozen=True, kw_only=True):
    """What one file says. `shown` is its name in complaints, `folder` where its relative paths begin."""

    kind: Literal["project", "user"]
    shown: str
    folder: str
    tables: Mapping[str, Any]
    lines: Mapping[tuple[str, ...], int] = field(default_factory=dict)

    def refuse(self, why: str, *keys: str) -> SpecError:
        """The complaint about what stands at `keys`."""
        return SpecError(self.shown, self.line(*keys), why)

    def line(self, *keys: str) -> int | None:
        """The line of a key, or of the table around it; None when it can't be told."""
        return next((self.lines[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in self.lines), None)

    def place(self, *keys: str) -> str:
        """Where a key stands: file:line."""
        line = self.line(*keys)
        return f"{self.shown}:{line}" if line else self.shown


def user_path(environ: Mapping[str, str]) -> Path:
    """Where the user's file is: $XDG_CONFIG_HOME/hostler/hostler.toml, ~/.config if that isn't set or relative."""
    shared = environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(shared):
        shared = os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".config")
    return Path(shared) / "hostler" / NAME


def read_files(environ: Mapping[str, str], *, project: bool = True) -> tuple[File, ...]:
    """The files that are there, the project's first unless it is not wanted. Raises SpecError."""
    user = user_path(environ)
    found = [_read(user, kind="user", shown=str(user), folder=str(user.parent))]
    if project and not _same(NAME, user):
        found.insert(0, _read(Path(NAME), kind="project", shown=NAME, folder="."))
    return tuple(file for file in found if file is not None)


def _same(one: str, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _read(path: Path, *, kind: Literal["project", "user"], shown: str, folder: str) -> File | None:
    try:
        # Not to wait for the other end, should it be a pipe.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        if kind == "project" and os.path.islink(path):
            raise SpecError(shown, None, "is a link that leads nowhere; mend or remove it") from None
        return None
    except OSError as error:
        raise SpecError(shown, None, f"can't be read: {error.strerror}") from None
    try:
        owners = (os.geteuid(), 0) if kind == "user" else (os.geteuid(),)
        if why := doubt(os.fstat(fd), path, owners=owners):
            out = "" if kind == "user" else ", or run hostler in another folder"
            raise SpecError(shown, None, f"is not used as settings, since {why}{out}")
        with open(fd, "rb", closefd=False) as file:
            data = file.read(LIMIT + 1)
    except OSError as error:
        raise SpecError(shown, None, f"can't be read: {error.strerror}") from None
    finally:
        os.close(fd)
    if len(data) > LIMIT:
        raise SpecError(shown, None, f"is longer than {LIMIT >> 10} KiB: too long for settings")
    return _parsed(data, kind=kind, shown=shown, folder=folder)


def _parsed(data: bytes, *, kind: Literal["project", "user"], shown: str, folder: str) -> File:
    import tomllib

    try:
        text = data.decode()
        tables = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise SpecError(shown, data.count(b"\n", 0, error.start) + 1, "is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        where, why = _WHERE.search(str(error)), _WHERE.sub("", str(error))
        line = int(where[1]) if where and where[1] else data.rstrip().count(b"\n") + 1
        raise SpecError(shown, line, f"is not TOML: {why[:1].lower()}{why[1:]}") from None
    except RecursionError:
        raise SpecError(shown, None, "is nested too deeply") from None
    return File(kind=kind, shown=shown, folder=folder, tables=tables, lines=_lines(text))


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """The line of every table and key, for complaints only: a look-alike in a long text costs a wrong number."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), 1):
        if head := _TABLE.match(line.rstrip("\r")):
            table = _words(head[1])
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            found.setdefault((*table, *_words(key[1])), number)
    return found


def _words(dotted: str) -> tuple[str, ...]:
    return tuple(word.strip().strip("\"'") for word in dotted.split("."))
