"""A machine that a provider owes us: which one, for whom, until when.

It must never know how the machine is reached beyond its Host, nor what it costs to ask about it.
"""

from __future__ import annotations

from msgspec import Struct

from hostler.model.hosts import Host


class Instance(Struct, frozen=True, kw_only=True):
    """One machine, labelled with the run and the token that it was launched for.

    `id` is the provider's own and never used again; `run` the uid of the run that owns it, None for one
    started by hand; `started` and `expires` are seconds since the epoch, `expires` being when its fuse ends
    it with nobody's help (None: it has no fuse).

    >>> web = Host(name="web1", address="127.77.0.1")
    >>> Instance(id="i-1", provider="memory", run=None, token="t", host=web, started=10.0, expires=70.0).left(20.0)
    50.0
    """

    id: str
    provider: str
    run: str | None
    token: str
    host: Host
    started: float
    expires: float | None

    def left(self, now: float) -> float | None:
        """Seconds until its fuse ends it, never below 0; None without a fuse."""
        return None if self.expires is None else max(0.0, self.expires - now)
