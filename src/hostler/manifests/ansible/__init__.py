"""Ansible's inventories as sheets: INI, YAML, and the JSON of `--list`.

Each form has a reader of its own; all of them tell `Groups` what they found, and what its variables mean for us is
decided in one place. What can't be understood is refused where it stands. Nothing here imports Ansible, fills in a
template, or takes over a password.
"""

from __future__ import annotations
