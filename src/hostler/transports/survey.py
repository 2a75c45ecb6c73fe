"""A look through the user's SSH configuration: which blocks there are, and the few words that AsyncSSH doesn't read.

Done once for all hosts, so that a thousand hosts don't cost a thousand readings. It must never decide anything.
"""

from __future__ import annotations

import glob
import os
import shlex
from collections.abc import Sequence
from fnmatch import translate
from importlib.util import find_spec
from pathlib import Path
from re import compile

from msgspec import Struct

STRICT_WORD = "stricthostkeychecking"
UNREAD = ("knownhostscommand", "revokedhostkeys", "verifyhostkeydns")
#: What AsyncSSH doesn't do, or we don't have it do; what of it makes a difference is `needs`' to say.
BEYOND = (
    *UNREAD, "controlpath", "pkcs11provider", "securitykeyprovider", "gssapiauthentication", "gssapikeyexchange",
    "hostbasedauthentication", "bindaddress", "bindinterface", "proxyusefdpass", "identityfile",
)  # fmt: skip
#: What a Match may ask that AsyncSSH knows, and which of it takes no value.
ASKED = (
    "all",
    "canonical",
    "final",
    "exec",
    "host",
    "originalhost",
    "localuser",
    "user",
    "tagged",
    "localnetwork",
)
BARE = ("all", "canonical", "final")
DEPTH, FILES, LONGEST = 8, 256, 1 << 20


class Said(Struct, frozen=True, kw_only=True):
    """One occurrence of a word: the blocks that it stands in (None for a Match), its value and place."""

    word: str
    value: str
    blocks: tuple[tuple[str, ...] | None, ...]
    where: str

    def concerns(self, name: str) -> bool | None:
        """Whether the blocks are about the host typed as `name`; None when only ssh can tell."""
        if not all(matches(block, name) for block in self.blocks if block is not None):
            return False
        return None if None in self.blocks else True


def matches(patterns: Sequence[str], name: str) -> bool:
    """Whether a Host line's patterns take in a name.

    >>> matches(("web*", "!web9"), "web1"), matches(("web*", "!web9"), "web9"), matches(("a",), "b")
    (True, False, False)
    """
    hit = False
    for pattern in patterns:
        plain = translate(pattern.removeprefix("!").replace("[", "\x00")).replace("\x00", r"\[")
        if compile(plain).match(name):
            if pattern.startswith("!"):
                return False
            hit = True
    return hit


class Survey(Struct, frozen=True, kw_only=True):
    """What the files hold: those words in the order that counts, and the Host lines, in `hosts` each with its place.

    `unreadable` is a Match that AsyncSSH can't read, and so none of it. `alike` says that hosts whom the same Host
    lines concern are told the same things, whatever their names.
    """

    said: tuple[Said, ...] = ()
    lines: tuple[tuple[str, ...], ...] = ()
    hosts: tuple[tuple[tuple[str, ...], Path, int], ...] = ()
    alike: bool = True
    unreadable: str | None = None

    def group(self, name: str) -> tuple[bool, ...] | None:
        """What hosts that are told the same things have in common; None when this one stands alone."""
        return tuple(matches(line, name) for line in self.lines) if self.alike else None


def survey(config: Sequence[Path]) -> Survey:
    """Look through the files and those that they include."""
    looking = _Looking()
    for path in config:
        looking.through(path, (), 0)
    return Survey(
        said=tuple(looking.said),
        lines=tuple(dict.fromkeys(values for values, _, _ in looking.hosts)),
        hosts=tuple(looking.hosts),
        alike=looking.alike,
        unreadable=looking.unreadable,
    )


class _Looking:
    """The state of one survey."""

    def __init__(self) -> None:
        self.said: list[Said] = []
        self.hosts: list[tuple[tuple[str, ...], Path, int]] = []
        self.alike = True
        self.unreadable: str | None = None
        self._budget = FILES

    def through(self, path: Path, outer: tuple[tuple[str, ...] | None, ...], depth: int) -> None:
        self._budget -= 1
        if depth > DEPTH or self._budget < 0:
            return
        try:
            with path.open("rb") as file:
                text = file.read(LONGEST).decode("utf-8", "replace")
        except OSError:
            return
        blocks = outer
        for number, line in enumerate(text.splitlines(), 1):
            word, values = _split(line)
            if word == "host":
                blocks = (*outer, tuple(values))
                self.hosts.append((tuple(values), path, number))
            elif word == "match":
                blocks = outer if [value.lower() for value in values] == ["all"] else (*outer, None)
                self.alike = False
                odd = _odd(values)
                if odd and self.unreadable is None:
                    self.unreadable = f"Match {odd} ({path}:{number})"
            elif word == "include":
                base = path.parent if path.is_relative_to("/etc/ssh") else Path.home() / ".ssh"
                for value in values:
                    for name in sorted(glob.glob(str(base / os.path.expanduser(value)))):
                        self.through(Path(name), blocks, depth + 1)
            elif values and (word == STRICT_WORD or word in BEYOND):
                self.said.append(Said(word=word, value=values[0], blocks=blocks, where=f"{path}:{number}"))
            elif word.startswith("canonical") or (
                word != "controlpath" and any("%" in one for one in values)
            ):
                self.alike = False


def _odd(values: Sequence[str]) -> str | None:
    """What of a Match line AsyncSSH would not understand, or not as ssh does."""
    words = iter(values)
    for word in words:
        asked = word.lower().removeprefix("!")
        if asked not in ASKED or (asked == "localnetwork" and find_spec("ifaddr") is None):
            return asked
        value = "" if asked in BARE else next(words, "")
        if asked == "exec" and "%" in value:
            return "exec with %"
    return None


def _split(line: str) -> tuple[str, list[str]]:
    try:
        words = shlex.split(line.strip().replace("=", " ", 1), comments=True)
    except ValueError:
        return "", []
    return (words[0].lower(), words[1:]) if words else ("", [])
