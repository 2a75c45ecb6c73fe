"""How a runner is begun as another account: by sudo, which may ask for a password.

The password is written to the line only when sudo has asked for it by a prompt that nobody could know beforehand, and
only once: what sudo asks again for was wrong. It must never be in a command line, an environment or an error.
"""

from __future__ import annotations

import re
import secrets

from hostler.errors import HostRefused
from hostler.model.secrets import Secret
from hostler.ports import Connection, Stream
from hostler.remote import source

#: Login messages, and sudo's own, that may come before its verdict, in bytes.
NOISE = 256 << 10
#: As a line of its own: sudo repeats the whole command in words when it refuses one.
GRANTED = re.compile(source.GRANTED.encode() + rb"\r?\n")
VERDICTS = re.compile(
    r"sudo: (?!unable to resolve host).*|Sorry, .*|.* is not (?:in the sudoers file|allowed to run sudo).*"
)


class Sudo:
    """One way in, as `user`, on one line. `password` is what sudo is told when it asks; without one it may not ask."""

    def __init__(self, user: str, password: Secret | None = None) -> None:
        self.user, self._password = user, password
        self._prompt = f"hostler-{secrets.token_hex(8)}:" if password is not None else ""

    @property
    def prompt(self) -> str:
        """How it is made to ask; empty when it must not."""
        return self._prompt

    def answer(self) -> bytes:
        """What it is told when it asks."""
        assert self._password is not None
        return self._password.reveal().encode("utf-8", "surrogateescape") + b"\n"

    def boot(self) -> str:
        """The command line that takes in one command as the account. Raises ValueError."""
        from hostler.remote.oneshot_source import boot_as

        return boot_as(self.user, prompt=self._prompt)

    def command(self, python: str | None) -> str:
        """The command line that begins the runner. Raises ValueError."""
        return source.command_as(self.user, prompt=self._prompt, python=python)

    def reader(self) -> str:
        """The command line that takes in a checked message of shell text as the account. Raises ValueError."""
        return source.reader_as(self.user, prompt=self._prompt)

    async def enter(self, line: Connection, *, deadline: float) -> tuple[Stream, bytes]:
        """A stream to such a reader, and what came on it behind sudo's consent. Raises HostError."""
        stream = await line.stream(self.reader(), deadline=deadline)
        host = line.host.name
        if self._password is not None:
            return stream, await self.pass_by(stream, host)
        seen = b""
        while (granted := GRANTED.search(seen)) is None:
            data = await stream.read()
            seen += data
            if not data or len(seen) > NOISE:
                raise self.refusal(host, seen)
        return stream, seen[granted.end() :]

    async def pass_by(self, stream: Stream, host: str) -> bytes:
        """Answer sudo's question, if it asks; what came behind its consent. Raises HostRefused, LineLost.

        Where it can't ask there is nothing to wait for: its answer is read with the runner's.
        """
        if self._password is None:
            return b""
        seen, asked = b"", 0
        prompt = self._prompt.encode()
        while (granted := GRANTED.search(seen)) is None:
            if seen.count(prompt) > asked:
                asked += 1
                if asked > 1:
                    raise HostRefused(host, f"sudo did not take the password given for {self.user}")
                stream.write(self.answer())
            data = await stream.read()
            seen += data
            if not data or len(seen) > NOISE:
                raise self.refusal(host, seen.replace(prompt, b""))
        return seen[granted.end() :]

    def refusal(self, host: str, seen: bytes) -> HostRefused:
        """What sudo said when it let nobody in, as an error."""
        lines = [line.strip() for line in seen[-8000:].decode("utf-8", "replace").splitlines()]
        said = [line for line in lines if line]
        why = next((line for line in said if VERDICTS.fullmatch(line)), said[-1] if said else "")
        hint = "; give one with --as-password" if "password is required" in why else ""
        return HostRefused(host, f"sudo refused to run as {self.user}: {why[:200] or 'without a word'}{hint}")

    def refused(self, seen: bytes) -> bool:
        """Whether a line that ended without a runner had not even got past sudo."""
        return self._password is None and not GRANTED.search(seen)
