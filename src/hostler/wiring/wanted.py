"""What a person wants of a controller, beside what its run says. It must never import what works."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from hostler.model.runs import BatchSpec
from hostler.model.secrets import Secret


class Fan(Struct, frozen=True, kw_only=True):
    """How a fan-out's output is shown: as `form` says, with each host's name before its lines unless not `prefix`.

    `form` is lines, group, gather, json or jsonl; gathered texts are alike but for `masks`, and `diff` shows only what
    differs. `outdir` is a folder for a file per host and stream.
    """

    form: str = "lines"
    prefix: bool = True
    outdir: str | None = None
    masks: tuple[str, ...] = ()
    diff: bool = False


class Wanted(Struct, frozen=True, kw_only=True):
    """How a controller is to work on a run. `options` override the run's own from now on.

    `launch` is how many machines `provider` is to launch for it; with `keep` they are left running at its end.
    `transport`, `forks`, `strict` and `session_key` are the run's own where they are None.
    """

    options: dict[str, Any] = field(default_factory=dict)
    launch: int = 0
    provider: str = "sandbox"
    keep: bool = False
    retry: bool = False
    line_buffer: bool = False
    keep_order: bool = False
    tag: str | None = None
    quiet: bool = False
    colour: bool = False
    progress: str = "auto"
    worker_logs: bool = False
    strict: bool | None = None
    connect_timeout: float = 30.0
    stop_on_pipe: bool = False
    forks: int | None = None
    as_password: Secret | None = None
    transport: str | None = None
    password: Secret | None = None
    passphrase: Secret | None = None
    session_key: float | None = None
    fan: Fan = Fan()

    def on(self, spec: BatchSpec) -> Wanted:
        """The same, with a run's own ways of reaching hosts where nothing else is wanted."""
        return replace(
            self,
            transport=self.transport or spec.transport,
            forks=self.forks or spec.forks,
            strict=spec.strict if self.strict is None else self.strict,
            session_key=spec.session_key if self.session_key is None else self.session_key,
        )
