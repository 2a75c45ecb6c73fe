"""Hosts that are rebooted in the middle of a run: every process gone at once, the disk as it was, another boot id.

The host is an sshd that sees a boot id of our own, mounted over the kernel's where nobody else sees it. Results on its
disk must stand, and what has none must be told as lost; a process of an earlier boot must never be taken for ours.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec.structs import replace

from tests.command import Hostler, Running
from tests.contract.own_sshd import OwnSshd, public
from tests.door import entry
from tests.faults.crash import PATIENCE, wait
from tests.faults.frame import CannotTry, Tally, Trial, fault
from tests.faults.judge import judge
from tests.faults.plan import Plan, count_begun
from tests.lab import Lab

BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Machine(OwnSshd):
    """A host that can be rebooted. Its `name` is what the inventory calls it; without Python where `sh`."""

    def __init__(self, folder: Path, *, name: str, sh: bool) -> None:
        self.name, self._sh = name, sh
        folder.mkdir()
        self._boot = folder / "boot_id"
        self._boot.write_text(f"{uuid.uuid4()}\n")
        mounted = f'mount --bind "$0" {BOOT_ID} && exec "$@"'
        self.within = ("unshare", "-m", "sh", "-c", mounted, str(self._boot))
        super().__init__(folder)

    @property
    def row(self) -> str:
        """Its entry in an inventory."""
        known = replace(self.host, host_key=public(self.host_keys[0]))
        more = {"spool": str(self.folder / "spool")} | ({"python": "none"} if self._sh else {})
        words = ", ".join(f"{name}: '{value}'" for name, value in more.items())
        return entry(known, self.name).replace("}\n", f", vars: {{{words}}}}}\n")

    def reboot(self) -> None:
        """Have the power fail and come back."""
        self.stop()
        self.another_boot()
        self.start()

    def another_boot(self) -> None:
        """Change the boot id and nothing else: processes are as if of an earlier boot, with their numbers."""
        self._boot.write_text(f"{uuid.uuid4()}\n")


@contextmanager
def machines(folder: Path) -> Iterator[tuple[Hostler, list[Machine]]]:
    """A command, and a host of each kind in `hosts.yaml`. Raises CannotTry."""
    if os.geteuid() != 0:
        raise CannotTry("a boot id can only be changed by root, with mounts of its own: run it as root")
    with ExitStack() as stack:
        made = []
        for name, sh in (("python", False), ("sh", True)):
            made.append(Machine(folder / name, name=name, sh=sh))
            stack.callback(made[-1].stop)
        hostler = Hostler(folder / "controller", stack.enter_context(Lab(path=folder / "lab")))
        stack.callback(hostler.close)
        (hostler.folder / "hosts.yaml").write_text("hosts:\n" + "".join(each.row for each in made))
        yield hostler, made


@fault("a host rebooted", full=90.0)
def reboots(trial: Trial) -> Iterator[Tally]:
    """Reboot hosts of both kinds while they work, now and then with the controller killed in the same moment."""
    with machines(trial.folder) as (hostler, hosts):
        for number in range(trial.count(sample=1, full=4)):
            plan = Plan.make(40, chance=trial.chance, longest=0.5)
            effects = hostler.folder / f"effects{number}"
            running = _begin(hostler, plan, effects)
            killed = trial.chance.random() < 0.4
            for host in hosts:
                _more(effects, running, trial.chance.randint(4, 9))
                if killed and not _over(running):
                    running.kill()
                host.reboot()
                if killed:
                    running = hostler.start("batch", "--resume", "last")
            running.wait(PATIENCE)
            verdict = judge(hostler, plan=plan, effects=effects, forgives=("lost",))
            yield verdict.tally(tries=len(hosts))


@fault("processes with the numbers of an earlier boot", full=60.0)
def numbers(trial: Trial) -> Iterator[Tally]:
    """Change the boot id under hosts at work, and cut their lines: what ran is told as lost, ended, and made again."""
    with machines(trial.folder) as (hostler, hosts):
        for number in range(3):
            plan = Plan.make(40, chance=trial.chance, longest=0.5)
            effects = hostler.folder / f"effects{number}"
            running = _begin(hostler, plan, effects)
            for host in hosts:
                _more(effects, running, trial.chance.randint(4, 9))
                host.another_boot()
                host.cut()
            running.wait(PATIENCE)
            verdict = judge(hostler, plan=plan, effects=effects, forgives=("lost",))
            yield verdict.tally(tries=len(hosts))


def _begin(hostler: Hostler, plan: Plan, effects: Path) -> Running:
    words = ["-i", "hosts.yaml", "-j", "3", *plan.options, *plan.words(effects)]
    return hostler.start("batch", *words, stdin=plan.lines)


def _more(effects: Path, running: Running, count: int) -> None:
    """Wait until so many more attempts have begun."""
    begun = count_begun(effects) + count
    wait(lambda: _over(running) or count_begun(effects) >= begun, seconds=60.0)


def _over(running: Running) -> bool:
    return running.process.poll() is not None
