"""AsyncSSH's and the system's errors in the words of hostler's tree: what to do next decides which.

It must never hold a refusal for a passing trouble: a host refused is not tried again.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket

import asyncssh

from hostler.errors import Crowded, HostError, HostRefused, Unreachable

NO_SUCH_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
SYSTEM = {
    errno.ECONNREFUSED: "connection refused by {place}",
    errno.ECONNRESET: "connection reset by {place}",
    errno.EPIPE: "connection reset by {place}",
    errno.EHOSTUNREACH: "no route to {place}",
    errno.ENETUNREACH: "no route to {place}",
    errno.ENETDOWN: "no route to {place}",
    errno.ETIMEDOUT: "no answer from {place}",
    errno.EMFILE: "too many open files here to reach {place} (ulimit -n)",
    errno.EADDRNOTAVAIL: "no free local port to reach {place}",
}
#: What an sshd says, instead of its version, to who comes when it has too many callers.
CROWDED = ("Exceeded MaxStartups", "Not allowed at this time")
JUMP_GONE = "the line to its jump host broke"
NUMBER = re.compile(r"\[Errno (\d+)\]")


def unreachable(
    host: str, error: BaseException, *, place: str, reached: bool, proved: bool = False
) -> HostError:
    """The error for a line that could not be opened, login and host key aside.

    `place` is where we dialled, `reached` whether somebody took the call, `proved` whether it has shown its key: who
    hangs up between these two has too many callers.
    """
    if isinstance(error, socket.gaierror):
        name = place.rpartition(":")[0]
        if error.errno in NO_SUCH_NAME:
            return HostRefused(host, f"name not known: {name}")
        return Unreachable(host, f"the name {name} could not be looked up now ({error.strerror})")
    if isinstance(error, UnicodeEncodeError) or type(error) is UnicodeError:  # of the name's own encoding
        return HostRefused(host, f"name not known: {place.rpartition(':')[0]}")
    if isinstance(error, asyncssh.ChannelOpenError):  # of a jump host
        if "connection closed" in error.reason:
            return Unreachable(host, JUMP_GONE)
        return Unreachable(host, f"the jump host could not reach {place}: {error.reason}")
    if isinstance(error, asyncssh.KeyExchangeFailed):
        return HostRefused(host, f"no algorithm in common with {place}: {_first(error.reason)}")
    if isinstance(error, asyncssh.ProtocolNotSupported | asyncssh.ProtocolError | UnicodeDecodeError):
        reason = getattr(error, "reason", "")
        if "oo many authentication failures" in reason:
            return HostRefused(host, _first(reason))
        if any(word in reason for word in CROWDED):
            return Crowded(host, f"{place} takes no more connections now ({_first(reason)})")
        return Unreachable(
            host, f"what answers at {place} speaks no SSH that we know ({_first(reason) or 'garbage'})"
        )
    if isinstance(error, asyncssh.ConnectionLost | asyncssh.DisconnectError):
        if reached and proved:
            return Unreachable(host, f"{place} hung up during the login: {_first(error.reason)}")
        if reached:
            return Crowded(host, f"{place} hung up before the login (too many connections at once?)")
        return Unreachable(host, f"connection lost: {_first(error.reason)}")
    if isinstance(error, ConnectionResetError) and reached and not proved:
        return Crowded(host, f"connection reset by {place} (too many connections at once?)")
    if isinstance(error, OSError):
        # Of several addresses asyncio gives one text with every number in it; the last address speaks.
        numbers = [error.errno] if error.errno else [int(text) for text in NUMBER.findall(str(error))]
        if numbers:
            text = SYSTEM.get(numbers[-1], "can't reach {place}: " + _system(numbers[-1]))
            return Unreachable(host, text.format(place=place))
        if isinstance(error, ConnectionError):
            return Unreachable(host, f"connection reset by {place}")
    return Unreachable(host, f"can't reach {place}: {_first(str(error)) or type(error).__name__}")


def late(host: str, seconds: float, *, place: str, reached: bool, proved: bool) -> Unreachable:
    """The error for a line that was not open in time."""
    if proved:
        return Unreachable(host, f"the login to {place} did not end within {seconds:g}s")
    if reached:
        return Unreachable(
            host, f"{place} took the call but did not finish SSH's opening within {seconds:g}s"
        )
    return Unreachable(host, f"no answer from {place} within {seconds:g}s")


def broken(error: BaseException | None) -> str:
    """Why an open line broke, in a few words."""
    if error is None:
        return "the line was closed"
    if isinstance(error, asyncssh.ConnectionLost):
        if error.reason == JUMP_GONE:
            return JUMP_GONE
        return "the host stopped answering" if "keepalive" in error.reason else "the line broke"
    if isinstance(error, asyncssh.DisconnectError):
        return f"the line broke: {_first(error.reason)}"
    if isinstance(error, asyncio.CancelledError):
        return "the line was given up"
    return f"the line broke: {_first(str(error)) or type(error).__name__}"


def _first(text: str) -> str:
    line = text.strip().splitlines()[0] if text.strip() else ""
    return "".join(char if char.isprintable() else "?" for char in line)[:200]


def _system(number: int) -> str:
    return os.strerror(number).lower()
