"""Which version of the store this code reads and writes."""

from __future__ import annotations

#: Number of the newest migration. It stands in an SQLite store as user_version.
VERSION = 5
#: Marks an SQLite file as hostler's ("Hslr"), so that no other program's is ever touched.
APPLICATION = 0x48736C72
