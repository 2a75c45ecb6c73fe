"""Files that people write, made into values: inventories and lists of hosts.

Every complaint names the file and the line. Nothing here runs what a file says, though a file may be a program that
is run to be heard (`programs`); and pydantic must never be imported on this path: a batch starts through it.
"""

from __future__ import annotations

from hostler.manifests.inventories import load_inventory, read_hostfile, read_inventories

__all__ = ["load_inventory", "read_hostfile", "read_inventories"]
