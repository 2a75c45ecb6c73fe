"""What every Link owes, as tests: subclass LinkContract and give it the fixture `far`, one host of its own.

`Far` is how the suite sees that host: it makes links to it, says in words what a job is to do, breaks lines, and
knows from the jobs themselves which of them began and ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol, TypeVar

import pytest

from hostler.errors import HostRefused
from hostler.links.memory_host import Act
from hostler.model.jobs import Ending, Start
from hostler.model.reports import (
    Began,
    Down,
    Hello,
    Lost,
    Output,
    Renewed,
    Report,
    Result,
    Revoked,
    Standing,
)
from hostler.ports import Link

R = TypeVar("R")
SOON = 40.0


class Far(Protocol):
    """One host. `uid` is the run's; links are made, not opened."""

    uid: str

    def link(
        self, *, epoch: int = 1, slots: int | None = 2, lease: float = 60.0, grace: float = 0.3
    ) -> Link: ...

    def act(self, act: Act) -> tuple[bytes, ...]:
        """The words of a job that does this."""
        ...

    def cut(self, link: Link) -> None:
        """Break the link's line as a network does."""
        ...

    def log(self) -> list[tuple[str, str]]:
        """("+" or "-", attempt id) for each job that began and ended, told by the jobs (a killed one has no "-")."""
        ...

    def deserted(self) -> bool:
        """Whether neither a process nor a folder of the run is left."""
        ...


class Ear:
    """Takes in what a link delivers, and gives credit for output unless told not to."""

    def __init__(self, link: Link | None = None, *, generous: bool = True) -> None:
        self.link, self.generous = link, generous
        self.reports: list[Report] = []
        self.closed = False
        self._more = asyncio.Event()

    def __call__(self, report: Report) -> None:
        assert not self.closed, f"{report} after the link was closed"
        assert not self.of(Down), f"{report} after Down"
        self.reports.append(report)
        self._more.set()
        if isinstance(report, Output) and self.generous and self.link is not None:
            self.link.credit(len(report.data))

    def of(self, kind: type[R], serial: int | None = None) -> list[R]:
        """What came of one kind, about one attempt or all."""
        found = [report for report in self.reports if isinstance(report, kind)]
        return [report for report in found if serial is None or getattr(report, "serial", None) == serial]

    async def until(self, true: Callable[[], object], what: str = "") -> None:
        """Wait for something to be so after a report."""
        try:
            async with asyncio.timeout(SOON):
                while not true():
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            pytest.fail(f"never came: {what}; there is {[r for r in self.reports if type(r) is not Output]}")

    async def one(self, kind: type[R], serial: int | None = None) -> R:
        """Wait for a report of this kind about this attempt; the first."""
        await self.until(lambda: self.of(kind, serial), f"{kind.__name__} of {serial}")
        return self.of(kind, serial)[0]

    async def results(self, serials: Iterable[int]) -> dict[int, Result]:
        """Wait for the results of all these."""
        return {serial: await self.one(Result, serial) for serial in serials}

    def stream(self, serial: int, stream: int) -> bytes:
        """All that came of a stream, as pieces or with the result; fails on a gap or an overlap."""
        whole = b""
        for piece in self.of(Output, serial):
            if piece.stream == stream:
                assert piece.offset == len(whole), f"a piece at {piece.offset} after {len(whole)} bytes"
                whole += piece.data
        for result in self.of(Result, serial):
            data = result.out if stream == 1 else result.err
            if data is not None:
                assert not whole
                whole = data
            assert len(whole) == (result.out_size if stream == 1 else result.err_size)
        return whole


async def wait_until(true: Callable[[], object], what: str = "") -> None:
    """Look again and again until it is so."""
    until = time.monotonic() + SOON
    while not true():
        if time.monotonic() > until:
            pytest.fail(f"never so: {what}")
        await asyncio.sleep(0.02)


async def opened(
    link: Link, ask: Iterable[int] = (), *, ready: bool = True, generous: bool = True, given: int = 1 << 40
) -> tuple[Hello, Ear]:
    """Open a link; what it says, and an ear for what comes."""
    ear = Ear(link, generous=generous)
    hello = await link.open(list(ask), given=given, deliver=ear, deadline=SOON)
    if ready:
        link.ready()
    return hello, ear


async def heeded(link: Link, ear: Ear) -> None:
    """Wait until all that was said has arrived: a line that breaks or closes takes with it what is on its way."""
    serial = 1_000_000 + len(ear.reports)
    link.revoke([serial])
    await ear.one(Revoked, serial)


class LinkContract:
    """The tests."""

    serial = 0

    @pytest.fixture
    def links(self) -> list[Link]:
        """Links that a test has made, for those who come after it to close."""
        return []

    def start(
        self, far: Far, act: Act | None = None, *, serial: int = 0, timeout: float | None = None
    ) -> Start:
        """A start of the next serial, or of this one."""
        self.serial = serial or self.serial + 1
        return Start(self.serial, self.serial + 100, 1, far.act(act or Act()), False, timeout)

    def name(self, far: Far, serial: int) -> str:
        return f"{far.uid}/{serial + 100}/1"

    def begun(self, far: Far, serial: int) -> int:
        """How often the attempt has begun."""
        return far.log().count(("+", self.name(far, serial)))

    # -- jobs and their ends ----------------------------------------------------------------------------------

    async def test_a_job_is_run_and_its_result_comes_with_its_output(self, far: Far) -> None:
        link = far.link()
        hello, ear = await opened(link)
        assert hello.slots == 2 and len(hello.spool) == 32 and hello.standings == {}
        link.start([self.start(far, Act(out=b"hello\n", err=b"\xff\x00\n"))])
        result = await ear.one(Result, 1)
        assert (result.ending, result.code, result.signal) == (Ending.OK, 0, None)
        assert (result.out, result.err) == (b"hello\n", b"\xff\x00\n")
        assert (result.out_size, result.err_size) == (6, 3) and 0 <= result.elapsed < 60
        assert far.log()[0] == ("+", self.name(far, 1))
        await link.close(forget=True, deadline=SOON)

    async def test_a_host_that_holds_more_than_our_store_knows_of_refuses_us_and_serves_on(
        self, far: Far
    ) -> None:
        link = far.link()
        _, ear = await opened(link)
        link.start([self.start(far), self.start(far, Act(seconds=60))])
        await ear.results([1])
        with pytest.raises(HostRefused, match="the store is an older copy"):
            await opened(far.link(epoch=2), [1], given=1)
        link.start([self.start(far, Act(out=b"on"))])
        assert (await ear.one(Result, 3)).out == b"on" and self.begun(far, 2) == 1
        await link.close(forget=True, deadline=SOON)

    async def test_every_exit_code_and_signal_is_told_as_it_is(self, far: Far) -> None:
        link = far.link(slots=4)
        _, ear = await opened(link)
        acts = [Act(code=1), Act(code=126), Act(code=255), Act(signal=9), Act(signal=15), Act(signal=11)]
        link.start([self.start(far, act) for act in acts])
        results = await ear.results(range(1, 7))
        ends = [(result.ending, result.code, result.signal) for result in results.values()]
        assert ends == [
            (Ending.EXIT, 1, None), (Ending.EXIT, 126, None), (Ending.EXIT, 255, None),
            (Ending.SIGNAL, None, 9), (Ending.SIGNAL, None, 15), (Ending.SIGNAL, None, 11),
        ]  # fmt: skip
        await link.close(forget=True, deadline=SOON)

    async def test_a_result_waits_for_no_other_job(self, far: Far) -> None:
        link = far.link(slots=2)
        _, ear = await opened(link)
        link.start([self.start(far, Act(seconds=60)), *(self.start(far, Act(code=i)) for i in range(5))])
        await ear.results(range(2, 7))
        assert [ear.of(Result, serial)[0].code for serial in range(2, 7)] == [0, 1, 2, 3, 4]
        assert not ear.of(Result, 1)
        await link.close(forget=True, deadline=SOON)

    async def test_no_more_jobs_run_at_once_than_there_are_slots(self, far: Far) -> None:
        link = far.link(slots=3)
        _, ear = await opened(link)
        link.start([self.start(far, Act(seconds=0.05)) for _ in range(20)])
        await ear.results(range(1, 21))
        now = peak = 0
        for sign, _ in far.log():
            now += 1 if sign == "+" else -1
            peak = max(peak, now)
        assert peak == 3 and now == 0
        await link.close(forget=True, deadline=SOON)

    async def test_slots_that_change_hold_at_once_and_end_nothing(self, far: Far) -> None:
        link = far.link(slots=1)
        _, ear = await opened(link)
        link.start([self.start(far, Act(seconds=60)) for _ in range(4)])
        await ear.one(Began, 1)
        assert not ear.of(Began, 2)
        link.resize(3)
        await ear.one(Began, 3)
        assert not ear.of(Began, 4) and not ear.of(Result)
        link.resize(1)
        link.kill([1, 2], grace=0.1, ending=Ending.CANCELLED)
        assert {each.ending for each in (await ear.results([1, 2])).values()} == {Ending.CANCELLED}
        assert not ear.of(Began, 4)  # the third fills the one slot that there is
        link.kill([3], grace=0.1, ending=Ending.CANCELLED)
        await ear.one(Began, 4)
        await link.close(forget=True, deadline=SOON)

    async def test_a_job_beyond_its_time_ends_as_timed_out(self, far: Far) -> None:
        link = far.link(grace=0.2)
        _, ear = await opened(link)
        link.start([self.start(far, Act(seconds=60), timeout=0.3)])
        link.start([self.start(far, Act(seconds=60, deaf=True), timeout=0.3)])
        link.start([self.start(far, Act(out=b"in time"), timeout=30.0)])
        results = await ear.results([1, 2, 3])
        assert (results[1].ending, results[1].signal) == (Ending.TIMEOUT, 15)
        assert (results[2].ending, results[2].signal) == (Ending.TIMEOUT, 9)
        assert results[2].elapsed >= 0.5 and results[3].ending is Ending.OK
        await link.close(forget=True, deadline=SOON)

    async def test_the_beginning_of_a_job_that_takes_its_time_is_told(self, far: Far) -> None:
        link = far.link()
        _, ear = await opened(link)
        link.start([self.start(far, Act(seconds=60))])
        assert 0 <= (await ear.one(Began, 1)).ago < SOON
        assert not ear.of(Result)
        await link.close(forget=True, deadline=SOON)

    async def test_who_comes_after_a_jobs_end_is_told_when_it_began(self, far: Far) -> None:
        link = far.link()
        _, ear = await opened(link)
        link.start([self.start(far, Act(seconds=0.3))])
        await ear.one(Began, 1)
        await link.close(forget=False, deadline=SOON)
        await asyncio.sleep(2.0)  # nobody listens: that is what this is about
        link = far.link(epoch=2)
        _, ear = await opened(link, ask=[1])
        link.follow(1, out=0, err=0)
        link.ready()
        assert (await ear.one(Result, 1)).elapsed < 1.5
        assert ear.of(Began, 1)[0].ago >= 1.9
        await link.close(forget=True, deadline=SOON)

    # -- the fence --------------------------------------------------------------------------------------------

    async def test_a_serial_that_is_sent_twice_starts_once(self, far: Far) -> None:
        link = far.link()
        _, ear = await opened(link)
        starts = [self.start(far), self.start(far, Act(seconds=0.3)), self.start(far), self.start(far)]
        link.start(starts)
        link.start(starts)
        await ear.results(range(1, 5))
        link.start(starts)
        link.start([self.start(far)])
        await ear.one(Result, 5)
        assert [self.begun(far, serial) for serial in range(1, 6)] == [1, 1, 1, 1, 1]
        assert len(ear.of(Result)) == 5
        await link.close(forget=True, deadline=SOON)

    async def test_what_was_acknowledged_is_never_run_again(self, far: Far) -> None:
        link = far.link()
        _, ear = await opened(link)
        start = self.start(far)
        link.start([start])
        await ear.one(Result, 1)
        link.ack([1])
        link.start([start])
        lost = await ear.one(Lost, 1)
        assert "forgotten" in lost.why and self.begun(far, 1) == 1
        await link.close(forget=True, deadline=SOON)

    async def test_what_waits_can_be_taken_back_and_then_never_starts(self, far: Far) -> None:
        link = far.link(slots=1)
        _, ear = await opened(link)
        first, second, third = self.start(far, Act(seconds=60)), self.start(far), self.start(far)
        link.start([first, second, third])
        await ear.one(Began, 1)
        link.revoke([2])
        await ear.one(Revoked, 2)
        link.start([second])
        link.kill([1], grace=1.0, ending=Ending.CANCELLED)
        await ear.results([1, 3])
        await ear.until(lambda: len(ear.of(Revoked, 2)) == 2, "the same answer again")
        assert self.begun(far, 2) == 0 and not ear.of(Result, 2)
        await link.close(forget=True, deadline=SOON)

    async def test_what_runs_can_not_be_taken_back_and_says_that_it_began(self, far: Far) -> None:
        link = far.link()
        _, ear = await opened(link)
        link.start([self.start(far, Act(seconds=60))])
        await ear.one(Began, 1)
        link.revoke([1])
        await ear.until(lambda: len(ear.of(Began, 1)) == 2, "Began as the answer")
        link.kill([1], grace=1.0, ending=Ending.CANCELLED)
        assert (await ear.one(Result, 1)).ending is Ending.CANCELLED and not ear.of(Revoked)
        await link.close(forget=True, deadline=SOON)

    async def test_what_was_never_seen_can_be_taken_back_and_then_never_starts(self, far: Far) -> None:
        link = far.link()
        _, ear = await opened(link)
        link.revoke([3])
        await ear.one(Revoked, 3)
        link.start([self.start(far, serial=serial) for serial in (1, 2, 3, 4)])
        await ear.results([1, 2, 4])
        await ear.until(lambda: len(ear.of(Revoked, 3)) == 2, "the same answer again")
        assert self.begun(far, 3) == 0
        await link.close(forget=True, deadline=SOON)

    # -- kills ------------------------------------------------------------------------------------------------

    async def test_a_kill_ends_what_runs_with_the_ending_asked_for(self, far: Far) -> None:
        link = far.link(slots=3)
        _, ear = await opened(link)
        link.start([
            self.start(far, Act(seconds=60, out=b"so far")), self.start(far, Act(seconds=60, deaf=True)),
            self.start(far, Act(seconds=0.8)),
        ])  # fmt: skip
        await wait_until(lambda: len(far.log()) == 3)
        link.kill([1, 2, 77], grace=0.3, ending=Ending.CANCELLED)
        results = await ear.results([1, 2, 3])
        assert [results[serial].ending for serial in (1, 2)] == [Ending.CANCELLED, Ending.CANCELLED]
        assert (results[1].signal, results[2].signal) == (15, 9)
        assert ear.stream(1, 1) == b"so far" and results[3].ending is Ending.OK
        await link.close(forget=True, deadline=SOON)

    async def test_a_killed_job_frees_its_slot_for_the_next(self, far: Far) -> None:
        link = far.link(slots=1)
        _, ear = await opened(link)
        link.start([self.start(far, Act(seconds=60)), self.start(far, Act(out=b"next"))])
        await ear.one(Began, 1)
        link.kill([1], grace=1.0, ending=Ending.INTERRUPTED)
        assert (await ear.one(Result, 2)).out == b"next"
        assert (await ear.one(Result, 1)).ending is Ending.INTERRUPTED
        await link.close(forget=True, deadline=SOON)

    # -- output -----------------------------------------------------------------------------------------------

    async def test_output_beyond_a_few_kibibytes_comes_before_its_result(self, far: Far) -> None:
        link = far.link()
        _, ear = await opened(link)
        out, err = bytes(range(256)) * 1500, b"e" * 70_000
        link.start([self.start(far, Act(out=out, err=err))])
        result = await ear.one(Result, 1)
        assert (result.out, result.err) == (None, None)
        assert ear.stream(1, 1) == out and ear.stream(1, 2) == err
        await link.close(forget=True, deadline=SOON)

    async def test_output_comes_while_its_job_runs(self, far: Far) -> None:
        link = far.link()
        _, ear = await opened(link)
        link.start([self.start(far, Act(out=b"early\n", err=b"too\n", seconds=60))])
        await ear.until(lambda: ear.stream(1, 1) == b"early\n" and ear.stream(1, 2) == b"too\n", "output")
        assert not ear.of(Result)
        link.kill([1], grace=1.0, ending=Ending.CANCELLED)
        assert (await ear.one(Result, 1)).out is None
        assert ear.stream(1, 1) == b"early\n" and ear.stream(1, 2) == b"too\n"
        await link.close(forget=True, deadline=SOON)

    async def test_no_more_output_comes_than_was_allowed_and_kills_go_on(self, far: Far) -> None:
        link = far.link(slots=3)
        _, ear = await opened(link, generous=False)
        big = b"x" * (3 << 20)
        link.start([self.start(far, Act(out=big, seconds=60)), self.start(far, Act(seconds=60))])
        link.start([self.start(far, Act(out=b"small"))])
        await ear.until(
            lambda: sum(len(o.data) for o in ear.of(Output)) >= 1 << 20, "the first credit's worth"
        )
        link.kill([1, 2], grace=0.3, ending=Ending.CANCELLED)
        assert (await ear.one(Result, 2)).ending is Ending.CANCELLED
        assert (await ear.one(Result, 3)).out == b"small"
        assert sum(len(output.data) for output in ear.of(Output)) == 1 << 20 and not ear.of(Result, 1)
        ear.generous = True
        link.credit(2 << 20)
        assert (await ear.one(Result, 1)).ending is Ending.CANCELLED
        assert ear.stream(1, 1) == big
        await link.close(forget=True, deadline=SOON)

    async def test_one_noisy_job_does_not_silence_the_others(self, far: Far) -> None:
        link = far.link(slots=3)
        _, ear = await opened(link, ready=False, generous=False)
        link.start([self.start(far, Act(out=b"x" * (3 << 20))), self.start(far, Act(out=b"y" * 100_000))])
        link.start([self.start(far, Act(out=b"z" * 9_000))])
        await wait_until(lambda: sum(sign == "-" for sign, _ in far.log()) == 3)
        await asyncio.sleep(0.2)
        link.ready()
        assert (await ear.one(Result, 2)).out_size == len(ear.stream(2, 1)) == 100_000
        assert (await ear.one(Result, 3)).out_size == len(ear.stream(3, 1)) == 9_000
        assert not ear.of(Result, 1)
        await link.close(forget=True, deadline=SOON)

    # -- lines ------------------------------------------------------------------------------------------------

    async def test_a_result_is_told_again_until_it_is_acknowledged(self, far: Far) -> None:
        link = far.link()
        _, ear = await opened(link)
        big = b"b" * 30_000
        link.start(
            [self.start(far, Act(out=b"one")), self.start(far, Act(code=3)), self.start(far, Act(out=big))]
        )
        first = await ear.results([1, 2, 3])
        link.ack([2])
        await heeded(link, ear)
        far.cut(link)
        await ear.one(Down)
        hello, ear = await opened(again := far.link(), [1, 2, 3])
        assert hello.standings == {1: Standing.DONE, 2: Standing.LOST, 3: Standing.DONE}
        assert (await ear.one(Result, 1)) == first[1]
        assert (await ear.one(Result, 3)).elapsed == first[3].elapsed and ear.stream(3, 1) == big
        assert not ear.of(Result, 2) and not ear.of(Lost)
        again.ack([1, 3])
        await heeded(again, ear)
        await again.close(forget=False, deadline=SOON)
        hello, ear = await opened(third := far.link(), [4])
        assert hello.standings == {4: Standing.UNKNOWN}
        third.start([self.start(far)])
        await ear.one(Result, 4)
        assert not ear.of(Result, 1) and not ear.of(Result, 3)
        await third.close(forget=True, deadline=SOON)

    async def test_a_new_line_finds_everything_as_it_stands(self, far: Far) -> None:
        link = far.link(slots=1)
        before, ear = await opened(link)
        link.start([self.start(far, Act(out=b"done")), self.start(far, Act(seconds=60)), self.start(far)])
        await ear.one(Result, 1)
        await wait_until(lambda: self.begun(far, 2))
        far.cut(link)
        await ear.one(Down)
        hello, ear = await opened(again := far.link(slots=1), [1, 2, 3, 4])
        assert (hello.spool, hello.boot) == (before.spool, before.boot)
        assert hello.standings == {
            1: Standing.DONE, 2: Standing.RUNNING, 3: Standing.WAITING, 4: Standing.UNKNOWN,
        }  # fmt: skip
        again.kill([2], grace=1.0, ending=Ending.CANCELLED)
        await ear.results([1, 2, 3])
        assert [self.begun(far, serial) for serial in (1, 2, 3)] == [1, 1, 1]
        await again.close(forget=True, deadline=SOON)

    async def test_output_goes_on_behind_what_is_on_our_disk(self, far: Far) -> None:
        link = far.link()
        _, ear = await opened(link)
        link.start([self.start(far, Act(out=b"0123456789", err=b"abcdef", seconds=60))])
        link.start([self.start(far, Act(out=b"A" * 9000, err=b"short"))])
        await ear.one(Result, 2)
        await ear.until(lambda: ear.stream(1, 1) + ear.stream(1, 2) == b"0123456789abcdef", "output")
        far.cut(link)
        await ear.one(Down)
        _, ear = await opened(again := far.link(), [1, 2], ready=False)
        again.follow(1, out=4, err=6)
        again.follow(2, out=0, err=5)
        again.ready()
        await ear.one(Output, 1)
        again.kill([1], grace=1.0, ending=Ending.CANCELLED)
        results = await ear.results([1, 2])
        assert b"".join(o.data for o in ear.of(Output, 1) if o.stream == 1) == b"456789"
        assert next(o.offset for o in ear.of(Output, 1) if o.stream == 1) == 4
        assert not [o for o in ear.of(Output) if o.stream == 2]
        assert (results[1].out_size, results[1].err_size, results[1].out) == (10, 6, None)
        assert sum(len(o.data) for o in ear.of(Output, 2)) == 9000 and results[2].err_size == 5
        await again.close(forget=True, deadline=SOON)

    async def test_nothing_comes_of_an_attempt_before_its_follow_was_said(self, far: Far) -> None:
        link = far.link()
        _, ear = await opened(link)
        link.start([self.start(far, Act(out=b"0123456789", seconds=60))])
        await ear.one(Output, 1)
        far.cut(link)
        await ear.one(Down)
        _, ear = await opened(again := far.link(), [1], ready=False)
        again.kill([1], grace=1.0, ending=Ending.CANCELLED)
        await asyncio.sleep(0.5)
        assert not ear.of(Output) and not ear.of(Result)
        again.follow(1, out=10, err=0)
        again.ready()
        result = await ear.one(Result, 1)
        assert (result.out, result.out_size) == (None, 10) and not ear.of(Output)
        await again.close(forget=True, deadline=SOON)

    async def test_a_newer_controller_takes_over_and_the_older_is_told(self, far: Far) -> None:
        link = far.link(epoch=1)
        _, ear = await opened(link)
        link.start([self.start(far, Act(seconds=60))])
        await wait_until(lambda: self.begun(far, 1))
        hello, newer = await opened(second := far.link(epoch=2), [1])
        down = await ear.one(Down)
        assert down.fatal and "newer controller" in down.why
        assert hello.standings == {1: Standing.RUNNING}
        with pytest.raises(HostRefused, match="newer controller"):
            await opened(far.link(epoch=1), [1])
        link.start([self.start(far, serial=9)])
        second.kill([1], grace=1.0, ending=Ending.CANCELLED)
        assert (await newer.one(Result, 1)).ending is Ending.CANCELLED and not newer.of(Down)
        assert self.begun(far, 9) == 0
        await link.close(forget=False, deadline=SOON)
        await second.close(forget=True, deadline=SOON)

    async def test_another_line_of_the_same_controller_takes_over_too(self, far: Far) -> None:
        link = far.link()
        _, ear = await opened(link)
        _, other = await opened(second := far.link())
        assert not (await ear.one(Down)).fatal
        second.start([self.start(far)])
        await other.one(Result, 1)
        await link.close(forget=False, deadline=SOON)
        await second.close(forget=True, deadline=SOON)

    async def test_nothing_is_delivered_once_a_link_is_closed(self, far: Far) -> None:
        link = far.link()
        _, ear = await opened(link)
        link.start([self.start(far, Act(seconds=1.0))])
        await wait_until(lambda: self.begun(far, 1))
        await link.close(forget=False, deadline=SOON)
        ear.closed = True
        await wait_until(lambda: ("-", self.name(far, 1)) in far.log())
        await asyncio.sleep(0.1)
        assert not ear.of(Down)
        for call in (lambda: link.start([self.start(far)]), lambda: link.revoke([1]), lambda: link.credit(1)):
            call()
        await link.close(forget=False, deadline=SOON)
        with suppress(HostRefused):
            await opened(last := far.link())
            await last.close(forget=True, deadline=SOON)

    async def test_the_lease_is_acknowledged_with_its_round_trip(self, far: Far) -> None:
        link = far.link(lease=6.0)
        _, ear = await opened(link)
        await ear.until(lambda: len(ear.of(Renewed)) >= 2, "renewals")
        assert all(0 <= renewed.rtt < SOON for renewed in ear.of(Renewed))
        assert not ear.of(Down)
        await link.close(forget=True, deadline=SOON)

    # -- the end ----------------------------------------------------------------------------------------------

    async def test_a_host_that_is_to_forget_is_left_deserted(self, far: Far) -> None:
        link = far.link(slots=2)
        _, ear = await opened(link)
        link.start([self.start(far, Act(out=b"unacknowledged")), self.start(far, Act(seconds=60))])
        link.start([self.start(far, Act(seconds=60, deaf=True)), self.start(far)])
        await ear.one(Result, 1)
        await wait_until(lambda: self.begun(far, 3))
        await link.close(forget=True, deadline=SOON)
        await wait_until(far.deserted)
        assert self.begun(far, 4) == 0
        hello, _ = await opened(again := far.link(), [1, 2, 3, 4])
        assert set(hello.standings.values()) == {Standing.UNKNOWN}
        await again.close(forget=True, deadline=SOON)
        await wait_until(far.deserted)

    async def test_a_host_that_is_left_goes_on_within_its_lease(self, far: Far) -> None:
        link = far.link(lease=30.0)
        await opened(link)
        link.start([self.start(far, Act(seconds=0.5, out=b"later")), self.start(far), self.start(far)])
        await wait_until(lambda: self.begun(far, 3))
        await link.close(forget=False, deadline=SOON)
        await wait_until(lambda: ("-", self.name(far, 3)) in far.log())
        hello, ear = await opened(again := far.link(), [1, 2, 3])
        assert set(hello.standings.values()) <= {Standing.DONE, Standing.RUNNING}
        await ear.results([1, 2, 3])
        assert ear.stream(1, 1) == b"later"
        await again.close(forget=True, deadline=SOON)

    async def test_when_the_lease_ends_all_is_ended_and_results_are_kept(self, far: Far) -> None:
        link = far.link(slots=2)
        _, ear = await opened(link)
        link.start([self.start(far, Act(out=b"kept"))])
        await ear.one(Result, 1)
        link.start(
            [self.start(far, Act(seconds=60, out=b"part")), self.start(far, Act(seconds=60, deaf=True))]
        )
        waiting = self.start(far)
        link.start([waiting])
        await ear.one(Output, 2)
        await wait_until(lambda: self.begun(far, 3))
        await link.close(forget=False, deadline=SOON)
        await opened(short := far.link(slots=2, lease=0.4, grace=0.2))
        await short.close(forget=False, deadline=SOON)
        hello: Hello | None = None
        until = time.monotonic() + SOON
        while hello is None or Standing.RUNNING in hello.standings.values():
            assert time.monotonic() < until
            await asyncio.sleep(1.0)
            hello, ear = await opened(
                again := far.link(slots=2, lease=0.4, grace=0.2), [1, 2, 3, 4], ready=False
            )
            await again.close(forget=False, deadline=SOON)
        hello, ear = await opened(last := far.link(slots=2), [1, 2, 3, 4])
        assert hello.standings == {
            1: Standing.DONE, 2: Standing.DONE, 3: Standing.DONE, 4: Standing.UNKNOWN,
        }  # fmt: skip
        results = await ear.results([1, 2, 3])
        assert results[1].out == b"kept"
        assert [results[s].ending for s in (2, 3)] == [Ending.INTERRUPTED, Ending.INTERRUPTED]
        assert ear.stream(2, 1) == b"part"
        last.start([waiting])
        assert (await ear.one(Result, 4)).ending is Ending.OK
        assert self.begun(far, 4) == 1
        await last.close(forget=True, deadline=SOON)
