"""How work is spoken of on a host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostler.clock import SystemClock
from hostler.engine.batch import Batch
from hostler.links.ahead import Ahead
from hostler.links.brief import Brief
from hostler.links.choosing import Choices, ChoosingLink
from hostler.links.sudo import Sudo
from hostler.model.runs import BatchSpec, Worker
from hostler.model.secrets import Secret
from hostler.ports import Transport
from hostler.stores.store import Claim

if TYPE_CHECKING:
    from hostler.links.attempt import AttemptLink
    from hostler.links.oneshot_words import Payload
    from hostler.ports import Link

#: The lease, in seconds, of hosts that can't hold work without one: three keepalives.
SHORTEST = 45.0


def sudo(user: str | None, password: Secret | None) -> Sudo | None:
    """A way to be `user` on a host; None where nobody wants to be."""
    return None if user is None else Sudo(user, password)


def link(
    worker: Worker,
    *,
    transport: Transport,
    claim: Claim,
    batch: Batch,
    password: Secret | None,
    choices: Choices,
    ahead: Ahead | None = None,
) -> Link:
    """How a run's work is spoken of on one of its hosts."""
    if batch.spec.oneshot:
        return one_shot(
            worker,
            transport=transport,
            claim=claim,
            batch=batch,
            password=password,
            choices=choices,
            ahead=ahead,
        )
    return spooled(
        worker, transport=transport, claim=claim, batch=batch, password=password, choices=choices, ahead=ahead
    )


def one_shot(
    worker: Worker, *, transport: Transport, claim: Claim, batch: Batch, password: Secret | None, choices: Choices,
    ahead: Ahead | None,
) -> Link:  # fmt: skip
    """One command on one line; where a host can't do that, by what holds it for the shortest lease."""
    from hostler.links.oneshot import OneShotLink
    from hostler.links.oneshot_entry import Entry

    spec, user = batch.spec, batch.spec.as_user

    def attempt(serial: int) -> tuple[int, int] | None:
        held = batch.hands[worker.id].open.get(serial)
        return (held.queued.job, held.n) if held is not None else None

    def other() -> Link:
        return spooled(
            worker,
            transport=transport,
            claim=claim,
            batch=batch,
            password=password,
            choices=choices,
            ahead=None,
        )

    return OneShotLink(
        Entry(worker.host, transport=transport, sudo=sudo(user, password), ahead=ahead),
        brief=brief_of(worker, claim=claim, spec=spec), clock=SystemClock(), names=attempt, payload=payload(spec),
        other=other,
    )  # fmt: skip


def spooled(
    worker: Worker, *, transport: Transport, claim: Claim, batch: Batch, password: Secret | None, choices: Choices,
    ahead: Ahead | None,
) -> ChoosingLink:  # fmt: skip
    """By what goes on there for a lease without us: the runner, or sh where there is no Python."""
    from hostler.links.runner import RunnerLink

    spec = batch.spec
    brief = brief_of(worker, claim=claim, spec=spec)
    runner = RunnerLink(
        worker.host, brief=brief, transport=transport, clock=SystemClock(), sudo=sudo(spec.as_user, password),
        ahead=ahead,
    )  # fmt: skip

    def by_sh() -> AttemptLink:
        from hostler.links.attempt import AttemptLink

        return AttemptLink(worker.host, brief=brief, transport=transport, clock=SystemClock())

    capped = spec.spool_max != BatchSpec().spool_max
    unable = "--as" if spec.as_user else "--pty" if spec.pty else "--spool-max" if capped else ""
    return ChoosingLink(runner, attempts=by_sh, choices=choices, spool=worker.spool, unable=unable)


def brief_of(worker: Worker, *, claim: Claim, spec: BatchSpec) -> Brief:
    """What a host is told of a run."""
    return Brief(
        uid=claim.uid,
        run=claim.run,
        token=worker.token,
        epoch=claim.epoch,
        slots=spec.slots or worker.host.slots,
        lease=spec.lease or SHORTEST,
        env=spec.env or {},
        workdir=spec.workdir,
        pty=spec.pty,
        output_limit=spec.output_limit,
        spool_max=spec.spool_max,
        spool_keep=spec.spool_keep,
    )


def payload(spec: BatchSpec) -> Payload:
    """What goes to hosts beside the command."""
    from base64 import b64decode

    from hostler.links.oneshot_words import Payload

    stdin, script = (None if text is None else b64decode(text) for text in (spec.stdin, spec.script))
    return Payload(stdin, script)
