"""The ground that benchmarks stand on: a folder on a real disk, a sandbox host, one environment for every side.

Everything is in a folder of its own and is gone afterwards. It must never read the user's own SSH settings, shell
start-up files or state, nor leave a host behind.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOSTLER = str(Path(sys.executable).parent / "hostler")
#: What sshd gives a session on Debian, and so what every side gets.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MEMORY_DISKS = ("tmpfs", "ramfs", "devtmpfs")
TICK = os.sysconf("SC_CLK_TCK")


class Ground:
    """Where a benchmark plays. `host` is the sandbox host's record, as `hostler sandbox list --json` gives it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.home = path / "home"
        self.state = path / "state"
        self.home.mkdir(mode=0o700)
        self.env = {
            "PATH": PATH,
            "HOME": str(self.home),
            "SHELL": "/bin/sh",
            # No LANG: an SSH session has none, and with it `echo` opens thirty files more: 0.2 ms on the floor.
            "TMPDIR": str(path),
            "HOSTLER_STATE_DIR": str(self.state),
            "HOSTLER_SANDBOX_DIR": str(path / "sandbox"),
            "HOSTLER_SANDBOX_HOME": str(self.home),
        }
        if source := os.environ.get("HOSTLER_BENCH_SOURCE"):
            self.env["PYTHONPATH"] = source  # another tree's src/, to be compared with this one
        self.host: dict[str, object] = {}

    # -- the host -------------------------------------------------------------------------------------------------

    def up(self) -> None:
        """Begin one sandbox host, and write the files by which each tool reaches it."""
        self.hostler("sandbox", "up", "1")
        self.host = json.loads(self.hostler("sandbox", "list", "--json"))[0]
        one = f"    address: {self.host['address']}\n    port: {self.host['port']}\n"
        (self.path / "bench.yaml").write_text(f"hosts:\n  bench:\n{one}    vars: {{shell: /bin/dash}}\n")
        (self.path / "known_hosts").write_text(
            f"[{self.host['address']}]:{self.host['port']} {self.host['host_key']}\n"
            f"{self.host['address']} {self.host['host_key']}\n"
        )
        common = (
            f"  HostName {self.host['address']}\n  Port {self.host['port']}\n  User {self.host['user']}\n"
            f"  IdentityFile {self.host['identity']}\n  IdentitiesOnly yes\n  BatchMode yes\n"
            f"  UserKnownHostsFile {self.path}/known_hosts\n  GlobalKnownHostsFile none\n  LogLevel ERROR\n"
        )
        shared = f"  ControlMaster auto\n  ControlPath {self.path}/mux\n  ControlPersist 600\n"
        (self.path / "ssh_config").write_text(f"Host plain\n{common}Host shared\n{common}{shared}")

    def down(self) -> None:
        """End the host and everything begun through it."""
        if (self.path / "sandbox").exists():
            self.hostler("sandbox", "down")

    def hostler(self, *words: str) -> str:
        """Run hostler for its answer, within two minutes."""
        done = subprocess.run(
            [HOSTLER, *words],
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"hostler {' '.join(words)}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode()

    def settle(self) -> None:
        """Wait until nothing of an earlier run is left on the host but the server and shared lines, up to 10 s."""
        if not self.host:
            return
        until = time.monotonic() + 10.0
        while time.monotonic() < until:
            if all(comm == "sshd" or pid == self.host["pid"] for pid, comm in self._tree().items()):
                return
            time.sleep(0.02)

    def host_cpu(self) -> float:
        """CPU seconds of all that was ever begun through the host: its keeper collects every orphan."""
        return sum(cpu(pid, waited_for=True) for pid in self._tree()) if self.host else 0.0

    def _tree(self) -> dict[int, str]:
        root = int(str(self.host["pid"]))
        return {root: "keeper"} | descendants(root)

    # -- files ------------------------------------------------------------------------------------------------------

    def numbers(self, count: int) -> Path:
        """A file of the numbers 1 to `count`, one a line."""
        path = self.path / f"numbers.{count}"
        if not path.exists():
            path.write_text("".join(f"{number}\n" for number in range(1, count + 1)))
        return path

    @contextmanager
    def store(self) -> Iterator[sqlite3.Connection]:
        """Hostler's rows, for reading, beside whoever writes them."""
        uri = f"{(self.state / 'store.db').as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=10)) as db:
            yield db


@contextmanager
def ground(*, with_host: bool = True) -> Iterator[Ground]:
    """A Ground for as long as the block lasts."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    path = Path(tempfile.mkdtemp(prefix="hostler-bench-", dir=real_disk()))
    place = Ground(path)
    try:
        if with_host:
            place.up()
        yield place
    finally:
        place.down()
        shutil.rmtree(path, ignore_errors=True)


def real_disk() -> Path:
    """A folder whose files survive a power cut: $HOSTLER_BENCH_DIR, else the first of the usual ones on a disk."""
    wanted = os.environ.get("HOSTLER_BENCH_DIR")
    places = [Path(wanted)] if wanted else [Path("/var/tmp"), HERE / "results"]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
        kind = disk_kind(place)
        if kind not in MEMORY_DISKS:
            return place
    raise SystemExit(
        "every place is in memory, where durability costs nothing: set HOSTLER_BENCH_DIR to a disk's folder"
    )


def disk_kind(place: Path) -> str:
    """The type of the file system that a folder is on; "?" where the kernel doesn't tell."""
    done = subprocess.run(
        ["stat", "-f", "-c", "%T", str(place)], capture_output=True, text=True, timeout=10, check=False
    )
    return done.stdout.strip() or "?"


def descendants(root: int) -> dict[int, str]:
    """The processes below `root`, each with its name."""
    parents: dict[int, list[tuple[int, str]]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                name, _, rest = Path(f"/proc/{entry}/stat").read_text().partition("(")[2].rpartition(")")
                parents.setdefault(int(rest.split()[1]), []).append((int(entry), name))
            except (OSError, IndexError, ValueError):
                continue
    found: dict[int, str] = {}
    queue = [root]
    while queue:
        for pid, name in parents.get(queue.pop(), ()):
            found[pid] = name
            queue.append(pid)
    return found


def cpu(pid: int, *, waited_for: bool = False) -> float:
    """CPU seconds of a process, and of the children that it has waited for if wanted; 0 once it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11 : 15 if waited_for else 13])) / TICK


def memory(pid: int) -> tuple[int, int]:
    """Resident memory of a process in bytes, now and at its peak; zeros once it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return (0, 0)
    found = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", text, re.MULTILINE))
    return (int(found.get("VmRSS", 0)) * 1024, int(found.get("VmHWM", 0)) * 1024)
