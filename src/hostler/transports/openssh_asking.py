"""The ssh program's questions for a secret, answered from our memory: never through argv, the environment or a file.

ssh starts a small helper for each question, which passes it on through a private socket. Every question is answered
once: a secret that didn't fit is not tried again.
"""

from __future__ import annotations

import asyncio
import os
import secrets as random
import shlex
import socket
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from hostler.transports.logins import Answers, Secrets

SOCKET = "HOSTLER_ASK"  # the variable that tells the helper where we listen
LONGEST = 4 << 10  # bytes of one question
PATIENCE = 10.0  # seconds for a question to arrive
HELPER = f"""
import os, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect(os.environ[{SOCKET!r}])
line.sendall(sys.argv[1].encode("utf-8", "surrogateescape"))
line.shutdown(socket.SHUT_WR)
answer = b""
while data := line.recv(4096):
    answer += data
if answer[:1] != b"+":
    sys.exit(1)
os.write(1, answer[1:] + b"\\n")
"""


class Asking:
    """One line's questions. `path` is the socket's, `names` are the host's."""

    def __init__(self, secrets: Secrets, path: str, names: frozenset[str]) -> None:
        self._answers, self._path = Answers(secrets, names), path
        self._server: asyncio.Server | None = None
        self._helper: Path | None = None

    async def listen(self, helper: Path) -> None:
        """Answer from now on. Raises OSError."""
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=LONGEST)
        os.chmod(self._path, 0o600)
        self._helper = helper

    def env(self) -> dict[str, str]:
        """What the ssh program is told of us."""
        if self._helper is None:
            return {"SSH_ASKPASS_REQUIRE": "never"}
        # Programs before 8.4 don't know REQUIRE, and use a helper where there is a display and no terminal.
        display = os.environ.get("DISPLAY") or "none"
        return {
            "SSH_ASKPASS": str(self._helper), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": display, SOCKET: self._path
        }  # fmt: skip

    def account(self, methods: str) -> str:
        """What is to say of passwords when the host took none; `methods` are those that it named."""
        return self._answers.account(methods)

    def refusal(self, who: str, keys: str, methods: str) -> str:
        """Why a host did not let `who` in; `keys` tells of the keys, `methods` are those that it named."""
        return self._answers.refusal(who, keys, methods)

    def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()
            self._server = None
            Path(self._path).unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if _peer(writer.get_extra_info("socket")) in (os.getuid(), None):
                async with asyncio.timeout(PATIENCE):
                    question = (await reader.read(LONGEST)).decode("utf-8", "replace")
                answer = self._answers.question(question)
                writer.write(b"-" if answer is None else b"+" + answer.encode("utf-8", "surrogateescape"))
                await writer.drain()
        except (OSError, TimeoutError):
            pass
        finally:
            writer.close()


def helper(folders: Iterable[Path]) -> Path:
    """Write the program that passes questions on, into the first folder that programs may be started from.

    Raises OSError.
    """
    python = sys.executable or "python3"
    for folder in folders:
        path = folder / f"ask-{random.token_hex(4)}"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700), "w") as file:
            file.write(f'#!/bin/sh\nexec {shlex.quote(python)} -ISc {shlex.quote(HELPER)} "$1"\n')
        if os.access(path, os.X_OK):  # a file system mounted noexec says no
            return path
        path.unlink()
    raise OSError(13, "no folder here that programs may be started from, for what ssh asks with")


def _peer(line: socket.socket) -> int | None:
    """The user at the other end of a socket, where the system tells."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    found = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", found)[1])
