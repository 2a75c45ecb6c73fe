"""What ssh itself says of one host's configuration (`ssh -G`), as far as we must know it: asked, never guessed.

It must never be asked of hosts that AsyncSSH reaches: a process for each is what that spares.
"""

from __future__ import annotations

import asyncio
import fnmatch
import os
import pwd
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from hostler.errors import HostRefused, Unreachable
from hostler.model.hosts import Host
from hostler.transports.sshconfig import USER_KNOWN_HOSTS, Way, known_hosts_files

PATIENCE = 10.0  # seconds for the ssh program to answer


class Answer(Struct, frozen=True, kw_only=True):
    """A host's way, the user's own control socket for it if there is one, and variables for its commands.

    `words` are those that ssh knows and has a value for, in small letters.
    """

    way: Way
    words: frozenset[str]
    control: str | None
    env: tuple[tuple[str, str], ...]


async def said_of(host: Host, config: Sequence[str]) -> dict[str, list[str]]:
    """What `ssh -G` prints of a host: each word, in small letters, with its values. Raises HostRefused, Unreachable."""
    words = ["-G", *config, *reaching(host)]
    try:
        process = await asyncio.create_subprocess_exec(
            "ssh", *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except FileNotFoundError as error:
        raise HostRefused(host.name, "no ssh program here (install openssh-client)") from error
    except OSError as error:
        raise Unreachable(host.name, f"the ssh program can't be started: {error.strerror}") from error
    try:
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
    except TimeoutError as error:
        raise Unreachable(host.name, f"ssh -G gave no answer within {PATIENCE:g}s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        lines = err.decode("utf-8", "replace").strip().splitlines() or ["ssh -G failed"]
        raise HostRefused(host.name, f"your SSH configuration can't be used: {'; '.join(lines)[:300]}")
    said: dict[str, list[str]] = {}
    for line in out.decode("utf-8", "surrogateescape").splitlines():
        word, _, value = line.partition(" ")
        said.setdefault(word.lower(), []).append(value)
    return said


def reaching(host: Host) -> list[str]:
    """The words that put the host's own fields above the configuration, its name last."""
    words = []
    if host.user:
        words += ["-l", host.user]
    if host.port:
        words += ["-p", str(host.port)]
    if host.identity:
        words += ["-o", option("IdentityFile", host.identity), "-o", "IdentitiesOnly=yes"]
    return [*words, "--", host.address]


def option(name: str, value: str) -> str:
    """One -o, its value taken as it is.

    >>> option("UserKnownHostsFile", "/a b/50%")
    'UserKnownHostsFile="/a b/50%%"'
    """
    return f'{name}="{value.replace("%", "%%")}"'


def settle(host: Host, said: Mapping[str, Sequence[str]], environ: Mapping[str, str]) -> Answer:
    """Make a way of what ssh says."""

    def one(word: str) -> str | None:
        value = said.get(word, [""])[0]
        return value if value and value != "none" else None

    address, user, alias = one("hostname") or host.address, one("user") or "", one("hostkeyalias")
    port = int(one("port") or 22)
    tokens = {"h": address, "n": host.address, "p": str(port), "r": user, "k": alias or address}
    way = Way(
        address=address,
        port=port,
        user=user,
        alias=alias,
        keys=tuple(said.get("identityfile", ())),
        jump=host.jump or one("proxyjump"),
        proxy=None if host.jump else one("proxycommand"),
        agent=environ.get("SSH_AUTH_SOCK") if one("identityagent") is None else one("identityagent"),
        known_hosts=known_hosts_files(
            _records(one("userknownhostsfile")), _words(one("globalknownhostsfile")), tokens
        ),
    )
    env: dict[str, str] = {}
    for pattern in " ".join(said.get("sendenv", ())).split():
        env |= {name: value for name, value in environ.items() if fnmatch.fnmatchcase(name, pattern)}
    for word in said.get("setenv", ()):
        name, equals, value = word.partition("=")
        if equals:
            env[name] = value
    control = one("controlpath")
    return Answer(
        way=way,
        words=frozenset(said),
        control=control and os.path.expanduser(control),
        env=tuple(env.items()),
    )


def _records(text: str | None) -> tuple[str, ...] | None:
    """The user's known_hosts files; None for the usual ones, which ssh seeks at the account's home, we at HOME."""
    home = pwd.getpwuid(os.getuid()).pw_dir
    usual = " ".join(name.replace("~", home, 1) for name in USER_KNOWN_HOSTS)
    return None if text == usual else _words(text)


def _words(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    if Path(os.path.expanduser(text)).exists():  # printed without quotes
        return (text,)
    try:
        return tuple(shlex.split(text))
    except ValueError:
        return (text,)
