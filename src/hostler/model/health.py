"""How a machine has behaved, over all runs: strikes that fade, and what it told of itself when it last answered.

What happened to it is folded in, an event at a time, by whoever keeps it; every moment is given. It must never decide
what becomes of a host in a run: `engine.trust` does, by what stands here.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

#: Seconds after which a strike counts half, and the count at which strikes are forgotten.
HALF_LIFE = 1800.0
FAINT = 0.25
#: No machine has more strikes than these: it was bad enough, and has to be let back in one day.
MOST = 8.0
#: Seconds in which the same fault is one strike, however often it is told: one reboot takes many jobs.
SAME = 5.0
#: Seconds that a struck host rests, at its first strike and at most.
REST, LONGEST_REST = 30.0, 300.0
#: How much of a machine's usual connect time each new one makes.
FRESH = 0.3


class Fault(StrEnum):
    """What a machine is struck for. None of these is any job's doing, and none costs a job a retry."""

    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    LOST = "lost"


class Vitals(Struct, frozen=True, kw_only=True):
    """What a host says of itself when it answers; None for what it doesn't say.

    `now` is its clock in seconds since the epoch, `free` bytes on the disk of its spool, `load` its load average over
    a minute, `cpus` how many cores our jobs may use there.
    """

    now: float | None = None
    free: int | None = None
    load: float | None = None
    cpus: int | None = None


#: Of a host that says nothing of itself.
UNSAID = Vitals()


class Health(Struct, frozen=True, kw_only=True):
    """One machine's standing. Times are seconds since the epoch, lengths seconds.

    `strikes` are those there were at `struck_at`, the last one for `fault`, in words `why`; on `probation` it has done
    nothing since that shows it to be well. `took` is how long a line to it usually takes, `skew` how far its clock is
    ahead of ours.

    >>> bad = Health().struck(100.0, Fault.LOST, "it was rebooted")
    >>> bad.strikes_at(100.0), bad.strikes_at(100.0 + HALF_LIFE), bad.probation_at(100.0)
    (1.0, 0.5, True)
    """

    strikes: float = 0.0
    struck_at: float = 0.0
    fault: str = ""
    why: str = ""
    probation: bool = False
    answered_at: float | None = None
    took: float | None = None
    skew: float | None = None
    free: int | None = None
    load: float | None = None
    cpus: int | None = None

    @property
    def touched(self) -> float:
        """When anything befell it last."""
        return max(self.struck_at, self.answered_at or 0.0)

    def strikes_at(self, at: float) -> float:
        """The strikes that are left of it; a clock that was set back brings none back."""
        return self.strikes * float(0.5 ** (max(0.0, at - self.struck_at) / HALF_LIFE))

    def probation_at(self, at: float) -> bool:
        """Whether it has yet to show that it is well. Even that is forgotten with time."""
        return self.probation and self.strikes_at(at) > FAINT

    def rest_at(self, at: float) -> float:
        """Seconds that it is left alone before it is tried again: twice as long with each strike.

        >>> [Health(strikes=count).rest_at(0.0) for count in (1.0, 1.9, 3.0, 8.0)]
        [30.0, 60.0, 120.0, 300.0]
        """
        return min(REST * 2.0 ** max(0, round(self.strikes_at(at)) - 1), LONGEST_REST)

    def struck(self, at: float, fault: str, why: str) -> Health:
        """After one more strike; the same fault told again at once is none.

        Who has lost or refused jobs, and goes out of reach on top of that, has still to show that it does neither.
        """
        if self.probation and fault == Fault.UNREACHABLE:
            fault = self.fault
        again = self.probation and fault == self.fault and 0.0 <= at - self.struck_at < SAME
        strikes = self.strikes_at(at) + (0.0 if again else 1.0)
        return replace(self, strikes=min(strikes, MOST), struck_at=at, fault=fault, why=why, probation=True)

    def answered(
        self,
        at: float,
        *,
        took: float | None = None,
        skew: float | None = None,
        free: int | None = None,
        load: float | None = None,
        cpus: int | None = None,
    ) -> Health:
        """After it has answered: who could only not be reached has shown by that alone to be well."""
        if took is not None and self.took is not None:
            took = self.took + (took - self.took) * FRESH
        return replace(
            self,
            probation=self.probation and self.fault != Fault.UNREACHABLE,
            answered_at=at,
            took=self.took if took is None else took,
            skew=skew,
            free=free,
            load=load,
            cpus=cpus,
        )

    def trusted(self) -> Health:
        """After a job has shown it to be well. Its strikes fade as they would anyway."""
        return replace(self, probation=False)
