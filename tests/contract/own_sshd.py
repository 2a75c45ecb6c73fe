"""A real OpenSSH server of our own for one test: own keys, own configuration, a free loopback port, nothing shared.

It must never read or write the machine's own SSH configuration, and it ends what it started.
"""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from hostler.model.hosts import Host
from hostler.ports import Transport

SSHD = "/usr/sbin/sshd"
#: Seconds that a visit may take.
VISIT = 30.0
USER = pwd.getpwuid(os.getuid()).pw_name


def keygen(path: Path, *words: str, kind: str = "ed25519", secret: str = "") -> Path:
    """Make a key pair, or sign one: more `words` replace the making."""
    size = ("-b", "2048") if kind == "rsa" else ()
    argv = [
        "ssh-keygen",
        "-q",
        *(words or ("-t", kind, *size, "-N", secret, "-C", path.name)),
        "-f",
        str(path),
    ]
    if words and "-s" in words:
        argv = ["ssh-keygen", "-q", *words, str(path)]
    subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return path


def public(path: Path) -> str:
    """The public key beside a private one: type and bytes."""
    return " ".join(Path(f"{path}.pub").read_text().split()[:2])


class OwnSshd:
    """One sshd. `lines` go before our own in its configuration; `kinds` are the types of its host keys.

    Without a `port` it listens on a free one.
    """

    #: Words before sshd's own: a program that runs it in surroundings of its own.
    within: tuple[str, ...] = ()

    def __init__(
        self,
        folder: Path,
        *,
        address: str = "127.0.0.1",
        lines: Sequence[str] = (),
        kinds: Sequence[str] = ("ed25519",),
        port: int = 0,
    ) -> None:
        self.folder, self.address, self._lines = folder, address, tuple(lines)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.home = folder / "home"
        self.home.mkdir()
        self.identity = keygen(folder / "client")
        self.host_keys = [keygen(folder / f"host_{kind}", kind=kind) for kind in kinds]
        self.accept(self.identity)
        self.port = port
        self._sshd: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def host(self) -> Host:
        """The host as a person would name it, with the key that it accepts."""
        return Host(name="box", address=self.address, port=self.port, user=USER, identity=str(self.identity))

    @property
    def place(self) -> str:
        """Its name in known_hosts files."""
        return f"[{self.address}]:{self.port}"

    def accept(self, *keys: Path) -> None:
        """Let in those who hold one of these keys, nobody else."""
        file = self.folder / "authorized"
        file.write_text("".join(public(key) + "\n" for key in keys))
        file.chmod(0o600)

    def start(self, *, host_keys: Sequence[Path] | None = None) -> None:
        """Start it, or start it again on the same port."""
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        if host_keys is not None:
            self.host_keys = list(host_keys)
        for _ in range(10):
            self.port = self.port or _free_port(self.address)
            if self._try():
                return
            self.port = 0
        raise AssertionError(f"sshd does not start: {(self.folder / 'log').read_text()}")

    def _try(self) -> bool:
        text = "\n".join(
            [
                *self._lines,
                f"ListenAddress {self.address}",
                f"Port {self.port}",
                *(f"HostKey {key}" for key in self.host_keys),
                f"AuthorizedKeysFile {self.folder}/authorized",
                "PidFile none",
                "UsePAM no",
                "StrictModes no",
                "PasswordAuthentication no",
                "KbdInteractiveAuthentication no",
                "PermitRootLogin yes",
                # Of this one the last line counts, not the first.
                *([] if any(line.startswith("MaxStartups") for line in self._lines) else ["MaxStartups 100"]),
                # Not the account's own start-up files: theirs may take seconds.
                f"SetEnv HOME={self.home}",
                *(
                    []
                    if any(line.startswith("Subsystem") for line in self._lines)
                    else ["Subsystem sftp internal-sftp"]
                ),
            ]
        )
        (self.folder / "config").write_text(text.replace("Subsystem none\n", "") + "\n")
        with open(self.folder / "log", "ab") as log:
            self._sshd = subprocess.Popen(
                [*self.within, SSHD, "-D", "-e", "-f", str(self.folder / "config")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        give_up = time.monotonic() + 20
        while time.monotonic() < give_up and self._sshd.poll() is None:
            with suppress(OSError):
                if self.answers():
                    return True
            time.sleep(0.01)
        return False

    def answers(self) -> bool:
        """Whether it talks to who comes. Raises OSError where nobody listens."""
        with socket.create_connection((self.address, self.port), timeout=5) as line:
            return line.recv(4) == b"SSH-"

    def sessions(self) -> list[int]:
        """The processes that serve lines now, by pid."""
        assert self._sshd is not None
        return [pid for pid in _descendants(self._sshd.pid) if _name(pid) == "sshd"]

    def cut(self) -> None:
        """Break every line at once."""
        self._signal(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop answering on every line, without closing any."""
        self._signal(signal.SIGSTOP)

    def stop(self) -> None:
        """End it, its lines, and what was begun through them."""
        if self._sshd is None:
            return
        lines = self.sessions()  # before their parent is gone
        self._sshd.terminate()
        self._sshd.wait(timeout=20)
        self._sshd = None
        _kill(lines)
        _kill(_begun_with(f"HOME={self.home}"))

    def _signal(self, number: int) -> None:
        _kill(self.sessions(), number)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnSshd]:
    """A server for the tests of one file."""
    server = OwnSshd(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


async def visit(transport: Transport, host: Host, command: str = "true") -> bytes:
    """What a command prints there, on a line of its own; it must end well."""
    line = await transport.connect(host, deadline=VISIT)
    try:
        done = await line.run(command, deadline=VISIT)
        assert done.code == 0
        return done.stdout
    finally:
        await line.close()


def _kill(pids: Iterable[int], number: int = signal.SIGKILL) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _begun_with(variable: str) -> Iterator[int]:
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with suppress(OSError):
                if variable.encode() in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                    yield int(entry)


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _descendants(root: int) -> Iterator[int]:
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError, IndexError, ValueError):
                stat = Path(f"/proc/{entry}/stat").read_text()
                parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
    queue = [*parents.get(root, ())]
    while queue:
        pid = queue.pop()
        yield pid
        queue += parents.get(pid, ())
