"""A world of hosts in memory, for the batch engine: runners with fences and spools, lines that break, hosts that die.

It keeps its own record of what was really started and ended, and trusts nobody else's.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from hostler.engine import facts as f
from hostler.model.jobs import Ending
from hostler.model.reports import Began, Hello, Lost, Renewed, Report, Result, Revoked, Standing


@dataclass
class Machine:
    """One host: what its runner knows. `spool` changes when the machine is lost with all that it held."""

    worker: int
    spool: str
    slots: int
    high: int = 0
    waiting: dict[int, tuple[int, int]] = field(default_factory=dict)
    running: dict[int, tuple[int, int]] = field(default_factory=dict)
    ended: dict[int, Report] = field(default_factory=dict)
    barred: set[int] = field(default_factory=set)
    linked: bool = False
    dead: bool = False


class World:
    """Machines and the judge's record of them."""

    def __init__(self, random: Random, *, workers: int, slots: int, flaky: float, deaths: int) -> None:
        self.random = random
        self.machines = {w: Machine(w, f"spool{w}.0", slots) for w in range(1, workers + 1)}
        self.inbox: list[f.Fact] = []
        self.later: list[f.Fact] = []
        self.started: Counter[tuple[int, int]] = Counter()
        self.effects: Counter[int] = Counter()
        self.torn: set[int] = set()
        self.names: dict[tuple[int, str, int], tuple[int, int]] = {}
        self.flaky, self.deaths, self.fail = flaky, deaths, 0.2
        self.released: set[int] = set()
        self.slots = slots

    # -- what the controller does -----------------------------------------------------------------------------

    def perform(self, effect: f.Effect) -> None:
        """Carry out one effect, as the links would."""
        if isinstance(effect, f.Connect):
            self.later.append(effect)  # type: ignore[arg-type]
            return
        if isinstance(effect, f.Rest):
            self.later.append(f.Rested(effect.worker))
            return
        if isinstance(effect, f.AwaitLease):
            self.later.append(f.LeaseOver(effect.worker, effect.since))
            return
        if isinstance(effect, f.Wake):
            self.later.append(f.Woke(effect.moment))
            return
        if isinstance(effect, (f.NeedJobs, f.Finish)):
            return
        machine = self.machines[effect.worker]
        if isinstance(effect, f.Release):
            machine.linked = False
            self.released.add(effect.worker)
            self.inbox.append(f.WorkerReleased(effect.worker))
        elif not machine.linked:
            return  # said to a line that is gone
        elif isinstance(effect, f.Send):
            for serial, job, n, _ in effect.attempts:
                if serial in machine.barred:
                    self.say(machine, Revoked(serial))
                elif serial > machine.high:
                    machine.high = serial
                    machine.waiting[serial] = (job, n)
                    self.names[machine.worker, machine.spool, serial] = (job, n)
        elif isinstance(effect, f.TakeBack):
            for serial in effect.serials:
                if serial in machine.waiting or serial > machine.high or serial in machine.barred:
                    machine.waiting.pop(serial, None)
                    machine.barred.add(serial)
                    self.say(machine, Revoked(serial))
                elif serial in machine.running:
                    self.say(machine, Began(serial, 0.1))
        elif isinstance(effect, f.End):
            for serial in effect.serials:
                if serial in machine.running:
                    job, _ = machine.running.pop(serial)
                    self.torn.add(job)
                    self.end(machine, serial, Result(serial, effect.ending, None, 15, 0.1, 0, 0, b"", b""))
        elif isinstance(effect, f.Resize):
            machine.slots = effect.slots
        elif isinstance(effect, f.Ack):
            for serial in effect.serials:
                machine.ended.pop(serial, None)
        elif isinstance(effect, f.Follow):
            for report in machine.ended.values():
                self.say(machine, report)

    def connect(self, effect: f.Connect) -> None:
        """A try to reach a machine ends, one way or the other."""
        machine = self.machines[effect.worker]
        if self.random.random() < self.flaky:
            self.inbox.append(f.HostDown(effect.worker, "refused"))
            return
        machine.linked = True
        standings = {serial: self.standing(machine, serial) for serial in effect.ask}
        hello = Hello(
            spool=machine.spool, boot="b", account="0", python="3", slots=machine.slots, standings=standings
        )
        self.inbox.append(f.HostUp(effect.worker, hello))
        self.inbox.append(f.Heard(effect.worker, Renewed(0.001)))

    def standing(self, machine: Machine, serial: int) -> Standing:
        """What the runner answers when asked after a serial."""
        if serial in machine.waiting:
            return Standing.WAITING
        if serial in machine.running:
            return Standing.RUNNING
        if serial in machine.ended:
            return Standing.LOST if isinstance(machine.ended[serial], Lost) else Standing.DONE
        unseen = serial > machine.high or serial in machine.barred
        return Standing.UNKNOWN if unseen else Standing.LOST

    def joined(self, worker: int) -> None:
        """A machine that was not there before."""
        self.machines.setdefault(worker, Machine(worker, f"spool{worker}.0", self.slots))

    # -- what happens there --------------------------------------------------------------------------------------

    def say(self, machine: Machine, report: Report) -> None:
        if machine.linked:
            self.inbox.append(f.Heard(machine.worker, report))

    def end(self, machine: Machine, serial: int, report: Report) -> None:
        machine.ended[serial] = report
        self.say(machine, report)

    def live(self) -> None:
        """Something happens somewhere."""
        random = self.random
        machine = random.choice(list(self.machines.values()))
        dice = random.random()
        if dice < 0.05 and machine.linked:
            machine.linked = False
            self.inbox.append(f.HostDown(machine.worker, "cut"))
        elif dice < 0.07 and self.deaths and machine.running:
            self.deaths -= 1
            self.torn |= {job for job, _ in machine.running.values()}
            if random.random() < 0.5:  # the runner dies, its spool stands
                for serial in machine.running:
                    machine.ended[serial] = Lost(serial, "died")
                # What waited was never written down: it was not started, and its serial may come again.
                machine.high = max([0, *machine.running, *machine.ended])
            else:  # the whole machine is made anew
                self.torn |= {
                    self.names[machine.worker, machine.spool, serial][0] for serial in machine.ended
                }
                machine.spool += "+"
                machine.ended, machine.high = {}, 0
                self.torn |= {job for job, _ in machine.waiting.values()}
            machine.waiting, machine.running, machine.barred = {}, {}, set()
            if machine.linked:
                machine.linked = False
                self.inbox.append(f.HostDown(machine.worker, "died"))
        elif dice < 0.5:
            self.begin(machine)
        elif machine.running:
            serial = random.choice(list(machine.running))
            job, _ = machine.running.pop(serial)
            self.effects[job] += 1
            code = 1 if random.random() < self.fail else 0
            ending = Ending.EXIT if code else Ending.OK
            self.end(machine, serial, Result(serial, ending, code, None, random.random(), 0, 0, b"", b""))
        elif self.later:
            fact = self.later.pop(random.randrange(len(self.later)))
            if isinstance(fact, f.Connect):
                self.connect(fact)
            else:
                if isinstance(fact, f.LeaseOver):
                    self.expire(self.machines[fact.worker])
                self.inbox.append(fact)

    def expire(self, machine: Machine) -> None:
        """A machine that nobody has spoken to for its lease ends what it runs; from here on nothing is promised."""
        if machine.linked:
            return
        held = [*machine.waiting.values(), *machine.running.values()]
        held += [self.names[machine.worker, machine.spool, serial] for serial in machine.ended]
        self.torn |= {job for job, _ in held}
        for serial in machine.running:
            machine.ended[serial] = Result(serial, Ending.INTERRUPTED, None, 15, 0.1, 0, 0, b"", b"")
        machine.waiting, machine.running = {}, {}

    def begin(self, machine: Machine) -> None:
        while machine.waiting and len(machine.running) < machine.slots:
            serial = next(iter(machine.waiting))
            machine.running[serial] = machine.waiting.pop(serial)
            self.started[machine.running[serial]] += 1
            if self.random.random() < 0.3:
                self.say(machine, Began(serial, 0.1))

    def controller_died(self) -> None:
        """All lines are gone, and nothing that was under way to the controller arrives."""
        for machine in self.machines.values():
            machine.linked = False
        self.inbox.clear()
        self.later.clear()
