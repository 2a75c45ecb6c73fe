"""A short command costs one remote command: started, waited for, told with its output, and nothing left of it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from hostler.clock import SystemClock
from hostler.links.attempt import AttemptLink
from hostler.links.attempt_once import once
from hostler.links.brief import Brief
from hostler.model.jobs import Ending, Start
from hostler.model.reports import Result, Standing
from hostler.ports import Connection
from hostler.transports.asyncssh import AsyncsshTransport
from tests.contract.link_suite import opened
from tests.lab import Lab, wait_until


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A host for the tests of this file."""
    with Lab() as made:
        yield made


@pytest.fixture
async def transport(tmp_path: Path) -> AsyncIterator[AsyncsshTransport]:
    """Lines to it."""
    made = AsyncsshTransport(state=tmp_path, strict=None, ssh_config=(), say=print)
    yield made
    await made.close()


@pytest.fixture
async def connection(lab: Lab, tmp_path: Path, transport: AsyncsshTransport) -> AsyncIterator[Connection]:
    """One line to it, with a spool of the test's own."""
    host = replace(lab.shared(1)[0], vars=(("spool", str(tmp_path / "base")),))
    made = await transport.connect(host, deadline=30)
    yield made
    await made.close()


def new_brief() -> Brief:
    """Those of a run of its own."""
    return Brief(uid=secrets.token_hex(16), run=3, token=secrets.token_hex(8), slots=1, lease=60.0)


async def test_a_short_command_is_told_with_its_output_and_leaves_nothing(
    connection: Connection, tmp_path: Path
) -> None:
    start = Start(1, 1, 1, (b"sh", b"-c", b"echo out; echo $HOSTLER_ATTEMPT >&2; exit 7"))
    brief = new_brief()
    result = await once(connection, start, brief=brief, wait=20)
    assert result is not None and (result.ending, result.code) == (Ending.EXIT, 7)
    assert (result.out, result.err) == (b"out\n", f"{brief.uid}/1/1\n".encode())
    wait_until(lambda: not list((tmp_path / "base" / "hostler").iterdir()), what="an empty base")


async def test_much_output_comes_whole(connection: Connection) -> None:
    start = Start(1, 1, 1, (b"head -c 300000 /dev/zero",), shell=True)
    result = await once(connection, start, brief=new_brief(), wait=20)
    assert result is not None and result.out == bytes(300_000)


async def test_a_longer_one_goes_on_and_is_found_by_a_link(
    connection: Connection, transport: AsyncsshTransport
) -> None:
    brief = new_brief()
    start = Start(1, 1, 1, (b"sh", b"-c", b"sleep 1; echo done"))
    assert await once(connection, start, brief=brief, wait=0.1) is None
    link = AttemptLink(connection.host, brief=brief, transport=transport, clock=SystemClock())
    hello, ear = await opened(link, [1])
    assert hello.standings[1] in (Standing.RUNNING, Standing.WAITING, Standing.DONE)
    assert (await ear.one(Result, 1)).out_size == len(ear.stream(1, 1)) == 5
    await link.close(forget=True, deadline=20)


class NoRenewal(SystemClock):
    """Time in which the moment to renew a lease never comes."""

    async def sleep(self, seconds: float) -> None:
        """Wait; for ever where it is long."""
        await super().sleep(seconds if seconds < 5 else 3600)


async def test_the_first_start_goes_out_at_once_and_not_with_the_next_renewal(
    connection: Connection, transport: AsyncsshTransport
) -> None:
    link = AttemptLink(connection.host, brief=new_brief(), transport=transport, clock=NoRenewal())
    _, ear = await opened(link, [])
    link.ready()
    link.start([Start(1, 1, 1, (b"true",))])
    assert (await ear.one(Result, 1)).ending is Ending.OK
    link.ack([1])
    await link.close(forget=True, deadline=20)
