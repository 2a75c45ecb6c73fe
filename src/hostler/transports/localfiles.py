"""Small files on this machine: whole or not at all, as they are through SFTP.

It must never leave a part under the name that was asked for, nor a file with wider rights than asked, even briefly.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def store(data: bytes, path: Path, mode: int) -> None:
    """Write `data` beside `path` with rights `mode`, make it durable, and move it there. Raises OSError."""
    part = path.with_name(f".{path.name[:180]}.{secrets.token_hex(8)}.part")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(fd, mode)
            os.fsync(fd)
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def fetch(path: Path, limit: int) -> bytes:
    """Read at most one byte more than `limit`, which tells that there is more. Raises OSError."""
    # A pipe that nobody writes to must not hold us.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        return file.read(limit + 1) or b""
