"""What the user's SSH configuration says of one host, as far as AsyncSSH reads it, settled into one frozen value.

A Host's own fields stand above it. What would forward, prompt, compress or run something else than we ask for is
not looked at. It must never change a file, and never ask about a host that no block could concern.
"""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from msgspec import Struct

from hostler.errors import HostRefused
from hostler.model.hosts import Host
from hostler.transports.survey import Survey

# Passed on to AsyncSSH under these names when the configuration has them.
ALGORITHMS = {
    "Ciphers": "encryption_algs",
    "KexAlgorithms": "kex_algs",
    "MACs": "mac_algs",
    "CASignatureAlgorithms": "signature_algs",
}
PASSED = {
    "AddressFamily": "family",
    "TCPKeepAlive": "tcp_keepalive",
    "SetEnv": "env",
    "SendEnv": "send_env",
    "CanonicalizeHostname": "canonicalize_hostname",
    "CanonicalDomains": "canonical_domains",
    "CanonicalizeFallbackLocal": "canonicalize_fallback_local",
    "CanonicalizeMaxDots": "canonicalize_max_dots",
    "CanonicalizePermittedCNAMEs": "canonicalize_permitted_cnames",
}
USER_KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
GLOBAL_KNOWN_HOSTS = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")


class Way(Struct, frozen=True, kw_only=True):
    """How to reach one host: where to dial, as whom, with which keys, through which others.

    `keys` are files named for this host, empty for the account's usual ones; `only` says that the agent may add
    none of its own. `alias` is the name that its key is on record under. `more` goes to AsyncSSH as it is.
    """

    address: str
    port: int = 22
    user: str
    alias: str | None = None
    keys: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    only: bool = False
    agent: str | None = None
    jump: str | None = None
    proxy: str | None = None
    host_key_algorithms: str | None = None
    known_hosts: tuple[Path, ...] = ()
    more: tuple[tuple[str, object], ...] = ()

    @property
    def endpoint(self) -> str:
        """address:port, as errors name it."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def files(given: Sequence[Path] | None) -> tuple[Path, ...]:
    """The configuration files that there are: those given, else the user's and the system's."""
    if given is None:
        given = (Path.home() / ".ssh/config", Path("/etc/ssh/ssh_config"))
    return tuple(path for path in given if os.access(path, os.R_OK) and path.stat().st_size)


def by_hand(host: Host, user: str) -> str:
    """The command by which a person would try the host.

    >>> by_hand(Host(name="a", address="web1", port=2222), "me")
    'ssh -p 2222 me@web1'
    """
    port = f"-p {host.port} " if host.port not in (None, 22) else ""
    return f"ssh {port}{user}@{host.address}"


class Settings:
    """The configuration of one run: each host's way, read once for all hosts that are told the same things."""

    def __init__(self, config: Sequence[Path], survey: Survey) -> None:
        self._config, self._survey = config, survey
        self._known: dict[tuple[bool, ...], _Said] = {}

    async def way(self, host: Host, env: Mapping[str, str]) -> Way:
        """Settle how to reach `host`. Raises HostRefused on a configuration that can't be read."""
        if not self._config:
            return settle(host, None, env)
        group = self._survey.group(host.address)
        said = self._known.get(group) if group is not None else None
        if said is None:
            # Off the loop's thread: a "Match exec" runs a program.
            said = await asyncio.to_thread(_Said, host, self._config, group is None)
            if group is not None:
                self._known[group] = said
        return settle(host, said, env)


def settle(host: Host, said: _Said | None, env: Mapping[str, str]) -> Way:
    """Put the host's own fields above what the configuration says. Raises HostRefused."""
    try:
        user = host.user or (said.text("User") if said else None) or getpass.getuser()
    except (KeyError, OSError) as error:
        raise HostRefused(host.name, "no user given, and this account has no name; say USER@HOST") from error
    if said is None:
        return Way(
            address=host.address,
            port=host.port or 22,
            user=user,
            keys=(host.identity,) if host.identity else (),
            only=host.identity is not None,
            agent=env.get("SSH_AUTH_SOCK"),
            jump=host.jump,
            known_hosts=known_hosts_files(None, None, {}),
        )
    address = said.text("Hostname") or host.address
    port = host.port or said.number("Port") or 22
    named = said.texts("IdentityFile") or ()
    tokens = {
        "h": address,
        "n": host.address,
        "p": str(port),
        "r": user,
        "k": said.text("HostKeyAlias") or address,
    }
    return Way(
        address=address,
        port=port,
        user=user,
        alias=said.text("HostKeyAlias"),
        keys=(host.identity,) if host.identity else named,
        certificates=said.texts("CertificateFile") or (),
        only=host.identity is not None or said.is_on("IdentitiesOnly"),
        agent=_agent(said, env),
        jump=host.jump or said.text("ProxyJump"),
        proxy=None if host.jump else said.text("ProxyCommand"),
        known_hosts=known_hosts_files(
            said.texts("UserKnownHostsFile"), said.texts("GlobalKnownHostsFile"), tokens
        ),
        host_key_algorithms=said.text("HostKeyAlgorithms"),
        more=said.more(),
    )


class _Said:
    """The values that AsyncSSH finds in the files for one host."""

    def __init__(self, host: Host, config: Sequence[Path], alone: bool) -> None:
        import asyncssh

        def read(final: bool) -> asyncssh.SSHClientConnectionOptions:
            return asyncssh.SSHClientConnectionOptions(
                host=host.address,
                # What a Match or a % could ask about; elsewhere the host's own fields are put above later.
                port=host.port if alone and host.port is not None else (),
                username=host.user if alone and host.user is not None else (),
                config=[str(path) for path in config],
                final=final,
                known_hosts=(),
                client_keys=None,
                x509_trusted_certs=None,
                x509_trusted_cert_paths=[],
            )

        try:
            options = read(False)
            if options.config.has_match_final():
                options = read(True)
        except (ValueError, OSError) as error:
            raise HostRefused(host.name, f"your SSH configuration can't be used: {error}") from error
        self._host, self._options, self._config = host, options, options.config

    def has(self, word: str) -> bool:
        return self.value(word) is not None

    def more(self) -> tuple[tuple[str, object], ...]:
        """What AsyncSSH takes as it is. Algorithms as it has understood them: named outright, an unknown one is an
        error to it, where in a file it is passed over.
        """
        found = [(ours, self.value(word)) for word, ours in PASSED.items() if self.has(word)]
        for word, ours in ALGORITHMS.items():
            if self.has(word):
                names = [name.decode() for name in getattr(self._options, ours)]
                if not names:
                    raise HostRefused(
                        self._host.name, f"your SSH configuration can't be used: {word} names none we have"
                    )
                found.append((ours, names))
        return tuple(found)

    def value(self, word: str) -> object:
        return self._config.get(word)

    def text(self, word: str) -> str | None:
        value = self.value(word)
        return str(value) if value else None

    def number(self, word: str) -> int | None:
        value = self.value(word)
        return value if isinstance(value, int) else None

    def texts(self, word: str) -> tuple[str, ...] | None:
        value = self.value(word)
        return tuple(map(str, value)) if isinstance(value, list) else None

    def is_on(self, word: str) -> bool:
        return self.value(word) is True


def _agent(said: _Said, env: Mapping[str, str]) -> str | None:
    missing = "\x00"
    asked = said._config.get("IdentityAgent", missing)
    if asked == missing or asked == "SSH_AUTH_SOCK":
        return env.get("SSH_AUTH_SOCK")
    if not asked:  # "none"
        return None
    path = str(asked)
    return env.get(path[1:].strip("{}")) if path.startswith("$") else os.path.expanduser(path)


def known_hosts_files(
    user: tuple[str, ...] | None, system: tuple[str, ...] | None, tokens: Mapping[str, str]
) -> tuple[Path, ...]:
    home = os.path.expanduser("~")
    if user is None and system is None:
        return _usual_known_hosts(home)
    named = (USER_KNOWN_HOSTS if user is None else user) + (GLOBAL_KNOWN_HOSTS if system is None else system)
    table = {"d": home, "i": str(os.getuid()), "%": "%", **tokens}
    found = []
    for name in named:
        for letter, value in table.items():
            name = name.replace(f"%{letter}", value)
        found.append(Path(os.path.expanduser(name)))
    return tuple(found)


@cache
def _usual_known_hosts(home: str) -> tuple[Path, ...]:
    return tuple(Path(name.replace("~", home, 1)) for name in USER_KNOWN_HOSTS + GLOBAL_KNOWN_HOSTS)
