"""Small files to and from a host through SFTP: whole or not at all.

It must never leave a part under the name that was asked for, nor a file with wider rights than asked, even briefly.
"""

from __future__ import annotations

import posixpath
import secrets
from contextlib import suppress
from typing import cast

import asyncssh

BLOCK = 32 << 10


async def store(sftp: asyncssh.SFTPClient, data: bytes, path: str, mode: int) -> None:
    """Write `data` beside `path` with rights `mode`, make it durable, and move it there. Raises asyncssh.SFTPError."""
    folder, name = posixpath.split(path)
    part = posixpath.join(folder, f".{name[:180]}.{secrets.token_hex(8)}.part")
    try:
        async with sftp.open(part, "xb", asyncssh.SFTPAttrs(permissions=0o600), block_size=BLOCK) as file:
            await file.write(data)
            await file.setstat(asyncssh.SFTPAttrs(permissions=mode))
            with suppress(asyncssh.SFTPOpUnsupported):
                await file.fsync()
        await sftp.posix_rename(part, path)
    except BaseException:
        with suppress(asyncssh.Error, OSError):
            await sftp.remove(part)
        raise


async def fetch(sftp: asyncssh.SFTPClient, path: str, limit: int) -> bytes:
    """Read at most one byte more than `limit`, which tells that there is more. Raises asyncssh.SFTPError."""
    async with sftp.open(path, "rb", block_size=BLOCK) as file:
        return cast("bytes", await file.read(limit + 1))
