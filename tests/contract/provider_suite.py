"""What every provider owes, as tests: subclass ProviderContract and give it the fixtures `provider` and `answers`."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from hostler.errors import UsageError
from hostler.model.instances import Instance
from hostler.ports import Provider

SOON = 60.0


async def launched(
    provider: Provider,
    count: int = 1,
    *,
    run: str | None = None,
    token: str = "",
    lifetime: float | None = None,
) -> tuple[Instance, ...]:
    """Launch with a token of its own."""
    token = token or secrets.token_hex(8)
    return await provider.launch(count, run=run, token=token, deadline=SOON, lifetime=lifetime)


class ProviderContract:
    """The tests. `answers(instance)` tells whether the machine can be reached at this moment."""

    async def test_launched_machines_are_there_and_each_is_another(
        self, provider: Provider, answers: Callable[[Instance], bool]
    ) -> None:
        made = await launched(provider, 3, run="r1")
        assert len(made) == 3
        assert len({each.id for each in made}) == len({each.host.name for each in made}) == 3
        assert len({each.host.endpoint for each in made}) == 3
        assert all(answers(each) for each in made)
        assert {each.id for each in await provider.instances()} == {each.id for each in made}

    async def test_a_machine_is_labelled_with_provider_run_token_and_times(self, provider: Provider) -> None:
        before = time.time()
        [made] = await launched(provider, run="r1", token="token1", lifetime=500.0)
        assert (made.provider, made.run, made.token) == (provider.name, "r1", "token1")
        assert before - 1 <= made.started <= time.time() + 1
        assert made.expires == pytest.approx(made.started + 500.0)
        assert await provider.instances() == (made,)

    async def test_the_same_token_again_gives_the_same_machines(self, provider: Provider) -> None:
        first = await launched(provider, 2, run="r1", token="again")
        second = await launched(provider, 2, run="r1", token="again")
        assert [each.id for each in second] == [each.id for each in first]
        assert len(await provider.instances()) == 2

    async def test_a_launch_that_stopped_half_way_is_completed_by_its_token(self, provider: Provider) -> None:
        half = await launched(provider, 1, run="r1", token="half")
        whole = await launched(provider, 3, run="r1", token="half")
        assert {each.id for each in half} < {each.id for each in whole}
        assert len(await provider.instances(run="r1")) == len(whole) == 3

    async def test_another_token_gives_other_machines(self, provider: Provider) -> None:
        one, two = await asyncio.gather(launched(provider, 2, run="r1"), launched(provider, 2, run="r1"))
        assert not {each.id for each in one} & {each.id for each in two}
        assert not {each.host.endpoint for each in one} & {each.host.endpoint for each in two}

    async def test_machines_are_listed_by_run(self, provider: Provider) -> None:
        one = await launched(provider, 2, run="r1")
        [two] = await launched(provider, run="r2")
        [by_hand] = await launched(provider)
        assert {each.id for each in await provider.instances(run="r1")} == {each.id for each in one}
        assert await provider.instances(run="r2") == (two,)
        assert await provider.instances(run="r3") == ()
        assert {each.id for each in await provider.instances()} == {each.id for each in (*one, two, by_hand)}

    async def test_destroyed_machines_are_gone_when_it_returns_and_the_others_stay(
        self, provider: Provider, answers: Callable[[Instance], bool]
    ) -> None:
        one, two, three = await launched(provider, 3, run="r1")
        await provider.destroy([one, three], deadline=SOON)
        assert await provider.instances() == (two,)
        assert [answers(each) for each in (one, two, three)] == [False, True, False]

    async def test_destroying_twice_or_nothing_is_no_error(self, provider: Provider) -> None:
        made = await launched(provider, 2)
        await provider.destroy(made, deadline=SOON)
        await provider.destroy(made, deadline=SOON)
        await provider.destroy([], deadline=SOON)
        assert await provider.instances() == ()

    async def test_an_id_is_never_used_again(self, provider: Provider) -> None:
        first = await launched(provider, 2, token="t")
        await provider.destroy(first, deadline=SOON)
        second = await launched(provider, 2, token="t")
        assert not {each.id for each in first} & {each.id for each in second}

    async def test_adopted_machines_stay_the_runs_and_released_ones_are_nobodys(
        self, provider: Provider, answers: Callable[[Instance], bool]
    ) -> None:
        one, two = await launched(provider, 2, run="r1")
        [other] = await launched(provider, run="r2")
        assert {each.id for each in await provider.adopt(run="r1")} == {one.id, two.id}
        [free] = await provider.release([one])
        assert (free.id, free.run, free.host) == (one.id, None, one.host)
        assert {each.id: each.run for each in await provider.instances()} == {
            one.id: None,
            two.id: "r1",
            other.id: "r2",
        }
        assert await provider.adopt(run="r3") == await provider.release([]) == ()
        assert one.host.name in provider.ending([free])
        assert answers(one) and answers(two)

    async def test_a_runs_machines_are_known_to_have_ended_and_no_others(self, provider: Provider) -> None:
        one, two = (each.host for each in await launched(provider, 2, run="r1"))
        [by_hand] = await launched(provider)
        assert one.instance != two.instance and by_hand.host.instance is None
        assert await provider.ended([one, two, by_hand.host], deadline=SOON) == frozenset()
        there = [each for each in await provider.instances() if each.host != two]
        await provider.destroy(there, deadline=SOON)
        asked = [one, two, by_hand.host, replace(one, instance="other 1"), replace(one, instance=None)]
        assert await provider.ended(asked, deadline=SOON) == {one.instance}
        assert await provider.ended([], deadline=SOON) == frozenset()

    @pytest.mark.parametrize("count", [0, -1])
    async def test_fewer_than_one_machine_is_refused(self, provider: Provider, count: int) -> None:
        with pytest.raises(UsageError, match=str(count)):
            await launched(provider, count)

    async def test_a_machine_goes_by_itself_when_its_fuse_has_burnt_down(
        self, provider: Provider, answers: Callable[[Instance], bool]
    ) -> None:
        [short] = await launched(provider, run="r1", lifetime=1.0)
        [long] = await launched(provider, run="r1", lifetime=1000.0)
        until = time.monotonic() + SOON
        while await provider.instances() != (long,) and time.monotonic() < until:
            await asyncio.sleep(0.05)
        assert await provider.instances() == (long,)
        assert (answers(short), answers(long)) == (False, True)
