"""Who launches machines, and those that are known without a file."""

from __future__ import annotations

from hostler.model.hosts import Host
from hostler.ports import Provider

#: Who can launch machines.
PROVIDERS = ("sandbox",)


def provider(name: str) -> Provider:
    """The provider called `name`, one of PROVIDERS."""
    from hostler.providers.sandbox import Sandbox

    assert name in PROVIDERS
    return Sandbox()


def sandbox_hosts() -> tuple[Host, ...]:
    """The sandbox hosts of this machine, which are in every inventory."""
    from hostler.providers.sandbox import hosts

    return hosts()
