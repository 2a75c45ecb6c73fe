"""How hosts are reached, and how work is spoken of on them."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hostler.clock import SystemClock
from hostler.engine.batch import Batch
from hostler.links.brief import Brief
from hostler.links.choosing import Choices, ChoosingLink
from hostler.links.runner import RunnerLink
from hostler.links.sudo import Sudo
from hostler.model.runs import BatchSpec, Worker
from hostler.model.secrets import Secret
from hostler.ports import Transport
from hostler.stores.store import Claim
from hostler.transports.choosing import Choosing
from hostler.wiring.wanted import Wanted

if TYPE_CHECKING:
    from hostler.links.attempt import AttemptLink
    from hostler.transports.asyncssh import AsyncsshTransport
    from hostler.transports.needs import Needs
    from hostler.transports.openssh import OpensshTransport


def ways(state: Path, *, wanted: Wanted, say: Callable[[str], None]) -> Choosing:
    """Every way to hosts, and the choice among them; `why` tells it without contacting a host."""
    from hostler.transports.logins import Secrets

    secrets = Secrets(password=wanted.password, passphrase=wanted.passphrase)

    # Each is imported when it is wanted: AsyncSSH alone takes a sixth of a second.
    @cache
    def asyncssh() -> AsyncsshTransport:
        from hostler.transports.asyncssh import AsyncsshTransport

        return AsyncsshTransport(state=state, strict=wanted.strict, secrets=secrets, say=say)

    @cache
    def openssh() -> OpensshTransport:
        from hostler.transports.openssh import OpensshTransport

        return OpensshTransport(state=state, strict=wanted.strict, secrets=secrets, say=say)

    def local() -> Transport:
        from hostler.transports.local import LocalTransport

        return LocalTransport()

    @cache
    def needs() -> Needs:
        from hostler.transports.needs import Needs
        from hostler.transports.sshconfig import files
        from hostler.transports.survey import survey

        return Needs(
            survey(files(None)), said=lambda host: openssh().said(host), way=asyncssh().way, env=os.environ
        )

    every: dict[str, Callable[[], Transport]] = {"asyncssh": asyncssh, "openssh": openssh, "local": local}
    return Choosing(every, usual=wanted.transport or "auto", needs=lambda host: needs().of(host))


def limited(choosing: Choosing, *, wanted: Wanted) -> Transport:
    """How hosts are reached: each its own way, and not too many at once."""
    from hostler.transports.limited import LimitedTransport

    return LimitedTransport(choosing, limit=wanted.forks or BatchSpec().forks)


def link(
    worker: Worker,
    *,
    transport: Transport,
    claim: Claim,
    batch: Batch,
    password: Secret | None,
    choices: Choices,
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
    sudo = Sudo(spec.as_user, password) if spec.as_user else None
    runner = RunnerLink(worker.host, brief=brief, transport=transport, clock=SystemClock(), sudo=sudo)

    def by_sh() -> AttemptLink:
        from hostler.links.attempt import AttemptLink

        return AttemptLink(worker.host, brief=brief, transport=transport, clock=SystemClock())

    unable = "--as" if spec.as_user else "--pty" if spec.pty else ""
    return ChoosingLink(runner, attempts=by_sh, choices=choices, spool=worker.spool, unable=unable)
