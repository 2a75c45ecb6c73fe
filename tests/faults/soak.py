"""The crash loop for long: rounds of many jobs, killed and cut until the time is over."""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.crash import EVER, rounds
from tests.faults.frame import Tally, Trial, fault


@fault("controller killed, lines cut, for long", under="soak", full=1200.0)
def soak(trial: Trial) -> Iterator[Tally]:
    """Kill and cut until the time is over."""
    yield from rounds(trial, jobs=EVER, kills=EVER, cuts=EVER, a_round=120, harm=60)
