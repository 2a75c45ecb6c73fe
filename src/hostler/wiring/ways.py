"""How work is spoken of on a host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostler.clock import SystemClock
from hostler.engine.batch import Batch
from hostler.links.ahead import Ahead
from hostler.links.brief import Brief
from hostler.links.choosing import Choices, ChoosingLink
from hostler.links.runner import RunnerLink
from hostler.links.sudo import Sudo
from hostler.model.runs import BatchSpec, Worker
from hostler.model.secrets import Secret
from hostler.ports import Transport
from hostler.stores.store import Claim

if TYPE_CHECKING:
    from hostler.links.attempt import AttemptLink


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
) -> ChoosingLink:
    spec = batch.spec
    brief = Brief(
        uid=claim.uid,
        run=claim.run,
        token=worker.token,
        epoch=claim.epoch,
        slots=spec.slots or worker.host.slots,
        lease=spec.lease,
        env=spec.env or {},
        workdir=spec.workdir,
        pty=spec.pty,
        output_limit=spec.output_limit,
        spool_max=spec.spool_max,
        spool_keep=spec.spool_keep,
    )
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
