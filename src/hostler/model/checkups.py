"""What `hostler doctor` learns of a host, and what it finds there: plain facts, and findings with their mending.

A checkup is of one moment and is kept nowhere. It must never hold a secret, nor bytes of a host that were not made
harmless: a finding is printed as it stands.
"""

from __future__ import annotations

from msgspec import Struct

from hostler.model.health import Health
from hostler.model.hosts import Host

#: How a door stayed shut, as the errors tell it: worth another try, not worth one, full for the moment, another key.
UNREACHED, REFUSED, CROWDED, STRANGER = "unreached", "refused", "crowded", "stranger"


class Shut(Struct, frozen=True, kw_only=True):
    """Why no line could be opened: one of the words above, and the transport's own line."""

    how: str
    why: str


class Place(Struct, frozen=True, kw_only=True):
    """A folder on a host, or where it would be made: `at` is the nearest one that is there.

    `kind` is the file system's type ("" where nobody tells), `network` whether that is one of the network, `free`
    bytes, `files` how many more it takes. `ours` is hostler's own folder there, with `mode` and `owner`; None while
    there is none.
    """

    path: str
    at: str
    writable: bool = False
    kind: str = ""
    network: bool = False
    options: tuple[str, ...] = ()
    free: int | None = None
    files: int | None = None
    ours: str | None = None
    mode: str | None = None
    owner: int | None = None


class Python(Struct, frozen=True, kw_only=True):
    """An interpreter that the host has: the word it is called by, its version, and whether what we need is with it."""

    word: str
    version: tuple[int, int, int] | None
    path: str = ""
    whole: bool = True


class Told(Struct, frozen=True, kw_only=True):
    """What a host told of itself. `stuck` names the look that did not come back, "" when all did."""

    user: str = ""
    uid: int | None = None
    shell: str = ""
    home: str = ""
    home_there: bool = True
    noise: str = ""
    noise_size: int = 0
    pythons: tuple[Python, ...] = ()
    temporary: Place | None = None
    spools: tuple[Place, ...] = ()
    skew: float | None = None
    slack: float = 0.0
    load: float | None = None
    cpus: int | None = None
    tools: frozenset[str] = frozenset()
    session: bool = False
    linger: bool = False
    logind: tuple[str, ...] = ()
    stuck: str = ""


class Facts(Struct, frozen=True, kw_only=True):
    """All that one checkup learnt of a host; what stands behind a shut door is not known.

    `mute` is why nothing was told although the line was open. `sessions` are how many it allowed on one line, of
    `asked`; `crowd` how many of `lines` more lines at once it hung up on. `recorded` names the file that
    its key, seen for the first time, was put in. Where jobs are to run as `as_user`, `other` is what the host told of
    itself to that account, and `barred` why sudo let nobody become it.
    """

    host: Host
    shut: Shut | None = None
    way: str = ""
    took: float | None = None
    mute: str = ""
    told: Told | None = None
    sessions: int | None = None
    asked: int = 0
    crowd: int = 0
    lines: int = 0
    recorded: str = ""
    health: Health | None = None
    as_user: str = ""
    barred: str = ""
    other: Told | None = None


class Finding(Struct, frozen=True, kw_only=True):
    """One thing to know: what was found by which `check`, why it matters, and what mends it.

    A `bad` one keeps jobs from the host; others are remarks.
    """

    check: str
    bad: bool
    what: str
    why: str
    fix: str
