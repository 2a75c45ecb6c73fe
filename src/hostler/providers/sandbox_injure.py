"""How a sandbox host is injured, and mended: signals to its own processes, and other settings for its own sshd.

All of it can be done by the account that owns the host. Mending is one function for every injury, and harmless to a
host that is sound. It must never signal a process that was not begun through the host.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Callable, Set
from pathlib import Path

from hostler.errors import ProviderError
from hostler.providers.sandbox_files import MARK, Record, private
from hostler.providers.sandbox_procs import Process, below, end_all, living, marked, send, table

SOUND = "sshd_config.sound"
TOOLS = "tools"
#: The lock that a runner holds for its life: who has this file open is one.
LOCK = re.compile(r"/hostler/[0-9a-f]{32}/[0-9a-f]{16}/lock\Z")
LOOKS = 50
#: Words, bytes that are no text, a piece of what our own first words look like, and no newline at the end.
NOISE = r"Welcome to \377\376\000 this host!\r\n\000hostler-ru\033[2J\033]0;title\007<script>alert(1)</script>\200"
WRAPPERS = {
    "chatty": f"printf '{NOISE}'; printf '{NOISE}' >&2\n",
    # The level keeps bash from reading its start-up file once more, which may add to the path.
    "no-python": "PATH={tools} SHLVL=2; export PATH SHLVL\n",
}
LOGIN = """said=$SSH_ORIGINAL_COMMAND; unset SSH_ORIGINAL_COMMAND
case $said in
    '') exec "${SHELL:-/bin/sh}" -l ;;
    internal-sftp*) for each in /usr/lib/openssh /usr/lib/ssh /usr/libexec/openssh /usr/libexec; do
        [ -x "$each/sftp-server" ] && exec "$each/sftp-server"; done; exit 127 ;;
esac
exec "${SHELL:-/bin/sh}" -c "$said"
"""


def cut(record: Record) -> None:
    """Break every open line. What was begun through them goes on."""
    _signal(_lines(record, table()), signal.SIGKILL)


def hush(record: Record) -> None:
    """Have every open line say nothing more, without closing any."""
    _until_no_more(lambda processes: _lines(record, processes), signal.SIGSTOP)


def freeze(record: Record, *, spared: Set[int]) -> None:
    """Stop the server and all that was begun through it, but not those `spared`."""
    _until_no_more(lambda processes: _everything(record, processes) - spared, signal.SIGSTOP)


def signal_runners(record: Record, number: int) -> int:
    """Signal the runners; how many there are."""
    return _signal(_runners(record, table()), number)


def end_everything(record: Record, *, spared: Set[int], seconds: float) -> None:
    """Kill all that was begun through the host, but not its server. Raises ProviderError naming what survives."""
    server = living(record.server)
    spared = spared | ({server.pid} if server else set())
    left = end_all(lambda processes: _everything(record, processes) - spared, seconds=seconds)
    if left:
        raise ProviderError(f"sandbox: {record.name}: can't end processes {', '.join(map(str, left))}")


def wipe(folder: Path) -> None:
    """Remove all that hostler has on the host's disk."""
    for path in (folder / "spool").iterdir():
        shutil.rmtree(path, ignore_errors=True)


def moved(folder: Path, record: Record, *, port: int, seconds: float) -> None:
    """Have the server listen on another port; open lines stay. Raises ProviderError."""
    text = _sound(folder).replace(
        f"ListenAddress {record.address}:{record.port}\n", f"ListenAddress {record.address}:{port}\n"
    )
    _served(folder, record, text, port=port, seconds=seconds)


def wrapped(folder: Path, record: Record, name: str, *, seconds: float) -> None:
    """Have logins go through one of WRAPPERS first. Raises ProviderError."""
    tools = folder / TOOLS
    if name == "no-python":
        _tools(tools)
    script = folder / "login"
    private(script, WRAPPERS[name].format(tools=_quoted(tools)) + LOGIN)
    text = f"ForceCommand exec /bin/sh {_quoted(script)}\n{_sound(folder)}"
    _served(folder, record, text, port=record.port, seconds=seconds)


def mend(folder: Path, record: Record, *, seconds: float) -> None:
    """Undo every injury that lasts. Raises ProviderError when the server doesn't come back."""
    _signal(_everything(record, table()), signal.SIGCONT)
    with contextlib.suppress(FileNotFoundError):
        text = (folder / SOUND).read_text()
        _served(folder, record, text, port=record.port, seconds=seconds)
        (folder / SOUND).unlink()
    shutil.rmtree(folder / TOOLS, ignore_errors=True)
    (folder / "login").unlink(missing_ok=True)


def _sound(folder: Path) -> str:
    """The server's own settings, put aside before they are first changed."""
    kept = folder / SOUND
    if not kept.exists():
        draft = folder / f".{SOUND}"
        private(draft, (folder / "sshd_config").read_text())
        os.rename(draft, kept)
    return kept.read_text()


def _served(folder: Path, record: Record, text: str, *, port: int, seconds: float) -> None:
    """Have the server read these settings, and wait until it answers by them; open lines stay as they are."""
    server = living(record.server)
    if server is None:
        raise ProviderError(f"sandbox: {record.name}: its server has gone")
    private(folder / "sshd_config", text)
    # It writes this file once it listens.
    (folder / "server.pid").unlink(missing_ok=True)
    send(server, signal.SIGHUP)
    until = time.monotonic() + seconds
    while time.monotonic() < until and living(record.server):
        if (folder / "server.pid").exists() and _answers(record.address, port):
            return
        time.sleep(0.01)
    raise ProviderError(f"sandbox: {record.name}: its sshd does not take new settings; see {folder / 'log'}")


def _answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=2.0) as line:
            return line.recv(8).startswith(b"SSH-2.0-")
    except OSError:
        return False


def _tools(folder: Path) -> None:
    """A folder of all programs that a login finds here, but no Python."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for place in ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"):
        with contextlib.suppress(OSError):
            for item in os.scandir(place):
                if not item.name.startswith(("python", "pypy")):
                    with contextlib.suppress(FileExistsError):
                        os.symlink(item.path, folder / item.name)


def _quoted(path: Path) -> str:
    """A path as sh, csh and fish read it for itself; a sandbox's has no control characters."""
    return "'" + str(path).replace("'", "'\\''") + "'"


def _lines(record: Record, processes: dict[int, Process]) -> set[int]:
    """The server's own processes that serve lines: those below it down to the first that is none of its own."""
    found: set[int] = set()
    queue = {record.server.pid} if record.server and living(record.server) else set()
    while queue:
        parents, queue = queue, set()
        for process in processes.values():
            if process.parent in parents and process.name.startswith(b"sshd"):
                queue.add(process.pid)
        found |= queue
    return found


def _everything(record: Record, processes: dict[int, Process]) -> set[int]:
    """The server and all that was begun through it."""
    keeper = living(record.keeper)
    if keeper is None:
        return set()
    return (below({keeper.pid}, processes) | marked(f"{MARK}={record.id}")) - {keeper.pid, os.getpid()}


def _runners(record: Record, processes: dict[int, Process]) -> set[int]:
    """The runners: those of the host's processes that hold a spool's lock."""
    found = set()
    for pid in _everything(record, processes):
        with contextlib.suppress(OSError):
            for item in os.scandir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    if LOCK.search(os.readlink(item.path)):
                        found.add(pid)
    return found


def _signal(pids: set[int], number: int) -> int:
    """Signal these; how many there were."""
    processes = table()
    return sum(send(processes[pid], number) for pid in pids if pid in processes)


def _until_no_more(find: Callable[[dict[int, Process]], set[int]], number: int) -> None:
    """Signal all that `find` names, and those that they have begun meanwhile, until there are no new ones."""
    known: set[int] = set()
    for _ in range(LOOKS):
        new = find(table()) - known
        if not new:
            return
        _signal(new, number)
        known |= new
