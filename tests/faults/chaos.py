"""Everything at once, by chance: kills, cuts, frozen processes, killed runners, full disks, short leases.

What is injured is mended a little later, but never before something else is injured too. Leases are sometimes
shorter than that, so jobs may be ended, lost and made again, which must be said. What is to be asserted stands in
`judge`; here things are only broken.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hostler.providers.sandbox_procs import marked
from tests.command import MARK, Running, sessions
from tests.faults.crash import OVER, PATIENCE, Ground, playground, wait
from tests.faults.frame import CannotTry, Tally, Trial, fault
from tests.faults.judge import Verdict, judge
from tests.faults.plan import Plan, count_begun

#: What can't be helped where hosts and leases are injured, and has to be said.
SAID = ("lost", "interrupted")
SIZE = 24 << 20

Undo = Callable[[], None]


class Chaos:
    """One round: a run, its controller of the moment, and what is broken at the moment, with how to mend it."""

    def __init__(self, ground: Ground, chance: random.Random, disks: tuple[Path, ...]) -> None:
        self.ground, self.chance, self.disks = ground, chance, disks
        self.broken: list[tuple[float, Undo]] = []
        self.done: dict[str, int] = {}
        self.running: Running

    def injure(self) -> None:
        """Break something."""
        way = self.chance.choices(
            (self.kill, self.cut, self.freeze_controller, self.freeze_host, self.kill_runner, self.fill),
            (5, 4, 2, 3, 2, 1),
        )[0]
        if way():
            name = way.__name__.replace("_", " ")
            self.done[name] = self.done.get(name, 0) + 1

    def mend(self, *, all_of_it: bool = False) -> None:
        """Mend what has been broken for long enough."""
        now = time.monotonic()
        for when, undo in [*self.broken]:
            if all_of_it or when <= now:
                self.broken.remove((when, undo))
                undo()

    def later(self, undo: Undo, *, most: float) -> None:
        """Have something mended by and by."""
        self.broken.append((time.monotonic() + self.chance.uniform(0.1, most), undo))

    # -- what is broken -------------------------------------------------------------------------------------------

    def kill(self) -> bool:
        """End the controller as a power cut would, and begin another one."""
        self.running.kill()
        self.resume()
        return True

    def cut(self) -> bool:
        """Cut the lines to a host."""
        return self.ground.cut(self.chance)

    def freeze_controller(self) -> bool:
        """Stop the controller where it stands, for longer than some leases."""
        return self.freeze([self.running.process.pid], most=12.0)

    def freeze_host(self) -> bool:
        """Stop some processes of a host: lines, runners, jobs."""
        door = self.chance.choice(self.ground.doors)
        pids = [*marked(self.ground.lab.mark(door.host)), *sessions(self.ground.lab, door.host)]
        if not pids:
            return False
        return self.freeze(self.chance.sample(pids, self.chance.randint(1, len(pids))), most=8.0)

    def freeze(self, pids: list[int], *, most: float) -> bool:
        """Stop processes for a while."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

        def thaw() -> None:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

        self.later(thaw, most=most)
        return True

    def kill_runner(self) -> bool:
        """End the runner or a relay of a host, not its jobs."""
        door = self.chance.choice(self.ground.doors)
        pids = [pid for pid in marked(self.ground.lab.mark(door.host)) if _ours(pid)]
        if not pids:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.chance.choice(pids), signal.SIGKILL)
        return True

    def fill(self) -> bool:
        """Fill the disk of the controller, or that of the hosts, but for a few blocks."""
        if not self.disks:
            return False
        disk = self.chance.choice(self.disks)
        ballast = disk / f"ballast{time.monotonic_ns()}"
        free = os.statvfs(disk)
        size = free.f_bavail * free.f_bsize - self.chance.choice((0, 4096, 65536))
        if size <= 0:
            return False
        with ballast.open("wb") as file, contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, size)
        self.later(lambda: ballast.unlink(missing_ok=True), most=4.0)
        return True

    # -- the round ------------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Begin the next controller."""
        way = self.chance.choice(("asyncssh", "asyncssh", "openssh"))
        self.running = self.ground.hostler.start("batch", "--resume", "last", "--transport", way)

    def play(self, plan: Plan, *, until: float) -> Verdict:
        """Begin a run, break things until that moment or until it is over, mend them, let it end, judge it."""
        hostler, chance = self.ground.hostler, self.chance
        effects = hostler.folder / f"effects{len(self.ground.codes)}"
        lease = chance.choice(("120", "5", "2"))
        given = ["-i", "hosts.yaml", "-j", "3", "--on-disconnect", f"lease={lease}", *plan.options]
        self.running = hostler.start("batch", *given, *plan.words(effects), stdin=plan.lines)
        try:
            wait(lambda: count_begun(effects) or self.running.process.poll() is not None, seconds=60.0)
            code: int | None = None
            while time.monotonic() < until:
                code = self.running.process.poll()
                if code in OVER:
                    break
                if code is not None:  # it gave up, and will be begun again
                    self.resume()
                self.injure()
                wait(lambda: False, seconds=chance.expovariate(2.0))
                self.mend()
        finally:
            self.mend(all_of_it=True)
        for _ in range(5):
            if (code := self.running.wait(PATIENCE).code) in OVER:
                break
            self.resume()
        self.ground.codes.append(code or 0)
        self.ground.jobs += len(plan.tasks)
        return judge(hostler, plan=plan, effects=effects, forgives=SAID)


@fault("everything at once", under="chaos", sample=None, full=600.0)
def chaos(trial: Trial) -> Iterator[Tally]:
    """Break everything at once by chance, for as long as the trial may take."""
    disks = trial.folder / "state-disk", trial.folder / "host-disk"
    with small_disks(*disks), playground(trial.folder, state=disks[0] / "state", spool=disks[1]) as ground:
        again = 0
        while trial.left > 0:
            chance = random.Random(trial.chance.random())
            retries = chance.randint(0, 2)
            plan = Plan.make(60, chance=chance, retries=retries, timeout=15.0, longest=8.0, largest=70_000)
            round_ = Chaos(ground, chance, disks)
            verdict = round_.play(plan, until=time.monotonic() + min(60.0, trial.left))
            told = ", ".join(f"{count} × {what}" for what, count in round_.done.items())
            trial.say(f"   {len(plan.tasks)} jobs, {verdict.repeated} repeated and said so: {told}")
            again += verdict.repeated
            note = f"{ground.jobs} jobs, of which {again} were made again, and were said to be"
            yield verdict.tally(tries=sum(round_.done.values()), note=note)


@contextmanager
def small_disks(*places: Path) -> Iterator[tuple[Path, ...]]:
    """File systems of a few megabytes, which can be filled. Raises CannotTry for who may not mount."""
    mounted = []
    try:
        for place in places:
            place.mkdir(mode=0o700, parents=True)
            words = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "hostler-fault", str(place)]
            if subprocess.run(words, capture_output=True, check=False, timeout=20).returncode:
                raise CannotTry("it mounts small disks of its own: only root may")
            mounted.append(place)
        yield places
    finally:
        for place in mounted:
            subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False, timeout=20)


def _ours(pid: int) -> bool:
    """Whether a host's process is one of the programs that we sent, and no job."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        return b"-ISc" in words and MARK not in Path(f"/proc/{pid}/environ").read_bytes()
    return False
