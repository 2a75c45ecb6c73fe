"""When a run ends before its jobs have: rules in GNU parallel's words, `soon,fail=3` and their like.

A rule only looks at counts. It must never say how a run is ended, only when and how soon.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from hostler.errors import UsageError
from hostler.model.jobs import JobState

_RULE = re.compile(r"(now|soon),(fail|success|done)=([0-9]+(?:\.[0-9]+)?)(%?)")
#: What each word counts. A job that somebody cancelled is done, and neither a failure nor a success.
COUNTED = {
    "fail": tuple(s for s in JobState if s.final and s not in (JobState.OK, JobState.CANCELLED)),
    "success": (JobState.OK,),
    "done": tuple(s for s in JobState if s.final),
}
WORDS = {"fail": "failed", "success": "ended well", "done": "ended"}


class HaltRule(Struct, frozen=True):
    """Halt when `least` jobs, or with `percent` that part of all jobs, have ended so; `now` ends running ones too."""

    now: bool
    on: str
    least: float
    percent: bool

    @classmethod
    def parse(cls, text: str) -> HaltRule | None:
        """Read `now|soon,fail|success|done=N|N%`; None for `never`. Raises UsageError.

        >>> HaltRule.parse("soon,fail=3%")
        HaltRule(now=False, on='fail', least=3.0, percent=True)
        """
        if text == "never":
            return None
        found = _RULE.fullmatch(text)
        if not found:
            raise UsageError(f"{text!r}: write never or now|soon,fail|success|done=N or N%: soon,fail=3")
        when, on, number, percent = found.groups()
        least = float(number)
        if not least or (percent and least > 100) or (not percent and least != int(least)):
            raise UsageError(
                f"{text!r}: {number}{percent} is neither a number of jobs from 1 nor a part up to 100%"
            )
        return cls(when == "now", on, least, bool(percent))

    def count(self, counts: Mapping[JobState, int]) -> int:
        """How many jobs have ended in the way that this rule is about."""
        return sum(counts.get(state, 0) for state in COUNTED[self.on])

    def met(self, counts: Mapping[JobState, int], *, since: int = 0) -> bool:
        """Whether enough have, not counting the first `since` of them."""
        some = self.count(counts) - since
        if not self.percent:
            return some >= self.least
        return some > 0 and some * 100 >= self.least * sum(counts.values())

    def words(self, counts: Mapping[JobState, int]) -> str:
        """Why the run is halted, for people.

        >>> HaltRule(False, "fail", 1, False).words({JobState.FAILED: 2})
        '--halt soon,fail=1: 2 jobs failed'
        """
        some = self.count(counts)
        jobs = "job" if some == 1 else "jobs"
        return f"--halt {self}: {some} {jobs} {WORDS[self.on]}"

    def __str__(self) -> str:
        when = "now" if self.now else "soon"
        return f"{when},{self.on}={self.least:g}" + ("%" if self.percent else "")
