"""Hosts are called before a run is on disk: each once, a few of them, and none is kept waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from hostler.errors import Unreachable
from hostler.links import ahead as ahead_module
from hostler.links.ahead import FIRST, Ahead
from hostler.model.hosts import Host
from hostler.remote import source
from hostler.transports.memory import MemoryHost, MemoryTransport

HOSTS = [Host(name=f"n{number}", address=f"n{number}") for number in range(FIRST + 3)]


def machines(**switches: Any) -> list[MemoryHost]:
    return [MemoryHost(address=host.address, **switches) for host in HOSTS]


def lines(there: list[MemoryHost]) -> list[int]:
    return [len(each.lines) for each in there]


async def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


async def test_a_host_that_was_called_is_taken_once_with_nothing_sent_but_the_way_to_begin() -> None:
    there = machines()
    ahead = Ahead(MemoryTransport(there), deadline=5)
    ahead.begin(HOSTS[:1])
    begun = await ahead.take(HOSTS[0])
    assert begun is not None
    assert there[0].commands == [source.command()]
    assert lines(there)[:1] == [1]
    assert await ahead.take(HOSTS[0]) is None
    await ahead.close(deadline=5)
    assert lines(there)[:1] == [1], "what was taken is its taker's"
    await begun[0].close()


async def test_lines_that_nobody_took_are_closed_and_few_hosts_are_called() -> None:
    there = machines()
    ahead = Ahead(MemoryTransport(there), deadline=5)
    ahead.begin(HOSTS)
    await until(lambda: sum(lines(there)) == FIRST)
    await ahead.close(deadline=5)
    assert sum(lines(there)) == 0
    assert sum(len(each.commands) for each in there) <= FIRST


async def test_a_host_without_python_is_not_called() -> None:
    there = machines()
    ahead = Ahead(MemoryTransport(there), deadline=5)
    bare = Host(name="n0", address="n0", vars=(("python", "none"),))
    ahead.begin([bare])
    assert await ahead.take(bare) is None


async def test_a_call_that_has_failed_is_no_news_to_who_comes_later() -> None:
    ahead = Ahead(MemoryTransport(machines(listening=False)), deadline=5)
    ahead.begin(HOSTS[:1])
    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
    assert await ahead.take(HOSTS[0]) is None
    await ahead.close(deadline=5)


async def test_a_call_that_fails_while_it_is_waited_for_is_not_made_again() -> None:
    ahead = Ahead(MemoryTransport(machines(silent=True)), deadline=0.05)
    ahead.begin(HOSTS[:1])
    with pytest.raises(Unreachable):
        await ahead.take(HOSTS[0])


async def test_a_line_that_nobody_comes_for_is_let_go_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead_module, "IDLE", 0.01)
    there = machines()
    ahead = Ahead(MemoryTransport(there), deadline=5)
    ahead.begin(HOSTS[:1])
    await until(lambda: there[0].commands and not there[0].lines)
    assert await ahead.take(HOSTS[0]) is None
