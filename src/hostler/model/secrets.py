"""Passwords and passphrases as values that can't be shown by accident, and where one is to be had from.

Nothing here reads anything. A Secret prints as `[hidden]`; it must never be in an event, a row or a message.
"""

from __future__ import annotations

from typing import NoReturn, SupportsIndex

from msgspec import Struct

from hostler.errors import UsageError

KINDS = ("ask", "file", "fd", "env")


class Secret:
    """A word that is handed on, and shown to nobody. Bytes that are no UTF-8 are surrogates in it.

    >>> Secret("x"), f"{Secret('x')}"
    ([hidden], '[hidden]')
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The word itself, for whoever must say them."""
        return self._value

    def __repr__(self) -> str:
        return "[hidden]"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a secret is neither pickled nor copied")


class SecretSource(Struct, frozen=True):
    """Where a secret is to be had: `kind` is ask, file, fd or env, `name` the path, number or variable.

    >>> SecretSource.parse("file:~/sudo.txt")
    SecretSource(kind='file', name='~/sudo.txt')
    """

    kind: str
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> SecretSource:
        """Read what an option says. Raises UsageError, which never repeats the text: it may be the secret itself."""
        kind, colon, name = text.partition(":")
        if kind == "ask" and not colon:
            return cls("ask")
        if kind not in KINDS[1:] or not name or (kind == "fd" and not (name.isascii() and name.isdigit())):
            raise UsageError("write ask, file:PATH, fd:NUMBER or env:NAME, never the secret itself")
        return cls(kind, name)
