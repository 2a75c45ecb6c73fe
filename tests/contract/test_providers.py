"""Every provider passes the same suite."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hostler.errors import ProviderError
from hostler.model.instances import Instance
from hostler.ports import Provider
from hostler.providers.memory import Memory
from hostler.providers.sandbox import Sandbox
from hostler.providers.sandbox_procs import living
from tests.contract.provider_suite import ProviderContract, launched
from tests.lab import Lab, wait_until


def has_a_banner(instance: Instance) -> bool:
    """Whether an SSH server answers at the instance's address."""
    try:
        with socket.create_connection((instance.host.address, instance.host.port or 22), timeout=5) as line:
            return line.recv(4) == b"SSH-"
    except OSError:
        return False


class TestSandbox(ProviderContract):
    """Real SSH servers on this machine, both kinds."""

    @pytest.fixture(params=["sshd", "asyncssh"])
    def provider(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
        monkeypatch.setenv("HOSTLER_SANDBOX_SERVER", request.param)
        with Lab() as lab:
            yield Sandbox(lab.path)

    @pytest.fixture
    def answers(self) -> Callable[[Instance], bool]:
        return has_a_banner

    async def test_of_one_whose_keeper_was_killed_the_rest_is_ended_before_it_counts_as_ended(
        self, provider: Provider
    ) -> None:
        assert isinstance(provider, Sandbox)
        [made] = await launched(provider, run="r1")
        registry = provider._registry
        [entry] = registry.entries()
        assert entry.record and entry.record.keeper and entry.record.server
        os.kill(entry.record.keeper.pid, signal.SIGKILL)
        wait_until(lambda: not entry.up, what="the keeper's death")
        assert await provider.ended([made.host], deadline=60.0) == {made.host.instance}
        assert living(entry.record.server) is None and registry.entries() == []

    async def test_of_those_written_down_in_another_folder_nothing_is_known(
        self, provider: Provider, tmp_path: Path
    ) -> None:
        [made] = await launched(provider, run="r1")
        await provider.destroy([made], deadline=60.0)
        elsewhere = Sandbox(tmp_path / "sandbox")
        assert await elsewhere.ended([made.host], deadline=60.0) == frozenset()
        await launched(elsewhere, run="r1")
        assert await elsewhere.ended([made.host], deadline=60.0) == frozenset()
        await elsewhere.destroy(await elsewhere.instances(), deadline=60.0)
        assert await provider.ended([made.host], deadline=60.0) == {made.host.instance}


class TestMemory(ProviderContract):
    """The fake that is shipped to users."""

    @pytest.fixture
    def provider(self) -> Provider:
        return Memory()

    @pytest.fixture
    def answers(self, provider: Provider) -> Callable[[Instance], bool]:
        assert isinstance(provider, Memory)
        return lambda instance: provider.has(instance)

    async def test_a_full_provider_launches_none_of_what_it_can_not_launch_all_of(self) -> None:
        small = Memory(capacity=2)
        await launched(small, 1)
        with pytest.raises(ProviderError, match="2 machines are all there are"):
            await launched(small, 2)
        assert len(await small.instances()) == 1


def test_the_provider_port_is_met_by_both(tmp_path) -> None:
    providers: list[Provider] = [Memory(), Sandbox(tmp_path / "none")]
    assert [each.name for each in providers] == ["memory", "sandbox"]
    assert asyncio.run(providers[1].instances()) == ()
