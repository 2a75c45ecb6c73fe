"""Reading secrets: from the terminal, a file of one's own, an open descriptor or the environment.

It must never put a secret into a message, and never read one from where others could have read it before.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hostler.cli.options import blaming
from hostler.errors import UsageError
from hostler.model.secrets import Secret, SecretSource

#: The longest secret, in bytes.
LONGEST = 4096
#: What was in the environment: two options may name one variable.
_TAKEN: dict[bytes, bytes] = {}


def read_secret(text: str, flag: str, *, what: str) -> Secret:
    """The secret that an option's text leads to; `what` it is, for the question on the terminal. Raises UsageError.

    One line, without its end. A file that others may read is refused.
    """
    with blaming(f"{flag}:"):
        source = SecretSource.parse(text)
    try:
        data = _READERS[source.kind](source.name, what)
    except UsageError as error:
        raise UsageError(f"{flag}: {error}") from None
    except OSError as error:
        raise UsageError(f"{flag} {source.kind}:{source.name}: {error.strerror}") from None
    data = data.removesuffix(b"\n").removesuffix(b"\r")
    if not data or len(data) > LONGEST or b"\n" in data or b"\0" in data:
        raise UsageError(
            f"{flag} {text}: must be one line of 1 to {LONGEST} bytes"
            if source.kind != "ask"
            else f"{flag}: nothing was typed"
        )
    return Secret(os.fsdecode(data))


def _ask(_: str, what: str) -> bytes:
    import getpass

    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise UsageError("there is no terminal to ask on: use file:PATH, fd:NUMBER or env:NAME") from None
    try:
        return os.fsencode(getpass.getpass(f"{what}: "))
    except EOFError:
        return b""
    except KeyboardInterrupt:
        raise UsageError("not answered") from None


def _file(name: str, _: str) -> bytes:
    with open(Path(name).expanduser(), "rb") as file:
        facts = os.fstat(file.fileno())
        if stat.S_ISREG(facts.st_mode) and facts.st_mode & 0o077:
            mode = f"{stat.S_IMODE(facts.st_mode):04o}"
            raise UsageError(f"{name}: others may read it (mode {mode}); chmod 600 it")
        return file.read(LONGEST + 3)


def _fd(name: str, _: str) -> bytes:
    with open(int(name), "rb", closefd=False) as file:
        return file.read(LONGEST + 3)


def _env(name: str, _: str) -> bytes:
    key = os.fsencode(name)
    if key in os.environb:  # what we start, jobs on this machine too, is not to find it there
        _TAKEN[key] = os.environb.pop(key)
    if key not in _TAKEN:
        raise UsageError(f"{name} is not in the environment")
    return _TAKEN[key]


_READERS = {"ask": _ask, "file": _file, "fd": _fd, "env": _env}
