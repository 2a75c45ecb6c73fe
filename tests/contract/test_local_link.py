"""The runner over this machine's own processes keeps what every Link keeps: no SSH is needed for any of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from hostler.links.runner import RunnerLink
from hostler.model.hosts import Host
from hostler.ports import Link
from hostler.transports.local import LocalConnection, LocalTransport
from tests.contract.link_suite import LinkContract, opened, wait_until
from tests.contract.test_links import Sshd


class Here(Sshd):
    """This machine with a run of its own on it."""

    def cut(self, link: Link) -> None:
        assert isinstance(link, RunnerLink) and isinstance(link._connection, LocalConnection)
        self.cutting = asyncio.ensure_future(link._connection.close())


class TestLocalRunner(LinkContract):
    """The runner, on this machine without SSH."""

    @pytest.fixture
    async def far(self, tmp_path: Path) -> AsyncIterator[Here]:
        host = Host(name="here", address="localhost")
        far = Here(host, tmp_path, LocalTransport())  # type: ignore[arg-type]
        far.host = replace(host, vars=(("spool", str(tmp_path / "base")),))
        yield far
        if far.processes():
            await opened(last := far.link(epoch=99))
            await last.close(forget=True, deadline=20)
        await wait_until(far.deserted, "the test's host deserted")
