"""What things are called that must not be mistaken for each other."""

from __future__ import annotations

import getpass
import os
import secrets
import socket


def owner_name() -> str:
    """This process, as people are told of it."""
    return f"{getpass.getuser()}@{socket.gethostname()} (pid {os.getpid()})"


def new_uid() -> str:
    """128 random bits: a run's name everywhere outside its store."""
    return secrets.token_hex(16)


def new_token() -> str:
    """64 random bits: what a run's spool on one host is called."""
    return secrets.token_hex(8)
