"""A checkup of one host: its door, its lines, and what it tells of itself; within bounds of time, whatever it does.

It must never change a host: it looks, by a command that writes nothing, and hangs up.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from msgspec.structs import replace

from hostler.clock import Clock
from hostler.errors import Crowded, HostError, HostKeyMismatch, HostRefused, LineLost, Unreachable
from hostler.model.checkups import CROWDED, REFUSED, STRANGER, UNREACHED, Facts, Shut
from hostler.model.hosts import Host
from hostler.ports import Connection, Stream, Transport
from hostler.remote.attempt_source import BOOT
from hostler.remote.probe_source import probe
from hostler.work.told import harmless, read

#: Seconds for what a host tells of itself, for one more session, and for more lines at once.
TELLING, SESSION, MORE = 25.0, 5.0, 15.0
#: Sessions that are tried on one line, and lines at once beside it.
SESSIONS, LINES = 4, 3
#: Bytes of an answer that are read: start-up files may print for ever.
LONGEST = 1 << 20
#: A command that waits for nothing but the end of its stdin.
WAIT = "exec /bin/sh -c 'exec cat'"


class Become(Protocol):
    """A way to be another account on a host."""

    @property
    def user(self) -> str:
        """The account's name."""
        ...

    async def enter(self, line: Connection, *, deadline: float) -> tuple[Stream, bytes]:
        """A stream to what reads BOOT's message as that account, and what came on it already. Raises HostError."""
        ...


async def checkup(
    host: Host,
    *,
    by: Transport,
    at_once: Transport,
    clock: Clock,
    deadline: float,
    become: Become | None = None,
) -> Facts:
    """Look at a host. `by` opens the line, within `deadline` seconds; `at_once`, which must not wait its turn, more.

    With `become` it is looked at as that account, too. Raises nothing for what a host does or is.
    """
    began = clock.steady()
    try:
        line = await by.connect(host, deadline=deadline)
    except HostError as error:
        return Facts(host=host, shut=Shut(how=_how(error), why=error.why))
    took = clock.steady() - began
    try:
        facts = await _asked(line, Facts(host=host, took=took), clock=clock)
        if facts.told is not None and become is not None:
            other = await _asked(line, Facts(host=host), clock=clock, become=become)
            facts = replace(facts, as_user=become.user, other=other.told, barred=other.mute)
        if facts.told is not None:
            facts = await _sessions(line, facts, clock)
    finally:
        await line.close()
    return facts if facts.told is None else await _crowd(facts, by=at_once, deadline=min(deadline, MORE))


def _how(error: HostError) -> str:
    if isinstance(error, HostKeyMismatch):
        return STRANGER
    if isinstance(error, Crowded):
        return CROWDED
    return REFUSED if isinstance(error, HostRefused) else UNREACHED


async def _asked(line: Connection, facts: Facts, *, clock: Clock, become: Become | None = None) -> Facts:
    """What the host tells of itself to an account, as far as it comes."""
    host, mark = facts.host, f"hostler-{secrets.token_hex(8)}"
    words = probe(mark, spool=host.var("spool") or "", python=host.var("python") or "")
    answer, stderr, trouble = bytearray(), b"", ""
    sent, asked = clock.now(), clock.steady()
    got: float | None = None
    stream: Stream | None = None
    try:
        async with asyncio.timeout(TELLING):
            if become is None:
                stream = await line.stream(BOOT, deadline=TELLING)
            else:
                stream, first = await become.enter(line, deadline=TELLING)
                answer += first
            stream.write(words)
            await stream.drain()
            while data := await stream.read():
                answer += data
                if got is None and f"\n{mark} begin\n".encode() in answer:
                    got = clock.steady()
                if len(answer) > LONGEST:
                    trouble = f"its start-up files print more than {LONGEST >> 20} MiB"
                    break
                if f"\n{mark} end\n".encode() in answer[-200:]:
                    break
    except TimeoutError:
        trouble = f"its login did not come to a command within {TELLING:g}s"
    except Unreachable as error:
        if "no more sessions" in error.why:
            return replace(facts, mute=error.why, sessions=0)
        trouble = error.why
    except (LineLost, HostRefused) as error:
        trouble = error.why
    if stream is not None:
        stderr = stream.stderr_tail()
        with suppress(HostError, TimeoutError):
            async with asyncio.timeout(SESSION):
                await stream.close()
    told = read(bytes(answer), mark, sent=sent, asked=asked, got=clock.steady() if got is None else got)
    return replace(facts, told=told, mute="" if told else _mute(trouble, bytes(answer), stderr))


def _mute(trouble: str, answer: bytes, stderr: bytes) -> str:
    """Why a login came to no command."""
    last = [each for each in (stderr.strip() or answer.strip()).split(b"\n") if each.strip()][-1:]
    said = f": {harmless(last[0])!r}" if last else ""
    if b"not all of the message came" in stderr:
        return "its start-up files read what is meant for the command (stdin)"
    return (trouble or "its login shell did not run the command") + said


async def _sessions(line: Connection, facts: Facts, clock: Clock) -> Facts:
    """How many sessions the line allows, up to those that are of use: one at least, for one has been had."""
    held: list[Stream] = []
    until = clock.steady() + SESSION
    try:
        while len(held) < SESSIONS:
            try:
                held.append(await line.stream(WAIT, deadline=SESSION))
            except (LineLost, HostRefused):
                break
            except Unreachable:
                if held or clock.steady() > until:
                    break
                await clock.sleep(0.1)  # the one before has not quite ended there
    finally:
        for stream in held:
            with suppress(HostError, TimeoutError):
                async with asyncio.timeout(SESSION):
                    await stream.close()
    return replace(facts, sessions=max(1, len(held)), asked=SESSIONS)


async def _crowd(facts: Facts, *, by: Transport, deadline: float) -> Facts:
    """How many of a few lines at once the host hangs up on."""

    async def one() -> bool:
        try:
            line = await by.connect(facts.host, deadline=deadline)
        except Crowded:
            return True
        except HostError:
            return False
        await line.close()
        return False

    return replace(facts, crowd=sum(await asyncio.gather(*(one() for _ in range(LINES)))), lines=LINES)


async def checkups(
    hosts: Sequence[Host], *, by: Transport, at_once: Transport, clock: Clock, deadline: float, forks: int,
    become: Become | None = None,
) -> list[Facts]:  # fmt: skip
    """Look at many hosts, `forks` at once; facts in the hosts' order."""
    turn = asyncio.Semaphore(forks)

    async def one(host: Host) -> Facts:
        async with turn:
            return await checkup(host, by=by, at_once=at_once, clock=clock, deadline=deadline, become=become)

    return await asyncio.gather(*(one(host) for host in hosts))
