"""What one key of a settings table may hold: the same as the flag of that name takes.

It must never decide what a value means: that is the verb's, wherever the value comes from.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from msgspec import Struct

from hostler.errors import UsageError
from hostler.model.secrets import SecretSource
from hostler.model.storeurls import shown

#: A value as the flag's own option takes it.
Taken = str | bool | tuple[str, ...]

YES, NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


class Field(Struct, frozen=True, kw_only=True):
    """One key. `name` is how the verb calls it, `what` the kind of its value for people (N, DUR, FILE).

    `names` is what a project's file may not say with it (a key, a program), `never` why it is no setting at all;
    `rivals` are keys of which only one can hold: the one from nearer to the command line. `default` is what holds when
    nobody says anything. Of a value that `assigns`, NAME=VALUE, people are shown the name only; of a
    store's `url` no password. Of a `path` the `literals` are no paths.
    """

    key: str
    name: str
    what: str = ""
    flag: bool = False
    path: bool = False
    many: bool = False
    secret: bool = False
    choices: tuple[str, ...] = ()
    names: str = ""
    never: str = ""
    rivals: tuple[str, ...] = ()
    default: Taken | None = None
    assigns: bool = False
    url: bool = False
    literals: tuple[str, ...] = ("-",)

    def from_toml(self, value: object, *, folder: str = "") -> Taken:
        """A value from a file; a relative path is relative to `folder` (empty: as it is). Raises UsageError: why not.

        >>> Field(key="slots", name="slots").from_toml(4)
        '4'
        """
        if self.flag:
            if not isinstance(value, bool):
                raise UsageError("must be true or false")
            return value
        if self.many:
            return tuple(self._word(each, folder) for each in (value if isinstance(value, list) else [value]))
        return self._word(value, folder)

    def from_text(self, text: str) -> Taken:
        """A value from a variable; of a flag that may be repeated each line is one. Raises UsageError: why not.

        >>> Field(key="quiet", name="quiet", flag=True).from_text("yes")
        True
        """
        if self.flag:
            if text.lower() not in YES + NO:
                raise UsageError("must be 1 or 0, true or false, yes or no")
            return text.lower() in YES
        if self.many:
            return tuple(self._word(line, "") for line in text.splitlines() if line)
        return self._word(text, "")

    def masked(self, value: Taken | None) -> Taken | None:
        """A value without what nobody should look at.

        >>> Field(key="env", name="env", many=True, assigns=True).masked(("A=b", "C"))
        ('A=[hidden]', 'C')
        """
        if value is not None and self.url:
            return shown(str(value))
        if value is None or not (self.secret or self.assigns):
            return value
        if isinstance(value, tuple):
            return tuple(str(self.masked(each)) for each in value)
        name, equals, _ = str(value).partition("=")
        return "[hidden]" if self.secret else name + (equals and "=[hidden]")

    def shown(self, value: object) -> str:
        """A value for people, as TOML writes the simple ones, and not at any length; nothing of a secret."""
        if self.secret:
            return "[hidden]"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, tuple | list):
            return "[" + ", ".join(self.shown(each) for each in value) + "]"
        if self.assigns or self.url:
            value = self.masked(str(value))
        text = '"' + value.replace('"', '\\"') + '"' if isinstance(value, str) else f"{value}"
        return text if len(text) <= 100 else text[:97] + "..."

    def _word(self, value: object, folder: str) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise UsageError(
                f"must be one of {', '.join(self.choices)}" if self.choices else "must be a text or a number"
            )
        text = str(value)
        if not text or "\0" in text:
            raise UsageError("must hold something, and no NUL; leave it out where nothing is meant")
        if self.choices and text not in self.choices:
            raise UsageError(f"must be one of {', '.join(self.choices)}")
        if self.secret:
            SecretSource.parse(text)
        if self.path and folder and text not in self.literals:
            text = os.path.normpath(os.path.join(folder, os.path.expanduser(text)))
        return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest of the known words as the end of a complaint; empty when none is near.

    >>> did_you_mean("slot", ["slots", "delay"])
    "; did you mean 'slots'?"
    """
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
