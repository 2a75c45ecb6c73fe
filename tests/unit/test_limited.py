"""Lines opened politely: turns, who is turned away, who comes again, and who is told."""

from __future__ import annotations

import asyncio

import pytest

from hostler.errors import Crowded, HostRefused, Unreachable
from hostler.model.hosts import Host
from hostler.ports import Connection
from hostler.transports.limited import ALONE, LimitedTransport
from hostler.transports.memory import MemoryHost, MemoryTransport
from hostler.transports.ramp import Lane
from tests.clocks import Hurried

BOX = Host(name="box", address="box")


class Watched:
    """A transport that counts how many lines are being opened at once, and all tries."""

    def __init__(self, inner: MemoryTransport) -> None:
        self._inner = inner
        self.now = self.most = self.tries = 0

    async def connect(self, host: Host, *, deadline: float) -> Connection:
        self.now += 1
        self.tries += 1
        self.most = max(self.most, self.now)
        try:
            return await self._inner.connect(host, deadline=deadline)
        finally:
            self.now -= 1

    async def close(self) -> None:
        await self._inner.close()


def polite(*hosts: MemoryHost, limit: int = 64) -> tuple[LimitedTransport, Watched]:
    watched = Watched(MemoryTransport(hosts))
    return LimitedTransport(watched, limit=limit, clock=Hurried()), watched


async def open_all(transport: LimitedTransport, hosts: list[Host]) -> list[Connection | BaseException]:
    opening = (transport.connect(host, deadline=30.0) for host in hosts)
    return await asyncio.gather(*opening, return_exceptions=True)


async def test_no_more_lines_than_the_limit_are_opened_at_once_and_all_that_are_allowed() -> None:
    transport, watched = polite(MemoryHost(address="box"), limit=5)
    lines = await open_all(transport, [BOX] * 40)
    assert watched.most == 5 and watched.tries == 40
    assert not [line for line in lines if isinstance(line, BaseException)]


async def test_hosts_that_turn_nobody_away_are_all_tried_at_once() -> None:
    hosts = [Host(name=f"h{n}", address=f"h{n}") for n in range(60)]
    transport, watched = polite(*(MemoryHost(address=host.address) for host in hosts))
    await open_all(transport, hosts)
    assert watched.most == 60


@pytest.mark.parametrize("room", [1, 3, 10])
async def test_a_machine_with_room_for_few_lets_two_hundred_in_without_anybody_hearing_of_it(
    room: int,
) -> None:
    box = MemoryHost(address="box", max_startups=room)
    transport, watched = polite(box)
    lines = await open_all(transport, [BOX] * 200)
    assert not [line for line in lines if isinstance(line, BaseException)]
    assert len(box.lines) == 200
    assert watched.tries < 1000  # politely: it isn't hammered


async def test_a_crowded_machine_does_not_hold_up_the_others() -> None:
    box, other = MemoryHost(address="box", max_startups=0), MemoryHost(address="other")
    transport, _ = polite(box, other, limit=8)
    crowd = [asyncio.create_task(transport.connect(BOX, deadline=1e9)) for _ in range(100)]
    lines = await asyncio.wait_for(open_all(transport, [Host(name="o", address="other")] * 50), 20)
    assert not [line for line in lines if isinstance(line, BaseException)]
    for task in crowd:
        task.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)


async def test_one_that_hangs_up_on_a_lone_caller_is_told_of_soon() -> None:
    transport, watched = polite(MemoryHost(address="box", max_startups=0))
    with pytest.raises(Crowded, match="hung up before the login"):
        await transport.connect(BOX, deadline=30.0)
    assert watched.tries == ALONE


async def test_a_crowd_that_stays_one_is_told_of_when_time_is_up() -> None:
    transport, watched = polite(MemoryHost(address="box", max_startups=0))
    lines = await open_all(transport, [BOX] * 50)
    assert all(isinstance(line, Crowded) for line in lines)
    assert watched.tries < 50 * 15


async def test_nothing_else_is_tried_again() -> None:
    transport, watched = polite(
        MemoryHost(address="box", listening=False), MemoryHost(address="shut", accepts=False)
    )
    with pytest.raises(Unreachable):
        await transport.connect(BOX, deadline=30.0)
    with pytest.raises(HostRefused):
        await transport.connect(Host(name="shut", address="shut"), deadline=30.0)
    assert watched.tries == 2


async def test_those_who_give_up_while_they_wait_leave_no_gap() -> None:
    lane = Lane(1, least=1, most=1)
    order: list[int] = []

    async def caller(number: int) -> None:
        async with lane.turn():
            order.append(number)
            await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(caller(number)) for number in range(6)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    tasks[3].cancel()
    await asyncio.sleep(0)
    tasks[0].cancel()  # its turn goes to the next
    await asyncio.sleep(0)
    tasks[2].cancel()  # in the same moment in which its turn comes
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order[-2:] == [4, 5]
    async with asyncio.timeout(5), lane.turn():
        pass


async def test_a_lane_narrows_for_each_that_is_turned_away_and_widens_for_each_that_gets_in() -> None:
    lane = Lane(20, least=2, most=22)
    lane.turned_away()
    assert lane.width == 16
    for _ in range(10):
        lane.turned_away()
    assert lane.width == 2
    for _ in range(30):
        lane.got_in()
    assert lane.width == 22
