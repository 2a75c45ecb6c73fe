"""What must be known to reach one machine, and ordered sets of such facts.

A Host is never a connection: it is looked at, compared and stored, and nothing in it changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress

from msgspec import Struct

from hostler.errors import UsageError

NAME = re.compile(r"[A-Za-z0-9_\[:][A-Za-z0-9._:%\[\]-]*\Z")
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+-]*\$?\Z")


class Host(Struct, frozen=True, kw_only=True):
    """Frozen facts about one machine.

    `name` is its id in the inventory. `user`, `port`, `identity` (path of a private key) left at None are
    the user's SSH configuration's to decide. `host_key` is a public key line that the host must show
    ("ssh-ed25519 AAAA…"); `slots` how many jobs it takes at once. `vars` may hold `spool` (folder for our
    work on it), `shell` (for shell jobs), `python`, `transport` (how it is reached: asyncssh, openssh,
    local). `source` says where the facts were read; `instance` is what the provider calls it that launched it for the
    run that it is in, None for all others.

    Raises UsageError on a name, user or port that could not be a host's.

    >>> Host(name="web1", address="10.0.0.5", user="deploy", port=2222).endpoint
    'deploy@10.0.0.5:2222'
    """

    name: str
    address: str
    user: str | None = None
    port: int | None = None
    jump: str | None = None
    identity: str | None = None
    host_key: str | None = None
    slots: int | None = None
    tags: frozenset[str] = frozenset()
    vars: tuple[tuple[str, str], ...] = ()
    source: str = ""
    instance: str | None = None

    def __post_init__(self) -> None:
        for word, value in (("host name", self.name), ("address", self.address)):
            if not NAME.match(value) or len(value) > 255:
                raise UsageError(
                    f"{word} {value!r}: letters, digits and . _ : - only, not starting with - (max 255)"
                )
        if self.user is not None and not USER.match(self.user):
            raise UsageError(f"user {self.user!r} of {self.name}: not a login name")
        if self.port is not None and not 1 <= self.port <= 65535:
            raise UsageError(f"port {self.port} of {self.name}: must be 1 to 65535")
        if self.slots is not None and not 1 <= self.slots <= 10_000:
            raise UsageError(f"slots {self.slots} of {self.name}: must be 1 to 10000")

    @property
    def endpoint(self) -> str:
        """Where a line would be opened to: [user@]address[:port]."""
        address = f"[{self.address}]" if ":" in self.address and self.port else self.address
        return (f"{self.user}@" if self.user else "") + address + (f":{self.port}" if self.port else "")

    @property
    def place(self) -> tuple[str | None, str, int, str | None]:
        """What two names of one endpoint have in common: user, address in its one spelling, port and jump.

        >>> Host(name="a", address="WEB").place == Host(name="b", address="web", port=22).place
        True
        """
        return (self.user, spelled(self.address), self.port or 22, self.jump)

    @property
    def machine(self) -> str:
        """Which machine this is, whatever its name and account: its key if that is known beforehand, else its place.

        >>> Host(name="a", address="WEB", user="x").machine == Host(name="b", address="web", port=22).machine
        True
        """
        if self.host_key:
            return "key " + " ".join(self.host_key.split()[:2])
        return f"{spelled(self.address)} port {self.port or 22}" + (
            f" through {self.jump}" if self.jump else ""
        )

    def var(self, name: str) -> str | None:
        """The inventory variable called `name`, or None."""
        return dict(self.vars).get(name)


def spelled(address: str) -> str:
    """An address in the one spelling by which addresses are compared.

    >>> spelled("Web1"), spelled("0:0::1")
    ('web1', '::1')
    """
    if ":" in address:
        from ipaddress import ip_address

        with suppress(ValueError):
            return str(ip_address(address))
    return address.lower()


def refuse_twins(hosts: Iterable[Host], *, enrolled: Iterable[Host] = ()) -> None:
    """Raise UsageError when two hosts are one endpoint by two names: it would get the work of two.

    `enrolled` are hosts that are in already; one of these under its own name again is no twin.

    >>> refuse_twins([Host(name="a", address="h"), Host(name="b", address="H", source="hosts.txt:2")])
    Traceback (most recent call last):
    hostler.errors.UsageError: b (hosts.txt:2) and a (named by hand) are one endpoint, h: leave one of them out
    """
    seen = {host.place: host for host in enrolled}
    for host in hosts:
        twin = seen.setdefault(host.place, host)
        if twin.name != host.name:
            one, other = (f"{each.name} ({each.source or 'named by hand'})" for each in (host, twin))
            raise UsageError(f"{one} and {other} are one endpoint, {twin.endpoint}: leave one of them out")


class Inventory(Struct, frozen=True):
    """An ordered set of Hosts, by name.

    >>> Inventory((Host(name="a", address="a"),)).get("a").address
    'a'
    """

    hosts: tuple[Host, ...] = ()

    def __iter__(self) -> Iterator[Host]:
        return iter(self.hosts)

    def __len__(self) -> int:
        return len(self.hosts)

    def get(self, name: str) -> Host | None:
        """The host called `name`, or None."""
        return next((host for host in self.hosts if host.name == name), None)

    def tagged(self, tag: str) -> tuple[Host, ...]:
        """The hosts that carry `tag`, in order."""
        return tuple(host for host in self.hosts if tag in host.tags)

    def plus(self, hosts: Iterable[Host]) -> Inventory:
        """This inventory with `hosts` after it; a name already here is replaced in its place."""
        new = {host.name: host for host in hosts}
        kept = tuple(new.pop(host.name, host) for host in self.hosts)
        return Inventory(kept + tuple(new.values()))
