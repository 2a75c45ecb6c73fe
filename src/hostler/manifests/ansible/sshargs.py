"""Arguments for the ssh program that an Ansible inventory holds: what of them says through which host to go.

They are never handed to a program. What would lead elsewhere, and isn't understood, is refused.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator

from hostler.manifests.values import jump_fault

#: Options that change where a line leads, and the variable that says the same.
SAID_BY = {
    "user": "ansible_user",
    "port": "ansible_port",
    "hostname": "ansible_host",
    "identityfile": "ansible_ssh_private_key_file",
}
#: Letters that take no value, and change nothing about where a line leads.
BARE = re.compile(r"-[46AaCkqTtvXxYy]+")
_EQUALS = re.compile(r"\s*=\s*|\s+")


class Args:
    """What arguments come to: a jump host, and the options that are left aside."""

    __slots__ = ("aside", "jump")

    def __init__(self) -> None:
        self.jump: str | None = None
        self.aside: list[str] = []


def read_args(text: str) -> Args:
    """Read `ansible_ssh_common_args`. Raises ValueError that says what can't be used.

    >>> read_args("-o ProxyJump=ann@gate -o ControlMaster=auto").jump
    'ann@gate'
    >>> read_args('-o ProxyCommand="ssh -W %h:%p -q gate"').jump
    'gate'
    """
    found = Args()
    words = iter(shlex.split(text))
    for word in words:
        if word.startswith("-o"):
            _option(found, word[2:] or next(words, ""))
        elif word.startswith("-J"):
            _jump(found, word[2:] or next(words, ""))
        elif BARE.fullmatch(word):
            found.aside.append(word)
        else:
            raise ValueError(f"{word[:60]!r} can't be used")
    return found


def _option(found: Args, said: str) -> None:
    name, value = [*_EQUALS.split(said.strip(), maxsplit=1), ""][:2]
    match name.lower():
        case "proxyjump":
            _jump(found, value)
        case "proxycommand":
            _jump(found, "none" if value.lower() == "none" else _through(found, value))
        case word if word in SAID_BY:
            raise ValueError(f"{name} is for {SAID_BY[word]} to say")
        case "":
            raise ValueError("-o without an option")
        case _:
            found.aside.append(name)


def _jump(found: Args, value: str) -> None:
    if found.jump is not None:
        raise ValueError("it goes through two hosts that are said apart; say both as ProxyJump=A,B")
    if value.lower() == "none":
        return
    if why := jump_fault(value):
        raise ValueError(why)
    found.jump = value


def _through(found: Args, command: str) -> str:
    """The jump host of `ssh -W %h:%p [user@]host` and `ssh [user@]host nc %h %p`."""
    words = shlex.split(command)
    refusal = ValueError(
        f"ProxyCommand {command[:60]!r} can't be used: say ProxyJump=HOST, or say it in your SSH configuration"
    )
    if not words or os.path.basename(words[0]) != "ssh":
        raise refusal
    host, user, port, forward, rest = "", "", "", "", iter(words[1:])
    for word in rest:
        if word[:2] in ("-o", "-W", "-p", "-l"):
            value = word[2:] or next(rest, "")
            if word[:2] == "-o":
                name = _EQUALS.split(value.strip(), maxsplit=1)[0]
                if name.lower() in (*SAID_BY, "proxycommand", "proxyjump"):
                    raise refusal
                found.aside.append(name)
            else:
                forward, port, user = (
                    value if word[1] == letter else old
                    for letter, old in (("W", forward), ("p", port), ("l", user))
                )
        elif BARE.fullmatch(word):
            continue
        elif word.startswith("-"):
            raise refusal
        elif not host:
            host = word
        elif not forward and _is_nc(word, rest):
            forward = "%h:%p"
        else:
            raise refusal
    if not host or forward.replace("[", "").replace("]", "") != "%h:%p" or (user and "@" in host):
        raise refusal
    return (f"{user}@" if user else "") + host + (f":{port}" if port else "")


def _is_nc(word: str, rest: Iterator[str]) -> bool:
    return os.path.basename(word) in ("nc", "netcat") and [*rest] == ["%h", "%p"]
