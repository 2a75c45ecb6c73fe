"""Who launches machines, and those that are known without a file."""

from __future__ import annotations

from hostler.model.hosts import Host
from hostler.ports import Provider

#: Who can launch machines.
PROVIDERS = ("sandbox",)


def provider(name: str, *, fuse: float | None = None) -> Provider:
    """The provider called `name`, one of PROVIDERS. A run's machines outlive its controller by `fuse` seconds.

    None: by as long as is usual.
    """
    from hostler.providers.sandbox import Sandbox

    assert name in PROVIDERS
    return Sandbox(fuse=fuse)


def sandbox_hosts() -> tuple[Host, ...]:
    """The sandbox hosts of this machine, which are in every inventory."""
    from hostler.providers.sandbox import hosts

    return hosts()
