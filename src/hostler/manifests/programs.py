"""Inventories that are programs: run as `FILE --list`, their JSON taken from stdout.

No shell, a deadline, bounded output, and nothing that others could have written is run. A file of text that merely
may be executed is no program: it has to begin as one.
"""

from __future__ import annotations

import os
import selectors
import signal
import stat
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from hostler.errors import SpecError, plain
from hostler.safefiles import doubt

#: Seconds that a program has, bytes that it may say, and how much of its stderr is kept.
DEADLINE = 30.0
LARGEST = 16 << 20
WORDS = 8 << 10
BEGINNINGS = (b"#!", b"\x7fELF")


def is_program(path: Path) -> bool:
    """Whether a file is a program: it may be executed, and begins as programs do."""
    try:
        if not stat.S_ISREG(path.stat().st_mode) or not os.access(path, os.X_OK):
            return False
        with path.open("rb") as file:
            return file.read(4).startswith(BEGINNINGS)
    except (OSError, ValueError):
        return False


def run_program(path: Path, *, deadline: float = DEADLINE, largest: int = LARGEST) -> str:
    """What `PATH --list` prints, within `deadline` seconds and `largest` bytes.

    Raises SpecError when the program could be somebody else's, doesn't end in time, says too much or ends badly.
    """
    name = str(path)
    try:
        found = path.stat()
    except OSError as error:
        raise SpecError(name, None, f"can't be looked at: {error.strerror}") from None
    if why := doubt(found, path, owners=(os.geteuid(), 0)):
        raise SpecError(name, None, f"is a program, and is not run, since {why}")
    try:
        process = subprocess.Popen(
            [os.path.abspath(path), "--list"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise SpecError(name, None, f"can't be run: {error.strerror}") from None
    with process:
        try:
            out, err, why = _heard(process, deadline, largest)
        finally:
            # What it has left behind ends with it: it may hold the pipes, and it was asked for one answer.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
    if why:
        raise SpecError(name, None, f"--list {why}")
    if process.returncode:
        code = process.returncode
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise SpecError(name, None, f"--list {how}{_last(err)}")
    try:
        return out.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise SpecError(
            name, None, f"--list printed byte 0x{out[wrong.start]:02x}, which is not UTF-8"
        ) from None


def _heard(process: subprocess.Popen[bytes], deadline: float, largest: int) -> tuple[bytes, bytes, str]:
    """Its stdout, the end of its stderr, and why it was given up, if it was; it has ended when it was not."""
    assert process.stdout and process.stderr
    end = time.monotonic() + deadline
    out, err = bytearray(), bytearray()
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ, out)
        ready.register(process.stderr, selectors.EVENT_READ, err)
        late = f"has not ended after {deadline:g}s"
        while ready.get_map():
            left = end - time.monotonic()
            if left <= 0:
                return bytes(out), bytes(err), late
            for key, _ in ready.select(left):
                piece = os.read(key.fd, 65536)
                if not piece:
                    ready.unregister(key.fileobj)
                key.data.extend(piece)
                if len(out) > largest:
                    return b"", bytes(err), f"printed more than {largest >> 20} MiB"
                del err[:-WORDS]
    try:
        process.wait(max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        return b"", bytes(err), late
    return bytes(out), bytes(err), ""


def _last(err: bytes) -> str:
    """The last line that it said on stderr, for the end of a complaint."""
    lines = err.decode("utf-8", "replace").strip().splitlines()
    return f": {plain(lines[-1].strip())[:300]}" if lines else ""
