"""Files that people write, made into values: inventories and lists of hosts.

Every complaint names the file and the line. Nothing here runs what a file says, and pydantic must never be
imported on this path: a batch starts through it.
"""

from __future__ import annotations

from hostler.manifests.inventories import load_inventory, read_hostfile

__all__ = ["load_inventory", "read_hostfile"]
