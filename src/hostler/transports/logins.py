"""What a login may ask us for beside keys, and what both transports say of it when a login is refused.

It must never ask anybody: what isn't given here, no login gets.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from hostler.model.secrets import Secret

NOT_ACCEPTED = "the password was not accepted"
WOULD_TAKE = "it would take a password (--ssh-password)"
ENCRYPTED = "is encrypted and not in the agent (ssh-add it, or --key-passphrase)"
NO_AGENT = "the agent at {} does not answer"
NO_FIT = "is encrypted, and the passphrase does not fit"
PASSPHRASE = re.compile(r"passphrase for (?:key )?'?(?P<key>[^']*?)'?: *\Z", re.IGNORECASE)
#: What a question for the password says, in the languages that PAM speaks most.
PASSWORD = re.compile(
    r"passw|kennwort|mot de passe|contrase|senha|lösenord|wachtwoord|парол|密码|パスワード", re.IGNORECASE
)
#: How the ssh program says for which host it asks.
ASKER = re.compile(r"\(?\S+@(?P<host>[^\s@]+?)(?:'s password|\) )")


class Secrets(Struct, frozen=True, kw_only=True):
    """The account's password, and the passphrase of its encrypted keys."""

    password: Secret | None = None
    passphrase: Secret | None = None

    def any(self) -> bool:
        """Whether there is one at all."""
        return self.password is not None or self.passphrase is not None


#: The usual: keys and the agent, nothing else.
NONE = Secrets()


def too_many(account: str) -> str:
    """Why a host let us in for none when it was shown more keys than it looks at."""
    return f"it stops listening after so many keys: {account}; name the one to use (IdentityFile and IdentitiesOnly)"


class Answers:
    """The answers of one login. Each secret is given once: what didn't fit is not tried again.

    `names` are those of the host: a question in the name of another is not answered, as one that a second ssh asks,
    which the user's own ProxyCommand has started.
    """

    def __init__(self, secrets: Secrets, names: frozenset[str] = frozenset()) -> None:
        self._secrets, self._names = secrets, names
        self._given: set[str] = set()
        self._wanted = False
        self._odd: str | None = None

    def password(self) -> str | None:
        """The password, the first time."""
        self._wanted = True
        return self._once("", self._secrets.password)

    def question(self, text: str) -> str | None:
        """The answer to what a host or the ssh program asks in words; None when there is none."""
        key = PASSPHRASE.search(text)
        if key is not None:
            return self._once(key["key"] or "?", self._secrets.passphrase)
        asker = ASKER.match(text)
        foreign = bool(self._names) and asker is not None and asker["host"].lower() not in self._names
        if PASSWORD.search(text) and not foreign:
            return self.password()
        self._odd = "".join(char if char.isprintable() else "?" for char in text.strip())[:60]
        return None

    def questions(self, texts: Sequence[str]) -> list[str] | None:
        """The answers to several at once; None when one of them has none."""
        answers = [self.question(text) for text in texts]
        return None if None in answers else [answer for answer in answers if answer is not None]

    def refusal(self, who: str, keys: str, methods: str = "") -> str:
        """Why a host did not let `who` in, what was given by name first; `keys` tells of the keys.

        `methods` are those that the host named.

        >>> Answers(NONE).refusal("ann@web1", "no key to try")
        'no key accepted for ann@web1: no key to try'
        """
        if "" in self._given:
            return f"{NOT_ACCEPTED} for {who}; {keys}"
        return f"no key accepted for {who}: {keys}{self.account(methods)}"

    def account(self, methods: str = "") -> str:
        """What is to say of it when the host let us in for none; `methods` are those that it named."""
        wanted = self._wanted or {"password", "keyboard-interactive"} & set(methods.split(","))
        if "" in self._given:
            return f"; {NOT_ACCEPTED}"
        if self._odd is not None:
            return f"; it asks {self._odd!r}, which hostler can't answer"
        return f"; {WOULD_TAKE}" if wanted and self._secrets.password is None else ""

    def _once(self, name: str, secret: Secret | None) -> str | None:
        if secret is None or name in self._given:
            return None
        self._given.add(name)
        return secret.reveal()
