"""What the ssh program says, in the words of hostler's tree: what to do next decides which.

It must never hold a refusal for a passing trouble, and never pass on more than one line of what a host sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import asyncssh

from hostler.errors import Crowded, HostError, HostRefused, Unreachable
from hostler.transports.openssh_program import Heard
from hostler.transports.reasons import CROWDED

SYSTEM = (
    ("Connection refused", "connection refused by {place}"),
    ("Connection reset", "connection reset by {place}"),
    ("No route to host", "no route to {place}"),
    ("Network is unreachable", "no route to {place}"),
    ("timed out", "no answer from {place}"),
)
NEVER_A_NAME = (
    "Name or service not known",
    "No address associated",
    "Non-recoverable",
    "not known",
    "non-existing",
)
NO_SSH = (
    "banner line contains invalid",
    "Bad remote protocol version",
    "Protocol major versions differ",
    "Bad packet length",
    "banner exchange",
    "invalid format",
    "Corrupted MAC",
)
HUNG_UP = ("kex_exchange_identification: ", "Connection closed by", "Connection reset by", "Broken pipe")
NOISE = ("Warning: ", "Disconnected from", "@@@")
CONFIG = re.compile(r"(?P<where>.*: )?(line \d+: |terminating, |command-line line|Bad configuration)")


def failed(host: str, heard: Heard, *, place: str, by_jump: bool) -> HostError:
    """The error for a line that the program could not open; login and host key aside."""
    lines = [line for line in heard.lines if not line.startswith(NOISE)]
    for line in lines:
        if "Could not resolve hostname" in line:
            name, _, reason = line.partition("hostname ")[2].partition(": ")
            if any(word in reason for word in NEVER_A_NAME):
                return HostRefused(host, f"name not known: {name}")
            return Unreachable(host, f"the name {name} could not be looked up now ({reason})")
        if "Unable to negotiate" in line:
            return HostRefused(host, f"no algorithm in common with {place}: {line.partition(': ')[2]}")
        if "tdio forwarding" in line and by_jump:
            return Unreachable(host, f"the jump host could not reach {place}")
        if any(word in line for word in NO_SSH):
            return Unreachable(host, f"what answers at {place} speaks no SSH that we know ({line[:80]})")
    if heard.banner is not None and any(word in heard.banner for word in CROWDED):
        return Crowded(host, f"{place} takes no more connections now ({heard.banner[:80]})")
    if heard.banner is not None and not heard.shown:
        return Unreachable(host, f"what answers at {place} speaks no SSH that we know ({heard.banner[:80]})")
    for line in reversed(lines):
        if "connect to" in line or "connect: " in line:
            for word, text in SYSTEM:
                if word in line:
                    return Unreachable(host, text.format(place=place))
        if any(word in line for word in HUNG_UP):
            if not heard.proved:
                return Crowded(host, f"{place} hung up before the login (too many connections at once?)")
            return Unreachable(host, f"{place} hung up during the login")
        if CONFIG.match(line):
            return HostRefused(host, f"your SSH configuration can't be used: {line}")
    return Unreachable(host, f"can't reach {place}: {_last(lines)}")


def denied(heard: Heard) -> str | None:
    """How the host turned us down at the login: "many", "keys", or None when it did not."""
    said = "\n".join(heard.lines)
    if "oo many authentication failures" in said:
        return "many"
    return "keys" if "Permission denied" in said else None


def broke(heard: Heard) -> Exception:
    """Why an open line broke."""
    if any("not responding" in line for line in heard.lines):
        return asyncssh.ConnectionLost("no answer to keepalive")
    return asyncssh.ConnectionLost("Connection lost")


def _last(lines: Iterable[str]) -> str:
    return ([line for line in lines if line] or ["ssh ended without a word"])[-1][:200]
