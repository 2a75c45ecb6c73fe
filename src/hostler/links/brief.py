"""What a host is told of a run before it gets work: one value for every kind of link.

It must never hold what is one link's own matter: how the host is reached, an account's password, the line.
"""

from __future__ import annotations

from msgspec import Struct


class Brief(Struct, frozen=True, kw_only=True):
    """Whose work a host does, and how it is to do it. A runner is told the fields by the names that they have here.

    `uid` is the run's, `run` its short number for the jobs' environment, `token` the spool's name, `epoch` the
    controller's. `slots` None lets the host decide. `lease` and `grace` are in seconds. Jobs get `env` beside what the
    login gave, and begin in `workdir`. The others are as in `model.runs.BatchSpec`.
    """

    uid: str
    run: int
    token: str
    epoch: int = 1
    slots: int | None = None
    lease: float = 120.0
    grace: float = 5.0
    env: dict[str, str] = {}
    workdir: str | None = None
    pty: bool = False
    output_limit: int = 1 << 30
    spool_max: float = 0.1
    spool_keep: float = 604800.0
