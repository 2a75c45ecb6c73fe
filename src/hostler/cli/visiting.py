"""How a command that acts on a run reaches hosts that nobody else does: the options, and what they come to.

It must never read a secret, nor ask for one, before hosts are to be visited: an owner at work needs none of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hostler.cli.options import blaming, group
from hostler.cli.parsing import said
from hostler.cli.placing import as_password_option
from hostler.cli.reaching import (
    SECRETS,
    login_secrets,
    passphrase_option,
    password_option,
    sources_apart,
    strict_option,
    transport_option,
)

if TYPE_CHECKING:
    from hostler.model.runs import BatchSpec
    from hostler.wiring.wanted import Wanted

#: How to visit the hosts of a run, once that is to be done; the secrets are read but once.
Reach = Callable[["BatchSpec"], "Wanted"]

#: Seconds in which hosts must answer a process that only visits.
CONNECT = 10.0

#: --transport, --ssh-password, --key-passphrase, --as-password and --strict-host-keys.
visiting_options = group(
    transport_option, password_option, passphrase_option, as_password_option, strict_option
)


def visiting(options: dict[str, Any]) -> Reach:
    """How these options have hosts visited. Raises UsageError for a slip; what it gives may do so, too."""
    from hostler.model.secrets import SecretSource

    sources_apart(options, jobs_on_stdin=False)
    for name, flag in SECRETS.items():
        if options[name] is not None:
            with blaming(f"{flag}:"):
                SecretSource.parse(options[name])
    made: list[Wanted] = []

    def reach(spec: BatchSpec) -> Wanted:
        if not made:
            made.append(_wanted(options, spec))
        return made[0]

    return reach


def plainly(spec: BatchSpec) -> Wanted:
    """A visit by the run's own ways, with no secret."""
    from hostler.wiring.wanted import Wanted

    return Wanted(quiet=True, connect_timeout=CONNECT)


def _wanted(options: dict[str, Any], spec: BatchSpec) -> Wanted:
    from hostler.cli.secrets import read_secret
    from hostler.wiring.wanted import Wanted

    source = options["as_password"] if spec.as_user else None
    return Wanted(
        quiet=True,
        connect_timeout=CONNECT,
        transport=options["transport"] if said("transport") else None,
        strict=True if options["strict_host_keys"] else None,
        as_password=read_secret(source, "--as-password", what="password for sudo") if source else None,
        **login_secrets(options),
    )
