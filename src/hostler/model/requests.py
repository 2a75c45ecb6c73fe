"""What another process may want of a live run: requests, each with what it asks for.

A request is a row that any process may make and only the run's owner folds and answers. It must never hold more than
its owner needs to judge it: jobs that are to join wait beside it in the store.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from hostler.model.hosts import Host


class Stop(Struct, frozen=True, kw_only=True):
    """End the run: at once, or with `drain` as soon as what runs has ended by itself."""

    kind: ClassVar[str] = "stop"
    drain: bool = False


class Pause(Struct, frozen=True, kw_only=True):
    """Start nothing more until somebody unpauses."""

    kind: ClassVar[str] = "pause"


class Unpause(Struct, frozen=True, kw_only=True):
    """Go on."""

    kind: ClassVar[str] = "unpause"


class Add(Struct, frozen=True, kw_only=True):
    """Take in so many jobs, which wait beside the request, and these hosts."""

    kind: ClassVar[str] = "add"
    jobs: int = 0
    hosts: tuple[Host, ...] = ()


class Change(Struct, frozen=True, kw_only=True):
    """Work by these values of the spec from now on; None leaves one as it is. `timeout` is in seconds."""

    kind: ClassVar[str] = "set"
    slots: int | None = None
    timeout: float | None = None
    retries: int | None = None

    @property
    def values(self) -> dict[str, int | float]:
        """What changes, by the names of the spec."""
        named = {"slots": self.slots, "timeout": self.timeout, "retries": self.retries}
        return {name: value for name, value in named.items() if value is not None}


class Cancel(Struct, frozen=True, kw_only=True):
    """See to it that these jobs don't run, or no longer."""

    kind: ClassVar[str] = "cancel"
    jobs: tuple[int, ...]


Wish = Stop | Pause | Unpause | Add | Change | Cancel
WISHES: tuple[type[Wish], ...] = (Stop, Pause, Unpause, Add, Change, Cancel)


class Request(Struct, frozen=True, kw_only=True):
    """One request as it stands. Times are seconds since the epoch.

    `wish` is None for a kind that a later version made. `taken` is when an owner took it up, `answered` when it was
    answered, `done` whether it was done; `words` say so to people.
    """

    id: int
    run: int
    at: float
    who: str
    kind: str
    wish: Wish | None
    taken: float | None = None
    answered: float | None = None
    done: bool = False
    words: str = ""
