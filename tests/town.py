"""A host with accounts of its own: a real sshd that sees another /etc/passwd, in a mount namespace of its own.

    with Town({"anna": "/usr/bin/fish"}) as town: town.host("anna")

Nothing of the machine's own accounts is touched. Everything that an account began is ended with its town. Only root
can found one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from msgspec.structs import replace

from hostler.model.hosts import Host
from tests.contract.own_sshd import OwnSshd, public

FILES = ("passwd", "shadow", "group", "sudoers")


class Town(OwnSshd):
    """One sshd and its accounts, whose login shells are `shells`.

    `sudoers` is what sudo is to read there, `passwords` are the accounts' own, `mounts` more commands before sshd.
    """

    def __init__(
        self, shells: Mapping[str, str], *, sudoers: str = "", passwords: Mapping[str, str] | None = None,
        mounts: Sequence[str] = (),
    ) -> None:  # fmt: skip
        folder = Path(tempfile.mkdtemp(prefix="hostler-town-", dir="/var/tmp"))
        folder.chmod(0o755)
        first = 1_000_000 + 1000 * os.getpid() % 1_000_000_000
        self.uids = {name: first + number for number, name in enumerate(shells)}
        self._settle(folder, shells, sudoers, passwords or {})
        binds = [
            f"mount --bind {folder}/etc/{name} /etc/{name}" for name in FILES if Path("/etc", name).exists()
        ]
        words = " && ".join([*binds, *mounts, 'exec "$@"'])
        self.within = ("unshare", "-m", "sh", "-c", words, "-")
        lines = [f"AuthorizedKeysFile {folder}/keys", f"SetEnv HOSTLER_TOWN={folder}"]
        super().__init__(folder, lines=lines)
        folder.chmod(0o755)

    def _settle(
        self, folder: Path, shells: Mapping[str, str], sudoers: str, passwords: Mapping[str, str]
    ) -> None:
        """Write the town's own versions of the account files, and make homes."""
        (folder / "etc").mkdir()
        for name in FILES:
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(f"/etc/{name}", folder / "etc" / name)
        for name, uid in self.uids.items():
            home = folder / "homes" / name
            home.mkdir(parents=True)
            home.chmod(0o700)
            os.chown(home, uid, uid)
            said = {
                "passwd": f"{name}:x:{uid}:{uid}::{home}:{shells[name]}",
                "shadow": f"{name}:{_digest(passwords.get(name))}:19000::::::",
                "group": f"{name}:x:{uid}:",
            }
            for file, line in said.items():
                with open(folder / "etc" / file, "a") as text:
                    text.write(line + "\n")
        (folder / "etc" / "sudoers").write_text(f"Defaults !lecture\nroot ALL=(ALL:ALL) ALL\n{sudoers}\n")
        (folder / "etc" / "sudoers").chmod(0o440)

    def accept(self, *keys: Path) -> None:
        """Let in those who hold one of these keys, into any account."""
        file = self.folder / "keys"
        file.write_text("".join(public(key) + "\n" for key in keys))
        file.chmod(0o644)

    def home_of(self, name: str) -> Path:
        """An account's home."""
        return self.folder / "homes" / name

    def write(self, name: str, file: str, text: str | bytes) -> None:
        """Put a file into an account's home, as its own."""
        path = self.home_of(name) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        for each in (path, *path.parents):
            if each == self.home_of(name):
                break
            os.chown(each, self.uids[name], self.uids[name])

    def account(self, name: str) -> Host:
        """The host as seen by who logs in to this account."""
        return replace(self.host, name=name, user=name, host_key=public(self.host_keys[0]))

    def inventory(self, *names: str, more: str = "") -> str:
        """A YAML inventory of accounts; `more` are further fields of each."""
        lines = []
        for host in map(self.account, names):
            lines.append(
                f"  {host.name}: {{address: {host.address}, port: {host.port}, user: {host.user}, "
                f"identity: {host.identity}, host_key: '{host.host_key}'{more}}}\n"
            )
        return "hosts:\n" + "".join(lines)

    def processes(self) -> list[int]:
        """What runs as one of the town's accounts."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._ours(pid)]

    def _ours(self, pid: int) -> bool:
        try:
            return os.stat(f"/proc/{pid}").st_uid in self.uids.values()
        except OSError:
            return False

    def stop(self) -> None:
        """End the sshd, and all that was begun here."""
        super().stop()
        for _ in range(200):
            found = self.processes()
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not found:
                return
            time.sleep(0.02)

    def __enter__(self) -> Town:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        for uid in self.uids.values():
            shutil.rmtree(f"/var/tmp/hostler-{uid}", ignore_errors=True)


def _digest(password: str | None) -> str:
    """A password as /etc/shadow holds it; without one nobody gets in by any."""
    if password is None:
        return "*"
    script = 'print crypt(<STDIN>, "\\$6\\$hostlerstown\\$")'
    done = subprocess.run(["perl", "-e", script], input=password.encode(), capture_output=True, check=True)
    return done.stdout.decode()
