"""Whether the user's SSH configuration asks something of a host's line that only the ssh program does.

The files have been looked through once (`survey`); ssh is asked (`ssh -G`) only about hosts that such a word may
concern. It must never send a host to the program for a word that changes nothing: that costs memory and time.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from hostler.model.hosts import Host
from hostler.transports.jumps import JUMPS, jump_host
from hostler.transports.sshconfig import Way
from hostler.transports.survey import Said, Survey

YES = ("yes", "true", "ask")
NAMES = {
    "controlpath": "ControlPath", "knownhostscommand": "KnownHostsCommand", "revokedhostkeys": "RevokedHostKeys",
    "verifyhostkeydns": "VerifyHostKeyDNS", "pkcs11provider": "PKCS11Provider",
    "securitykeyprovider": "SecurityKeyProvider", "gssapiauthentication": "GSSAPIAuthentication",
    "gssapikeyexchange": "GSSAPIKeyExchange", "hostbasedauthentication": "HostbasedAuthentication",
    "bindaddress": "BindAddress", "bindinterface": "BindInterface", "proxyusefdpass": "ProxyUseFdpass",
    "identityfile": "IdentityFile",
}  # fmt: skip
SWITCHES = (
    "verifyhostkeydns",
    "gssapiauthentication",
    "gssapikeyexchange",
    "hostbasedauthentication",
    "proxyusefdpass",
)
TOKEN = re.compile(r"%.|\$\{[^}]*\}")


class Needs:
    """What hosts need the ssh program for. `said` is what ssh says of a host, `way` how AsyncSSH would reach it."""

    def __init__(
        self,
        survey: Survey,
        *,
        said: Callable[[Host], Awaitable[Mapping[str, Sequence[str]]]],
        way: Callable[[Host], Awaitable[Way]],
        env: Mapping[str, str],
    ) -> None:
        self._survey, self._said, self._way, self._env = survey, said, way, env

    async def of(self, host: Host) -> str | None:
        """Why a host is one for the ssh program, None when it isn't. Raises HostRefused, Unreachable."""
        if self._survey.unreadable is not None:
            return f"AsyncSSH can't read {self._survey.unreadable} in your SSH configuration"
        seen, wanted = set[str](), [host]
        while wanted and len(seen) < JUMPS:
            one = wanted.pop()
            why = await self._own(one)
            if why is not None:
                return why if one is host else f"for its jump host {one.name}, {why}"
            seen.add(one.name)
            jump = (await self._way(one)).jump
            jumps = [jump_host(text, host) for text in jump.split(",")] if jump else []
            wanted += [found for found in jumps if found.name not in seen]
        return None

    async def _own(self, host: Host) -> str | None:
        if host.identity and _hardware(host.identity):
            return f"{host.identity} is a key in hardware, which only ssh uses"
        settled = set[str]()
        for said in self._survey.said:
            concerns = said.concerns(host.address)
            if said.word not in NAMES or said.word in settled or concerns is False:
                continue
            wanted = self._counts(said)
            if wanted and (concerns is None or said.word == "controlpath"):
                wanted = self._holds(said, (await self._said(host)).get(said.word, []))
            if wanted:
                return f"{NAMES[said.word]} ({said.where}) is something that only ssh does"
            if concerns and said.word != "identityfile":
                settled.add(said.word)  # the first that is said of a host counts
        return None

    def _counts(self, said: Said) -> bool:
        """Whether a word makes a difference where it concerns a host."""
        value = said.value.lower()
        if said.word in SWITCHES:
            return value in YES and (not said.word.startswith("gssapi") or self._has_ticket())
        if said.word == "identityfile":
            return _hardware(said.value)
        if said.word == "securitykeyprovider":
            return value not in ("internal", "none")
        if value == "none":
            return False
        return said.word != "controlpath" or _sockets(said.value)

    def _holds(self, said: Said, values: Sequence[str]) -> bool:
        """Whether what ssh answered agrees that the word makes a difference."""
        if said.word == "controlpath":
            return any(os.path.exists(os.path.expanduser(value)) for value in values)
        if said.word == "identityfile":
            return any(map(_hardware, values))
        if said.word in SWITCHES:
            return any(value.lower() in YES for value in values)
        return any(value.lower() not in ("", "none", "internal") for value in values)

    def _has_ticket(self) -> bool:
        # Debian and others say GSSAPIAuthentication yes to everybody; without a ticket it can do nothing.
        return "KRB5CCNAME" in self._env or os.path.exists(f"/tmp/krb5cc_{os.getuid()}")


def _sockets(pattern: str) -> bool:
    """Whether any control socket is there that a ControlPath could mean."""
    plain = "*".join(map(glob.escape, TOKEN.split(os.path.expanduser(pattern.replace("%d", "~")))))
    return any(Path(found).is_socket() for found in glob.iglob(plain))


def _hardware(name: str) -> bool:
    """Whether a key file, or the public half beside it, is of a kind that lives in hardware."""
    path = os.path.expanduser(name)
    for one in (f"{path}.pub", path):
        try:
            with open(one, "rb") as file:
                return file.read(80).lstrip().startswith(b"sk-")
        except OSError:
            continue
    return False
