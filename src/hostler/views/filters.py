"""What is typed into a dashboard's filter box, as a value: which states, which hosts, which numbers are meant.

Words of one kind are alternatives, words of different kinds must all hold: "fail lost n1*" is what failed or was lost
on a host whose name begins so. It must never refuse anything: who types has not finished yet.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from fnmatch import translate
from functools import cached_property

from hostler.model.jobs import JobState

#: The shortest beginning of a word that counts as a state.
SHORTEST = 2
#: What people call the states of jobs.
CALLED = {
    "ok": (JobState.OK,),
    "failed": (JobState.FAILED,),
    "failing": (JobState.FAILED,),
    "timeout": (JobState.TIMEOUT,),
    "lost": (JobState.LOST,),
    "interrupted": (JobState.INTERRUPTED,),
    "cancelled": (JobState.CANCELLED,),
    "kill-failed": (JobState.KILL_FAILED,),
    "quarantined": (JobState.QUARANTINED,),
    "queued": (JobState.QUEUED,),
    "waiting": (JobState.QUEUED,),
    "open": (JobState.OPEN,),
    "running": (JobState.OPEN,),
}
#: Every way for a job to end that is not well.
BAD = tuple(state for state in JobState if state.final and state is not JobState.OK)


class Filter:
    """The words of a filter box.

    >>> some = Filter("fail n1* @web 17")
    >>> some.states == {JobState.FAILED}, some.numbers, some.names_host("n12", ["web"]), some.names_host("n2", [])
    (True, {17}, True, False)
    """

    def __init__(self, text: str = "") -> None:
        self.text = " ".join(text.lower().split())
        words = self.text.split()
        called = {word: states_called(word) for word in words}
        self.states = frozenset(state for states in called.values() for state in states)
        #: The words that are the beginning of a state's name, for what has states of its own.
        self.state_words = [word for word, states in called.items() if states]
        rest = [word for word in words if not called[word]]
        self.numbers = {int(word) for word in rest if _is_number(word)}
        self.tags = {word[1:] for word in rest if word.startswith("@") and len(word) > 1}
        self.names = [word for word in rest if not (_is_number(word) or word.startswith("@"))]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Filter) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __bool__(self) -> bool:
        return bool(self.text)

    @cached_property
    def _patterns(self) -> list[re.Pattern[str]]:
        # A name without a star stands anywhere within, and one behind = is the whole.
        plain = (name for name in self.names if not name.startswith("="))
        wild = (name if set(name) & set("*?[") else f"*{name}*" for name in plain)
        exact = [re.compile(rf"{re.escape(name[1:])}\Z") for name in self.names if name.startswith("=")]
        return [re.compile(translate(name)) for name in wild] + exact

    def says(self, text: str) -> bool:
        """Whether `text` is what one of its names means."""
        return any(pattern.match(text.lower()) for pattern in self._patterns)

    def names_host(self, name: str, tags: Iterable[str], *, more: str = "") -> bool:
        """Whether a host of this name, with these tags, is meant; `more` is what else it may be known by."""
        if self.tags and not self.tags.intersection(tag.lower() for tag in tags):
            return False
        return not self.names or self.says(name) or bool(more and self.says(more))

    def workers(self, hosts: Mapping[int, tuple[str, Collection[str]]]) -> list[int] | None:
        """Which of these hosts (name and tags, by id) are meant; None where it says nothing of hosts."""
        if not (self.names or self.tags):
            return None
        return [id for id, (name, tags) in hosts.items() if self.names_host(name, tags)]


def _is_number(word: str) -> bool:
    # SQLite's integers end at 2**63.
    return word.isascii() and word.isdigit() and len(word) < 19


def states_called(word: str) -> tuple[JobState, ...]:
    """The states that a word, or its beginning, is the name of.

    >>> [state.word for state in states_called("fail")], states_called("f"), states_called("web1")
    (['failed'], (), ())
    """
    if len(word) < SHORTEST:
        return ()
    found = (state for name, states in CALLED.items() if name.startswith(word) for state in states)
    return tuple(dict.fromkeys(found))
