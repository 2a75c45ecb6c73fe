"""What the dashboard's screen asks for and is given: plain values, and the ways by which it gets them.

The screen knows no store, and whoever reads the store knows no screen. Textual must never be imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct, field

from hostler.engine.summary import Progress
from hostler.views.dashboard import JobLine, RunLine
from hostler.views.dashboard_hosts import HostLine
from hostler.views.dashboard_place import Place


class Want(Struct, frozen=True, kw_only=True):
    """What is to be read: what stands at a place, and of these jobs, which are in view, commands and last lines."""

    place: Place = field(default_factory=Place)
    shown: tuple[int, ...] = ()


class Seen(Struct, frozen=True, kw_only=True):
    """What was found for a Want at a moment, `at` seconds since the epoch.

    `runs` are all runs where they are asked for, else the one; `progress` is that of one at work. `notice` tells what
    there is to know of it, with the command that leads on. `told` is what jobs in view printed last, or what they are.
    `first` is the number of the first row of this page, `more` whether another follows, `alive` whether it is known
    what open attempts do: somebody works on the run, or it has ended.
    """

    want: Want
    at: float
    runs: Sequence[RunLine] = ()
    progress: Progress | None = None
    notice: str = ""
    hosts: Sequence[HostLine] = ()
    jobs: Sequence[JobLine] = ()
    told: Mapping[int, str] = field(default_factory=dict)
    first: int = 1
    more: bool = False
    alive: bool = True


class Said(Struct, frozen=True, kw_only=True):
    """What has come of a job's output since the last look: pieces, each with its stream (1 or 2).

    Those that come with `anew` belong to an attempt that has not been told of; `over` says that its last piece is among
    them, `more` that others wait. `title` says whose output it is, `note` why there is none.
    """

    title: str
    anew: bool = False
    pieces: Sequence[tuple[int, bytes]] = ()
    over: bool = False
    more: bool = False
    note: str = ""


class Eyes(Protocol):
    """Whoever reads the store for a screen, one question at a time, on a thread of its own. Raises HostlerError."""

    def look(self, want: Want) -> Seen | None:
        """What there is to see; None where nothing has changed since this was asked for last."""
        ...

    def follow(self, run: int, job: int) -> Said:
        """What has come of a job's output since it was asked for last; another job's begins anew."""
        ...

    def unfollow(self) -> None:
        """Let go of the output that is followed."""
        ...

    def close(self) -> None:
        """Let go of everything; nothing is asked any more."""
        ...


#: Ask something of a run as `hostler VERB WORDS...` would, and give the answer in a line. Takes as long as it takes.
Ask = Callable[[Sequence[str]], str]
