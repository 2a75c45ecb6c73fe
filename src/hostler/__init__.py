"""Hostler puts a fleet of SSH hosts to work.

These are the public names, and there are no others; tests/unit/test_package.py pins them. Each is imported
when it is first asked for (PEP 562), so that `import hostler` must never cost more than this file: the
command's start-up stands on it.

>>> import hostler
>>> hostler.Host(name="web1", address="10.0.0.5").endpoint
'10.0.0.5'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0.dev0"

__all__ = ["Host", "HostError", "HostlerError", "Inventory", "UsageError", "__version__"]

_HOMES = {
    "Host": "hostler.model.hosts",
    "HostError": "hostler.errors",
    "HostlerError": "hostler.errors",
    "Inventory": "hostler.model.hosts",
    "UsageError": "hostler.errors",
}

# A type checker sees plain imports, so that it tells a misspelt name; an interpreter sees none.
if TYPE_CHECKING:
    from hostler.errors import HostError, HostlerError, UsageError
    from hostler.model.hosts import Host, Inventory
else:

    def __getattr__(name: str) -> object:
        """Import the public name that was asked for, once."""
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module 'hostler' has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(home), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """The public names, imported or not."""
    return sorted(__all__)
