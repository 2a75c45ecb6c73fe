"""How hosts are reached, by a run that works on them or before it is there.

It is the first thing that a new batch reads in, so that hosts can be called while the rest is read: whatever it imports
stands in front of the first login.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hostler.links.ahead import Ahead
from hostler.model.runs import BatchSpec
from hostler.ports import Transport
from hostler.transports.choosing import Choosing
from hostler.wiring.wanted import Wanted

if TYPE_CHECKING:
    from hostler.transports.asyncssh import AsyncsshTransport
    from hostler.transports.dryrun import Planned
    from hostler.transports.needs import Needs
    from hostler.transports.openssh import OpensshTransport
    from hostler.transports.sessionkeys import SessionKeys


class Reach:
    """Every way to the hosts of one run. `state` is the folder of our own known hosts.

    With `bare`, hosts that are called ahead are told nothing. Remarks, a line each, wait until there is somebody to say
    them to.
    """

    def __init__(self, state: Path, *, wanted: Wanted, tries: int = 1, bare: bool = False) -> None:
        self._unsaid: list[str] = []
        self._say: Callable[[str], None] = self._unsaid.append
        self.keys = session_keys(state, wanted=wanted, say=lambda text: self._say(text))
        self.choosing = ways(state, wanted=wanted, say=lambda text: self._say(text), keys=self.keys)
        self.transport = transport = limited(self.choosing, wanted=wanted, tries=tries)
        if self.keys is not None:
            self.keys.dial = lambda host, deadline: transport.connect(host, deadline=deadline)
        self.ahead = Ahead(self.transport, deadline=wanted.connect_timeout, bare=bare)

    def say_to(self, say: Callable[[str], None]) -> None:
        """Have remarks said, those that waited first."""
        self._say = say
        for text in self._unsaid:
            say(text)
        self._unsaid.clear()


def session_keys(state: Path, *, wanted: Wanted, say: Callable[[str], None]) -> SessionKeys | None:
    """What puts the run's own key on its hosts, where one is wanted."""
    if not wanted.session_key:
        return None
    from hostler.transports.sessionkeys import SessionKeys

    # Machines that we launched have a key of their own already, which doesn't go away.
    return SessionKeys(
        state, lifetime=wanted.session_key, fit=lambda host: "sandbox" not in host.tags, say=say
    )


def ways(
    state: Path, *, wanted: Wanted, say: Callable[[str], None], dry: Callable[[Planned], None] | None = None,
    keys: SessionKeys | None = None,
) -> Choosing:  # fmt: skip
    """Every way to hosts, and the choice among them; with `dry` the choice is made, and each step told instead."""
    from hostler.transports.logins import Secrets
    from hostler.transports.sshlib import load

    secrets = Secrets(password=wanted.password, passphrase=wanted.passphrase)
    alone = keys.is_ours if keys is not None else lambda host: False

    # Each is imported when it is wanted: AsyncSSH alone takes a sixth of a second.
    @cache
    def asyncssh() -> AsyncsshTransport:
        load()
        from hostler.transports.asyncssh import AsyncsshTransport

        return AsyncsshTransport(state=state, strict=wanted.strict, secrets=secrets, alone=alone, say=say)

    @cache
    def openssh() -> OpensshTransport:
        load()
        from hostler.transports.openssh import OpensshTransport

        return OpensshTransport(state=state, strict=wanted.strict, secrets=secrets, alone=alone, say=say)

    def local() -> Transport:
        from hostler.transports.local import LocalTransport

        return LocalTransport()

    @cache
    def needs() -> Needs:
        load()
        from hostler.transports.needs import Needs
        from hostler.transports.sshconfig import files
        from hostler.transports.survey import survey

        return Needs(
            survey(files(None)), said=lambda host: openssh().said(host), way=asyncssh().way, env=os.environ
        )

    every: dict[str, Callable[[], Transport]] = {"asyncssh": asyncssh, "openssh": openssh, "local": local}
    if keys is not None:
        from hostler.transports.keyed import KeyedTransport

        every["asyncssh"] = lambda: KeyedTransport(asyncssh(), keys)
        every["openssh"] = lambda: KeyedTransport(openssh(), keys)
    if dry is not None:
        from hostler.transports.dryrun import DryRunTransport

        every = dict.fromkeys(every, lambda: DryRunTransport(dry))
    return Choosing(every, usual=wanted.transport or "auto", needs=lambda host: needs().of(host))


def limited(choosing: Choosing, *, wanted: Wanted, tries: int = 1) -> Transport:
    """How hosts are reached: each its own way, not too many at once, and so many times where they don't answer."""
    from hostler.transports.limited import LimitedTransport

    polite = LimitedTransport(choosing, limit=wanted.forks or BatchSpec().forks)
    if tries == 1:
        return polite
    from hostler.transports.retrying import RetryingTransport

    return RetryingTransport(polite, tries=tries)
