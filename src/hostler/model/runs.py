"""A run of a batch as rows: what was wanted, and all that is needed to go on with it.

`BatchRows` is the only way into the engine, for a new run as for a resumed one.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from hostler.model.health import Health
from hostler.model.hosts import Host
from hostler.model.jobs import JobState
from hostler.model.retrying import USUAL

#: The lease of hosts that work on whatever becomes of us (--on-disconnect detach): longer than anybody waits.
DETACHED = 10 * 365 * 86400.0


class BatchSpec(Struct, frozen=True, kw_only=True):
    """What a batch wants, apart from its jobs and hosts.

    `template` is the command in the form that Template.to_json gives. `slots` is how many jobs a worker runs at
    once (None: as many as it has cores), `timeout` seconds per attempt, `lease` seconds that a host works on with
    nobody listening. `halt` is the rule that ends the run early in the words of HaltRule, `until` the moment at which
    it is ended anyway (seconds since the epoch), `delay` seconds between two starts, `seed` what its jobs were
    shuffled by. Jobs get `env` beside what the login gives, and begin in `workdir`. `joblog` and `results` are what is
    written beside the run, absolute paths here. `as_user` is the account that jobs run as where it is not the one
    logged in to; with `pty` each gets a terminal. Of a stream beyond `output_limit` bytes the middle is not kept. A
    host's disk may be filled by `spool_max` (up to 1 a part of what is free, above that bytes),
    and what older runs left there is removed after `spool_keep` seconds. `reading` is how lines became arguments, in
    the words of rows.Form, for jobs that are added later. Its hosts are reached by `transport`, `forks` at
    once, unknown host keys refused with `strict`; `secrets` are the options that it was given secrets by, never those.
    A key of its own is let in there for `session_key` seconds, renewed while it works; 0 for none.
    `providers` are those who have launched machines for it.
    `retry_on` says which endings are tried again in the words of RetryRule, `retry_delay` seconds after the first
    failure, twice as long after each more, at most `retry_delay_max`. More bad hosts than `max_bad_hosts` (BadHosts,
    "" for any number) end the run; after `strikes` jobs in a row that failed on it, 0 for any number, a host gets none.
    A `fanout` is one command on each of its hosts, with no `lease` on one line that it ends with: each job is pinned to
    the worker of its number, no more than `forks` lines are open at once, and hosts begin in `waves` (in the words of
    model.waves). Jobs read `stdin` (base64), and with `script` (base64) the command's words are what that is given.
    """

    template: Any = None
    slots: int | None = None
    timeout: float | None = None
    retries: int = 0
    lease: float = 120.0
    halt: str = "never"
    until: float | None = None
    delay: float = 0.0
    seed: int | None = None
    env: dict[str, str] | None = None
    workdir: str | None = None
    joblog: str | None = None
    results: str | None = None
    as_user: str | None = None
    pty: bool = False
    output_limit: int = 1 << 30
    spool_max: float = 0.1
    spool_keep: float = 604800.0
    transport: str = "auto"
    forks: int = 64
    strict: bool | None = None
    secrets: str = ""
    session_key: float = 0.0
    reading: dict[str, Any] | None = None
    providers: tuple[str, ...] = ()
    retry_on: str = USUAL
    retry_delay: float = 0.0
    retry_delay_max: float = 300.0
    max_bad_hosts: str = ""
    strikes: int = 0
    fanout: bool = False
    waves: str = ""
    script: str | None = None
    stdin: str | None = None

    @property
    def kind(self) -> str:
        """What a run of this is called."""
        return "fanout" if self.fanout else "batch"

    @property
    def verb(self) -> str:
        """The verb that makes such runs, and goes on with them: it is what people call one, too."""
        return verb_of(self.kind)

    @property
    def oneshot(self) -> bool:
        """Whether each job is one remote command on one line, whose end is the job's."""
        return self.fanout and not self.lease

    @property
    def detached(self) -> bool:
        """Whether hosts work on without us until they are done: what they hold is never given to others."""
        return self.lease >= DETACHED


def verb_of(kind: str) -> str:
    """The verb that makes runs of a kind.

    >>> verb_of("fanout"), verb_of("batch")
    ('run', 'batch')
    """
    return "run" if kind == "fanout" else kind


class Worker(Struct, frozen=True, kw_only=True):
    """A host enrolled in a run. `token` is 64 random bits in hex; `serial` the last start number used."""

    id: int
    host: Host
    token: str
    spool: str | None = None
    boot: str | None = None
    serial: int = 0


class OpenAttempt(Struct, frozen=True, kw_only=True):
    """An attempt that was dispatched and has not ended, as the store holds it."""

    job: int
    n: int
    worker: int
    serial: int
    args: tuple[bytes, ...]
    tries: int
    started: bool
    dispatched_at: float
    started_at: float | None = None
    kills: int = 0
    pin: int | None = None


class BatchRows(Struct, frozen=True, kw_only=True):
    """All of a run that the engine needs to begin or go on: counters, open attempts, workers; never the queue.

    `last_seen` is a moment by which the owner before us had died: no host's lease was renewed after it. `health` is
    what all runs know of its workers' machines, by Host.machine.
    """

    spec: BatchSpec
    counts: dict[JobState, int]
    open: tuple[OpenAttempt, ...] = ()
    workers: tuple[Worker, ...] = ()
    last_seen: float | None = None
    stopping: bool = False
    draining: bool = False
    paused: bool = False
    health: dict[str, Health] = field(default_factory=dict)


class RunRow(Struct, frozen=True, kw_only=True):
    """One execution, as lists and screens show it. Times are seconds since the epoch."""

    number: int
    uid: str
    kind: str
    state: str
    epoch: int
    owner: str | None
    created: float
    started: float | None
    finished: float | None
    exit_code: int | None
    command: str
    counts: dict[str, int] = field(default_factory=dict)
    paused: bool = False
    draining: bool = False
    stopping: bool = False

    @property
    def verb(self) -> str:
        """The verb that made it, and goes on with it."""
        return verb_of(self.kind)


class AttemptRow(Struct, frozen=True, kw_only=True):
    """One attempt as the store keeps it, for people. Times are seconds since the epoch, `elapsed` seconds.

    `maybe_duplicated`: an earlier attempt of its job was ended or lost part-way, so its effects may be there twice.
    """

    job: int
    n: int
    worker: str
    open: bool
    dispatched_at: float
    started_at: float | None
    ended_at: float | None
    ending: str | None
    code: int | None
    signal: int | None
    elapsed: float | None
    file: str | None
    offset: int | None
    out: int | None
    err: int | None
    indexed: bool
    detail: str
    maybe_duplicated: bool = False

    @property
    def began(self) -> float | None:
        """When it began; of one that was too short to be told of, by its end and length. None when nobody knows."""
        if self.started_at is not None or self.ended_at is None or self.elapsed is None:
            return self.started_at
        return self.ended_at - self.elapsed
