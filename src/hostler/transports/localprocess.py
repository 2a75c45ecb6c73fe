"""A process of this machine as a Stream: its pipes, its end, and how it is ended with all that it has begun.

It must never end what has left its process group: that is how a process says that it is to go on without us.
"""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, SubprocessStreamProtocol
from contextlib import suppress
from pathlib import Path

from hostler.errors import LineLost

UNREAD = 1 << 20  # unread bytes at which we stop taking more in
PIECE = 256 << 10
STDERR_TAIL = 8 << 10
#: What a process is known to belong to: whoever ends that must find what is begun here, too.
MARKS = ("HOSTLER_ATTEMPT", "HOSTLER_SANDBOX")


def surroundings() -> dict[str, str]:
    """The environment of what is started here: ours, without what was said to us alone."""
    return {
        name: value for name, value in os.environ.items() if name in MARKS or not name.startswith("HOSTLER_")
    }


async def begin(command: str, *, host: str) -> Process:
    """Start a command line as sshd would: by a shell, in a session of its own and in the home folder.

    Raises OSError, ValueError.
    """
    loop = asyncio.get_running_loop()
    transport, pipes = await loop.subprocess_exec(
        lambda: SubprocessStreamProtocol(UNREAD, loop),
        *("/bin/sh", "-c", command),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        cwd=Path.home(),
        env=surroundings(),
        start_new_session=True,
    )
    return Process(transport, pipes, asyncio.subprocess.Process(transport, pipes, loop), host)


class Process:
    """A ports.Stream to a process that leads a session."""

    def __init__(
        self,
        transport: asyncio.SubprocessTransport,
        pipes: SubprocessStreamProtocol,
        process: asyncio.subprocess.Process,
        host: str,
    ) -> None:
        self._transport, self._process, self._host = transport, process, host
        assert pipes.stdin is not None and pipes.stdout is not None and pipes.stderr is not None
        self._stdin, self.stdout, self.stderr = pipes.stdin, pipes.stdout, pipes.stderr
        self._lost: LineLost | None = None
        self._tail = b""
        self._watch: asyncio.Task[None] | None = None

    @property
    def over(self) -> bool:
        """Whether it has ended and all that it said was read."""
        return self._process.returncode is not None and self.stdout.at_eof()

    @property
    def signal(self) -> str | None:
        """The name of the signal that ended it, without SIG."""
        code = self._process.returncode
        if code is None or code >= 0:
            return None
        try:
            return signal.Signals(-code).name.removeprefix("SIG")
        except ValueError:  # a real-time signal
            return str(-code)

    async def wait(self) -> int | None:
        """Its exit code once it has ended, None when a signal ended it. Raises LineLost."""
        code = await self._process.wait()
        if self._lost is not None:
            raise self._lost
        return code if code >= 0 else None

    def write(self, data: bytes) -> None:
        """Queue bytes for its stdin. Once that is closed they are dropped."""
        if not self._stdin.is_closing():
            self._stdin.write(data)

    def end_of_input(self) -> None:
        """Close its stdin, once what is queued was written."""
        self._stdin.close()

    async def drain(self) -> None:
        """Wait until little is queued. Raises LineLost."""
        if self._lost is None:
            with suppress(OSError):  # it has closed its stdin: what was queued is dropped
                await self._stdin.drain()
        if self._lost is not None:
            raise self._lost

    async def read(self) -> bytes:
        """The next bytes of its stdout, b"" at its end. Raises LineLost."""
        return await self.stdout.read(PIECE)

    async def read_err(self) -> bytes:
        """The next bytes of its stderr, where nobody watches that. Raises LineLost."""
        return await self.stderr.read(PIECE)

    def watch_stderr(self) -> None:
        """Read its stderr from now on, and keep the end of it."""
        self._watch = asyncio.create_task(self._keep_stderr())

    def stderr_tail(self) -> bytes:
        """The last 8 KiB of stderr."""
        return self._tail

    async def close(self) -> None:
        """Close stdin, once what was written is sent, and read no more; the process goes on as it likes."""
        self._stdin.close()
        self._deafen(1, 2)

    def lose(self, error: LineLost) -> None:
        """The line has ended: readers and writers are told, the process and its group are hung up on."""
        self._lost = error
        for reader in (self.stdout, self.stderr):
            reader.set_exception(error)
        self._deafen(0, 1, 2)
        self._signal(signal.SIGHUP)
        self._signal(signal.SIGCONT)

    async def gone(self) -> None:
        """Wait for its end."""
        await self._process.wait()

    def release(self) -> None:
        """Let go of what is left of a process that has ended, or was killed."""
        self._transport.close()

    def kill(self) -> None:
        """End it and its process group at once."""
        self._signal(signal.SIGKILL)

    def _deafen(self, *fds: int) -> None:
        for fd in fds:
            pipe = self._transport.get_pipe_transport(fd)
            if isinstance(pipe, asyncio.WriteTransport) and not pipe.is_closing():
                pipe.abort()  # what is queued for it is dropped, and who waits for room is woken
            elif pipe is not None:
                pipe.close()

    def _signal(self, number: int) -> None:
        pid = self._process.pid
        with suppress(ProcessLookupError, PermissionError):
            if self._process.returncode is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, 0)
                    return  # its number is another's by now, so of its group nobody is left
            os.killpg(pid, number)

    async def _keep_stderr(self) -> None:
        with suppress(LineLost):
            while data := await self.stderr.read(PIECE):
                self._tail = (self._tail + data)[-STDERR_TAIL:]
