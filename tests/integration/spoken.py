"""attempt.sh without SSH: what a controller says, said to it by one shell of this machine, and what it answers.

Everything is synchronous and bounded in time. It must never be used where a real line matters: the contract suite
has those.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from hostler.links import attempt_words as say
from hostler.links.attempt_answers import Answer, Answers, Says, Told
from hostler.links.brief import Brief
from hostler.model.hosts import Host
from hostler.model.jobs import Start
from hostler.model.reports import Lost, Result
from hostler.remote.attempt_source import BOOT, message
from tests.lab import wait_until

#: Names under which a shell behaves as sh, by the program that it is.
SHELLS = {"dash": "dash", "bash": "sh", "busybox": "ash", "mksh": "mksh", "ksh": "ksh"}


class Spoken:
    """A spool on this machine, spoken to without SSH by one shell."""

    def __init__(self, folder: Path, shell: str, **env: str) -> None:
        self.prefix: list[str] = []
        path = folder / "shells" / SHELLS[shell]
        path.parent.mkdir()
        found = shutil.which(shell)
        assert found is not None
        path.symlink_to(found)
        self.shell, self.folder, self.env = str(path), folder, {**os.environ, **env}
        self.uid, self.token, self.line = secrets.token_hex(16), secrets.token_hex(8), "one"
        self.epoch = 1  # of what is said after the opening
        self.whole = True  # whether the last message was answered up to its end
        self.host = Host(
            name="here", address="here", vars=(("spool", str(folder / "base")), ("shell", "/bin/sh"))
        )
        self.effects = folder / "effects"
        self.effects.touch()

    @property
    def spool(self) -> Path:
        return self.folder.resolve() / "base" / "hostler" / self.uid / f"{self.token}.sh"

    def run(self, text: bytes) -> bytes:
        """Give the boot line these bytes; its stdout."""
        boot = BOOT.replace("/bin/sh", self.shell)
        done = subprocess.run(
            [*self.prefix, self.shell, "-c", boot], input=text, capture_output=True, env=self.env, timeout=60
        )
        return done.stdout

    def say(self, body: bytes) -> list[Answer]:
        """What is answered to this."""
        answers = Answers("n")
        found = list(answers.feed(self.run(message(say.beginning(self.shell, "n") + body + b"_hdone\n"))))
        self.whole = any(isinstance(one, Told) and one.last for one in found)
        return [one for one in found if not isinstance(one, Told | Says)]

    def open(self, *ask: int, slots: int = 2, epoch: int = 1, lease: float = 60.0) -> list[Answer]:
        return self.say(self.opening(*ask, slots=slots, epoch=epoch, lease=lease))

    def opening(self, *ask: int, slots: int = 2, epoch: int = 1, lease: float = 60.0) -> bytes:
        """What a controller says first."""
        brief = Brief(
            uid=self.uid, run=7, token=self.token, epoch=epoch, slots=slots, lease=lease, grace=0.3,
            env={"SECRET": "canary-in-env"}, output_limit=1 << 20,
        )  # fmt: skip
        return say.opening(self.host, brief=brief, line=self.line, id="sh" + secrets.token_hex(15), ask=ask)

    def entered(self, body: bytes) -> bytes:
        return say.entering(os.fsencode(self.spool), epoch=self.epoch, line=self.line, stamp=0) + body

    def ask(self, body: bytes) -> list[Answer]:
        return self.say(self.entered(body))

    def start(self, serial: int, text: str, *, timeout: float | None = None) -> Start:
        """A job that writes down that it began, then does what `text` says."""
        whole = f'echo "$HOSTLER_ATTEMPT" >>{self.effects}; {text}'
        return Start(serial, serial, 1, (b"/bin/sh", b"-c", whole.encode()), False, timeout)

    def result(self, serial: int) -> Result | Lost:
        """Wait for an attempt's end."""
        until = time.monotonic() + 40
        while time.monotonic() < until:
            for one in self.ask(b"_hbegin\n_hlookonce\n"):
                if isinstance(one, Result | Lost) and one.serial == serial:
                    return one
            time.sleep(0.1)
        pytest.fail(f"no end of {serial}")

    def begun(self, serial: int) -> int:
        return self.effects.read_text().splitlines().count(f"{self.uid}/{serial}/1")

    def left(self) -> list[int]:
        """Processes of ours, and of our jobs, that live."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                line = (
                    Path("/proc", name, "cmdline").read_bytes() + Path("/proc", name, "environ").read_bytes()
                )
            except OSError:
                continue
            if self.uid.encode() in line:
                found.append(int(name))
        return found

    def close(self) -> None:
        if self.spool.exists():
            self.open(epoch=1)
            self.ask(say.forgetting(grace=0.1, seconds=20))
        wait_until(lambda: not self.left(), what="no process left")
