"""What a host says about the attempts that it holds.

These are facts from an untrusted source, already checked for form, not yet believed: the engine decides what each
one means for its job. Attempts are named by their serial on that host.
"""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

from hostler.model.health import UNSAID, Vitals
from hostler.model.jobs import Ending


class Standing(IntEnum):
    """What a host knows of an attempt that it is asked about. The numbers go over the wire."""

    UNKNOWN = 0
    WAITING = 1
    RUNNING = 2
    DONE = 3
    LOST = 4


class Hello(Struct, frozen=True, kw_only=True):
    """A host's first words.

    `spool` names the folder that holds our work there: a new name means that what an older one held is gone.
    `boot` changes with every boot. `slots` is how many jobs it runs at once. `standings` answers for every attempt
    asked about. `vitals` is what else it tells of itself, `counts` whether it sees when a frame is missing.
    """

    spool: str
    boot: str
    account: str
    python: str
    slots: int
    standings: dict[int, Standing]
    vitals: Vitals = UNSAID
    counts: bool = False


class Began(Struct, frozen=True):
    """The attempt's process was started `ago` seconds before this was sent."""

    serial: int
    ago: float


class Output(Struct, frozen=True):
    """A piece of an attempt's output; `stream` is 1 or 2, `offset` counts bytes from the stream's beginning."""

    serial: int
    stream: int
    offset: int
    data: bytes


class Result(Struct, frozen=True):
    """An attempt's end. `elapsed` is in seconds by the host's own clock.

    `out_size` and `err_size` are the whole streams' lengths; `out` and `err` hold them when they came with the
    result, else all of it was sent as Output before. `detail` explains endings that need it.
    """

    serial: int
    ending: Ending
    code: int | None
    signal: int | None
    elapsed: float
    out_size: int
    err_size: int
    out: bytes | None
    err: bytes | None
    detail: str = ""


class Revoked(Struct, frozen=True):
    """The host confirms that it has not started the attempt and never will."""

    serial: int


class Refused(Struct, frozen=True):
    """The host can't start the attempt for a reason of its own (its disk is full, say), and never will."""

    serial: int
    why: str


class Lost(Struct, frozen=True):
    """The attempt was started and nobody can say how it ended."""

    serial: int
    why: str


class Renewed(Struct, frozen=True):
    """The host has acknowledged the lease; `rtt` is the round trip just measured, in seconds."""

    rtt: float


class Down(Struct, frozen=True):
    """The line is gone; `fatal` when another try would fail the same way, `nonsense` when what came made no sense."""

    why: str
    fatal: bool = False
    nonsense: bool = False


class Held(Struct, frozen=True):
    """The host begins nothing for now, for a reason that passes by itself."""

    why: str


Report = Began | Output | Result | Revoked | Refused | Lost | Renewed | Held | Down
