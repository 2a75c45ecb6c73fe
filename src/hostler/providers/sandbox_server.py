"""The SSH server of a sandbox host where no OpenSSH server can be had: AsyncSSH, in a process of its own.

It does what hostler needs of sshd: commands by the account's shell, bytes both ways, exit codes and signals, SFTP,
forwarding to another host. It must never end a command because its line has gone: sshd doesn't either.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import signal
import sys
from pathlib import Path

import asyncssh

from hostler.providers.sandbox_files import Record, private, read
from hostler.providers.sandbox_sshd import NO_SHELL

CHUNK = 65536
_SIGNALS = {
    name: signal.Signals[f"SIG{name}"]
    for name in ("ABRT", "ALRM", "HUP", "INT", "KILL", "PIPE", "QUIT", "TERM", "USR1", "USR2")
}
_NAMES: dict[int, str] = {int(number): name for name, number in _SIGNALS.items()} | {
    signal.SIGSEGV: "SEGV",
    signal.SIGFPE: "FPE",
}


class Door(asyncssh.SSHServer):
    """Lets in the one user with the one key."""

    def __init__(self, user: str, keys: Path) -> None:
        self._user, self._keys = user, keys
        self._line: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Keep the line: its keys are set when the user is known."""
        self._line = conn

    def begin_auth(self, username: str) -> bool:
        """Accept the key for our user only; everybody must authenticate."""
        if self._line and username == self._user:
            self._line.set_authorized_keys(str(self._keys))
        return True

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        """Forward, as sshd does by default: it makes the host a jump host."""
        return True


class Shell:
    """Runs the commands of every session: which shell, where, with what environment."""

    def __init__(self, record: Record) -> None:
        try:
            account = pwd.getpwuid(os.geteuid())
            usable = (
                os.access(account.pw_shell, os.X_OK) and os.path.basename(account.pw_shell) not in NO_SHELL
            )
            self._shell, self._home = account.pw_shell if usable else "/bin/sh", account.pw_dir
        except KeyError:
            self._shell, self._home = "/bin/sh", "/"
        if not os.access(self._home, os.X_OK):
            self._home = "/"
        self._environment = {
            "USER": record.user,
            "LOGNAME": record.user,
            "HOME": self._home,
            "SHELL": self._shell,
            "PATH": "/usr/local/bin:/usr/bin:/bin"
            + (":/usr/local/sbin:/usr/sbin:/sbin" * (os.geteuid() == 0)),
        } | dict(record.environment)
        os.chdir(self._home)  # where SFTP starts too

    async def session(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Run one session's command to its end, whatever becomes of the line."""
        peer, here = process.get_extra_info("peername"), process.get_extra_info("sockname")
        environment = self._environment | {
            "SSH_CLIENT": f"{peer[0]} {peer[1]} {here[1]}",
            "SSH_CONNECTION": f"{peer[0]} {peer[1]} {here[0]} {here[1]}",
        }
        # Without a command it is a login shell, which is told so by the dash before its name.
        name = os.path.basename(self._shell)
        words = [f"-{name}"] if process.command is None else [name, "-c", process.command]
        (stdin, feed), (out, stdout), (err, stderr) = os.pipe(), os.pipe(), os.pipe()
        try:
            child = await asyncio.create_subprocess_exec(
                *words,
                executable=self._shell,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=self._home,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            for handle in (feed, out, err):
                os.close(handle)
            with contextlib.suppress(OSError, asyncssh.Error):
                process.stderr.write(f"{self._shell}: {error.strerror}\n".encode())
                process.exit(127)
            return
        finally:
            for handle in (stdin, stdout, stderr):
                os.close(handle)
        pumps = [
            asyncio.create_task(_pump(out, process.stdout)),
            asyncio.create_task(_pump(err, process.stderr)),
        ]
        feeder = asyncio.create_task(_feed(process, child, feed))
        code = await child.wait()
        await asyncio.gather(*pumps, return_exceptions=True)
        feeder.cancel()
        with contextlib.suppress(OSError, asyncssh.Error):
            if code >= 0:
                process.exit(code)
            else:
                process.exit_with_signal(_NAMES.get(-code, "KILL"))


async def _pump(handle: int, writer: asyncssh.SSHWriter[bytes]) -> None:
    """Carry what a command writes to the line. When the line is gone the pipe is closed, as by sshd."""
    reader = asyncio.StreamReader(limit=CHUNK)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(handle, "rb", buffering=0)
    )
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    except (OSError, asyncssh.Error):
        pass
    finally:
        transport.close()


async def _feed(
    process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process, handle: int
) -> None:
    """Carry the line's bytes and signals to a command, and the end of both by closing its stdin."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(handle, "wb", buffering=0)
    )
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    try:
        while True:
            try:
                data = await process.stdin.read(CHUNK)
            except asyncssh.SignalReceived as asked:
                if asked.signal in _SIGNALS and child.returncode is None:
                    child.send_signal(_SIGNALS[asked.signal])
                continue
            except (asyncssh.BreakReceived, asyncssh.TerminalSizeChanged):
                continue
            if not data:
                return
            writer.write(data)
            await writer.drain()
    except (OSError, asyncssh.Error):
        pass
    finally:
        transport.close()


async def serve(folder: Path, record: Record) -> None:
    """Listen at the record's endpoint until killed. Raises OSError when the address is taken."""
    shell = Shell(record)
    listener = await asyncssh.listen(
        record.address,
        record.port,
        server_factory=lambda: Door(record.user, folder / "authorized_keys"),
        server_host_keys=[str(folder / "host_key")],
        process_factory=shell.session,
        sftp_factory=asyncssh.SFTPServer,
        encoding=None,
        line_editor=False,
        allow_pty=False,
        agent_forwarding=False,
        password_auth=False,
        kbdint_auth=False,
    )
    private(folder / "server.pid", f"{os.getpid()}\n")
    await listener.wait_closed()


def main(folder: Path) -> int:
    """Be the SSH server of the host in `folder`."""
    record = read(folder)
    if record is None:
        return 1
    try:
        asyncio.run(serve(folder, record))
    except OSError as error:
        print(f"Cannot bind {record.host.endpoint}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
