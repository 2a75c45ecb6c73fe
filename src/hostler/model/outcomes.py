"""What one host of a fan-out came to, and how hosts that came to the same are told of in one breath."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

from hostler.model.jobs import Ending, JobState


class Outcome(Struct, frozen=True, kw_only=True):
    """A host's job: its state, and how its last attempt ended, None without one that did.

    `places` are what reasons may call the host by.
    """

    job: int
    host: str
    places: tuple[str, ...] = ()
    state: JobState
    ending: Ending | None = None
    code: int | None = None
    signal: int | None = None
    detail: str = ""
    elapsed: float | None = None

    @property
    def word(self) -> str:
        """Its state as a fan-out has it: a host that could not be had is not one whose command was lost."""
        if self.state is JobState.LOST and self.ending is Ending.UNREACHABLE:
            return "unreachable"
        return self.state.word

    @property
    def reason(self) -> str:
        """Why it is not well, without what is the host's alone: so that it is the same for many.

        >>> Outcome(job=1, host="n1", places=("n1:22",), state=JobState.LOST, detail="no route to n1:22").reason
        'no route to it'
        """
        text = self.detail
        for place in sorted(filter(None, self.places), key=len, reverse=True):
            text = re.sub(rf"(?<![\w.@:-]){re.escape(place)}(?![\w.-])", "it", text)
        return text


def tally(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many hosts came to what."""
    found: dict[str, int] = {}
    for each in outcomes:
        found[each.word] = found.get(each.word, 0) + 1
    return found
