"""What stands around a transport keeps the transport's contract: pool, limits, retrying, keys; what each adds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from hostler.errors import HostRefused, LineLost, Unreachable
from hostler.model.hosts import Host
from hostler.ports import Transport
from hostler.transports.asyncssh import AsyncsshTransport
from hostler.transports.dryrun import DryRunTransport, Planned
from hostler.transports.keyed import KeyedTransport
from hostler.transports.limited import LimitedTransport
from hostler.transports.memory import MemoryHost, MemoryTransport
from hostler.transports.pool import PooledTransport
from hostler.transports.retrying import RetryingTransport
from hostler.transports.sessionkeys import SessionKeys
from tests.clocks import Hurried
from tests.contract.own_sshd import server as server
from tests.contract.test_transports import InMemory, OverSsh
from tests.contract.transport_suite import LONG, read_exactly

BOX = Host(name="box", address="box", user="me")


class TestLimited(InMemory):
    def around(self, transport: Transport) -> Transport:
        return LimitedTransport(transport, limit=3)


class TestRetrying(InMemory):
    def around(self, transport: Transport) -> Transport:
        return RetryingTransport(transport, tries=9, clock=Hurried())


class TestPooled(InMemory):
    def around(self, transport: Transport) -> Transport:
        return PooledTransport(transport)


class TestKeyed(InMemory):
    def around(self, transport: Transport) -> Transport:
        return KeyedTransport(transport, SessionKeys(Path("/nowhere"), lifetime=3600.0, say=print))


class TestAllOverSsh(OverSsh):
    """One inside the other, around a real OpenSSH server."""

    kind = AsyncsshTransport

    def around(self, transport: Transport) -> Transport:
        stubborn = RetryingTransport(LimitedTransport(transport, limit=3), tries=9, clock=Hurried())
        return PooledTransport(stubborn, idle=0.2)


# -- the pool ----------------------------------------------------------------------------------------------------


async def test_users_of_one_endpoint_share_a_line_which_closes_behind_the_last() -> None:
    box = MemoryHost(address="box")
    pool = PooledTransport(MemoryTransport([box]))
    tagged = replace(BOX, tags=frozenset({"web"}), source="elsewhere")
    one, two, three = await asyncio.gather(*(pool.connect(h, deadline=LONG) for h in (BOX, tagged, BOX)))
    assert len(box.lines) == 1 and two.host is tagged
    for share in (one, two):
        await share.close()
        assert not share.alive
    assert (await three.run("echo on", deadline=LONG)).stdout == b"on\n"
    await three.close()
    assert box.lines == []
    again = await pool.connect(BOX, deadline=LONG)
    assert again.alive and len(box.lines) == 1


async def test_another_user_or_port_is_another_line() -> None:
    box = MemoryHost(address="box")
    pool = PooledTransport(MemoryTransport([box]))
    for host in (BOX, replace(BOX, user="you")):
        await pool.connect(host, deadline=LONG)
    assert len(box.lines) == 2
    await pool.close()
    assert box.lines == []


async def test_the_end_of_one_share_ends_its_streams_and_nobody_else_s() -> None:
    pool = PooledTransport(MemoryTransport([MemoryHost(address="box")]))
    one, two = [await pool.connect(BOX, deadline=LONG) for _ in range(2)]
    mine, theirs = await one.stream("cat", deadline=LONG), await two.stream("cat", deadline=LONG)
    reading = asyncio.create_task(mine.read())
    await asyncio.sleep(0)
    await one.close()
    with pytest.raises(LineLost):
        await asyncio.wait_for(reading, LONG)
    with pytest.raises(LineLost):
        await one.run("true", deadline=LONG)
    theirs.write(b"on")
    assert await read_exactly(theirs, 2) == b"on"


async def test_a_line_that_broke_is_not_handed_out_again() -> None:
    box = MemoryHost(address="box")
    pool = PooledTransport(MemoryTransport([box]))
    broken = await pool.connect(BOX, deadline=LONG)
    box.cut()
    assert not broken.alive
    assert (await pool.connect(BOX, deadline=LONG)).alive
    await broken.close()
    assert len(box.lines) == 1


async def test_an_unused_line_waits_a_while_for_its_next_user() -> None:
    box = MemoryHost(address="box")
    pool = PooledTransport(MemoryTransport([box]), idle=0.05)
    first = await pool.connect(BOX, deadline=LONG)
    [line] = box.lines
    await first.close()
    second = await pool.connect(BOX, deadline=LONG)
    assert box.lines == [line]
    await asyncio.sleep(0.1)  # longer than an unused one is kept
    assert second.alive
    await second.close()
    async with asyncio.timeout(LONG):
        while box.lines:
            await asyncio.sleep(0.01)


async def test_those_who_wait_for_one_opening_get_the_same_error_and_the_next_one_tries_anew() -> None:
    box = MemoryHost(address="box", listening=False)
    pool = PooledTransport(MemoryTransport([box]))
    opening = [pool.connect(BOX, deadline=LONG) for _ in range(3)]
    found = await asyncio.gather(*opening, return_exceptions=True)
    assert all(isinstance(error, Unreachable) for error in found)
    box.listening = True
    assert (await pool.connect(BOX, deadline=LONG)).alive


async def test_one_that_gives_up_does_not_give_up_for_the_others() -> None:
    box = MemoryHost(address="box", silent=True)
    pool = PooledTransport(MemoryTransport([box]))
    one, two = [asyncio.create_task(pool.connect(BOX, deadline=0.2)) for _ in range(2)]
    await asyncio.sleep(0)
    one.cancel()
    with pytest.raises(Unreachable, match="said nothing"):
        await two
    alone = asyncio.create_task(pool.connect(BOX, deadline=LONG))
    await asyncio.sleep(0)
    alone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await alone
    box.silent = False
    assert (await asyncio.wait_for(pool.connect(BOX, deadline=LONG), LONG)).alive


async def test_a_pool_closed_under_those_who_wait_tells_them() -> None:
    pool = PooledTransport(MemoryTransport([MemoryHost(address="box", silent=True)]))
    waiting = asyncio.create_task(pool.connect(BOX, deadline=LONG))
    await asyncio.sleep(0)
    await pool.close()
    with pytest.raises(Unreachable, match="was closed"):
        await waiting


# -- retrying ----------------------------------------------------------------------------------------------------


async def test_a_host_that_comes_up_in_time_is_reached() -> None:
    box, clock = MemoryHost(address="box", listening=False), Hurried()
    connecting = asyncio.create_task(
        RetryingTransport(MemoryTransport([box]), tries=9, clock=clock).connect(BOX, deadline=60.0)
    )
    while clock.seconds < 5:
        await asyncio.sleep(0)
    box.listening = True
    assert (await asyncio.wait_for(connecting, LONG)).alive
    assert clock.seconds < 60


async def test_one_that_does_not_is_told_of_within_the_deadline_and_a_refusal_at_once() -> None:
    clock = Hurried()
    hosts = MemoryTransport(
        [MemoryHost(address="box", listening=False), MemoryHost(address="shut", accepts=False)]
    )
    with pytest.raises(Unreachable, match="connection refused"):
        await RetryingTransport(hosts, tries=9, clock=clock).connect(BOX, deadline=60.0)
    assert 30 < clock.seconds < 60
    before = clock.seconds
    with pytest.raises(Unreachable):
        await RetryingTransport(hosts, tries=3, clock=clock).connect(BOX, deadline=60.0)
    assert clock.seconds == before + 1.5
    before = clock.seconds
    with pytest.raises(HostRefused, match="no key accepted"):
        await RetryingTransport(hosts, tries=9, clock=clock).connect(
            replace(BOX, address="shut"), deadline=60.0
        )
    assert clock.seconds == before


# -- dry runs ----------------------------------------------------------------------------------------------------


async def test_a_dry_run_tells_all_and_does_nothing() -> None:
    steps: list[Planned] = []
    line = await DryRunTransport(steps.append).connect(BOX, deadline=LONG)
    assert (await line.run("rm -rf /", deadline=LONG)).code == 0
    stream = await line.stream("cat", deadline=LONG)
    stream.write(b"x")
    await stream.drain()
    assert await stream.read() == b""
    await line.put(b"x", "/etc/passwd", deadline=LONG)
    with pytest.raises(FileNotFoundError):
        await line.get("/etc/passwd", deadline=LONG)
    assert [(step.what, step.text) for step in steps] == [
        ("connect", ""),
        ("run", "rm -rf /"),
        ("stream", "cat"),
        ("put", "/etc/passwd"),
        ("get", "/etc/passwd"),
    ]
    await line.close()
    with pytest.raises(LineLost):
        await line.run("true", deadline=LONG)
    with pytest.raises(LineLost):
        await stream.read()
