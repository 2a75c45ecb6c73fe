"""What a login may ask us for beside keys, and what both transports say of it when a login is refused.

It must never ask anybody: what isn't given here, no login gets.
"""

from __future__ import annotations

from dataclasses import dataclass

from hostler.model.secrets import Secret

NOT_ACCEPTED = "the password was not accepted"
WOULD_TAKE = "it would take a password (--ssh-password)"
ENCRYPTED = "is encrypted and not in the agent (ssh-add it, or --key-passphrase)"
NO_AGENT = "the agent at {} does not answer"
NO_FIT = "is encrypted, and the passphrase does not fit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """The account's password, and the passphrase of its encrypted keys."""

    password: Secret | None = None
    passphrase: Secret | None = None

    def any(self) -> bool:
        """Whether there is one at all."""
        return self.password is not None or self.passphrase is not None


#: The usual: keys and the agent, nothing else.
NONE = Secrets()
