"""Every Link passes the same suite: over the runner on a real OpenSSH host, and in memory."""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from hostler.clock import SystemClock
from hostler.links.attempt import AttemptLink
from hostler.links.brief import Brief
from hostler.links.memory import MemoryLink
from hostler.links.memory_host import Act, MemoryHost
from hostler.links.oneshot import OneShotLink
from hostler.links.oneshot_entry import Entry
from hostler.links.runner import RunnerLink
from hostler.model.hosts import Host
from hostler.model.jobs import Ending
from hostler.model.reports import Began, Down, Lost, Output, Refused, Result, Standing
from hostler.ports import Link
from hostler.transports.asyncssh import AsyncsshTransport
from tests.contract.link_suite import SOON, Far, LinkContract, opened, wait_until
from tests.lab import Lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Hosts for the tests of this file."""
    with Lab() as made:
        yield made


class Sshd:
    """A real host with a run of its own on it. Its jobs write down in a file there when they begin and end."""

    by: type[RunnerLink] | type[AttemptLink] = RunnerLink

    def __init__(self, host: Host, folder: Path, transport: AsyncsshTransport) -> None:
        self.uid, self.token = secrets.token_hex(16), secrets.token_hex(8)
        self.folder, self.transport = folder, transport
        self.host = replace(host, vars=(("spool", str(folder / "base")),))
        self.effects = folder / "effects"
        self.effects.touch()

    def link(
        self, *, epoch: int = 1, slots: int | None = 2, lease: float = 60.0, grace: float = 0.3
    ) -> RunnerLink | AttemptLink | OneShotLink:
        brief = Brief(
            uid=self.uid, run=7, token=self.token, epoch=epoch, slots=slots, lease=lease, grace=grace
        )
        return self.by(self.host, brief=brief, transport=self.transport, clock=SystemClock())

    def act(self, act: Act) -> tuple[bytes, ...]:
        log = f">>{shlex.quote(str(self.effects))}; "
        lines = [f'echo "+ $HOSTLER_ATTEMPT" {log}']
        if act.deaf:
            lines.append("trap '' TERM; ")
        for data, to in ((act.out, ""), (act.err, " >&2")):
            if data:
                name = self.folder / f"data-{secrets.token_hex(4)}"
                name.write_bytes(data)
                lines.append(f"cat {shlex.quote(str(name))}{to}; ")
        if act.seconds and act.deaf:  # one long sleep would obey the TERM that its parent ignores
            lines.append(f"i=0; while [ $i -lt {int(act.seconds * 20)} ]; do sleep 0.05; i=$((i+1)); done; ")
        elif act.seconds:
            lines.append(f"sleep {act.seconds}; ")
        lines.append(f'echo "- $HOSTLER_ATTEMPT" {log}')
        lines.append(f"kill -{act.signal} $$; sleep 60" if act.signal else f"exit {act.code}")
        return (b"/bin/sh", b"-c", "".join(lines).encode())

    def cut(self, link: Link) -> None:
        assert isinstance(link, RunnerLink | AttemptLink)
        link._connection._conn.abort()  # type: ignore[union-attr]

    def log(self) -> list[tuple[str, str]]:
        pairs = [line.split(" ") for line in self.effects.read_text().splitlines()]
        return [(sign, name) for sign, name in pairs]

    def processes(self) -> list[int]:
        """Runners, relays and jobs of this run, by what stands in their environment or where they have files open."""
        found = []
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    environ = Path(f"/proc/{name}/environ").read_bytes()
                    files = [os.readlink(f"/proc/{name}/fd/{fd}") for fd in os.listdir(f"/proc/{name}/fd")]
                except OSError:
                    continue
                ours = any(str(self.folder) in file for file in files)
                if f"HOSTLER_ATTEMPT={self.uid}".encode() in environ or ours:
                    found.append(int(name))
        return found

    def deserted(self) -> bool:
        base = self.folder / "base" / "hostler"
        return not self.processes() and not (base.exists() and list(base.iterdir()))


@pytest.fixture
async def transport(tmp_path: Path) -> AsyncIterator[AsyncsshTransport]:
    """Lines to hosts."""
    made = AsyncsshTransport(state=tmp_path, strict=None, ssh_config=(), say=print)
    yield made
    await made.close()


class TestRunner(LinkContract):
    """The runner, on a real OpenSSH host."""

    @pytest.fixture
    async def far(self, lab: Lab, tmp_path: Path, transport: AsyncsshTransport) -> AsyncIterator[Sshd]:
        far = Sshd(lab.shared(1)[0], tmp_path, transport)
        yield far
        if far.processes():
            await opened(last := far.link(epoch=99))
            await last.close(forget=True, deadline=20)
        await wait_until(far.deserted, "the test's host deserted")


class Shell(Sshd):
    """The same, without Python."""

    by = AttemptLink


class TestAttempts(LinkContract):
    """attempt.sh, on a real OpenSSH host."""

    @pytest.fixture
    async def far(self, lab: Lab, tmp_path: Path, transport: AsyncsshTransport) -> AsyncIterator[Sshd]:
        far = Shell(lab.shared(1)[0], tmp_path, transport)
        yield far
        if not far.deserted():
            await opened(last := far.link(epoch=99))
            await last.close(forget=True, deadline=20)
        await wait_until(far.deserted, "the test's host deserted")


class Once(Sshd):
    """The same, each command on the line that it ends with. It has one slot, and nothing is ever asked after."""

    def link(
        self, *, epoch: int = 1, slots: int | None = 2, lease: float = 60.0, grace: float = 0.3
    ) -> OneShotLink:
        brief = Brief(
            uid=self.uid, run=7, token=self.token, epoch=epoch, slots=slots, lease=lease, grace=grace
        )
        return OneShotLink(
            Entry(self.host, transport=self.transport), brief=brief, clock=SystemClock(),
            names=lambda serial: (serial + 100, 1), other=lambda: pytest.fail("the host can't do it"),
        )  # fmt: skip

    def cut(self, link: Link) -> None:
        assert isinstance(link, OneShotLink)
        link._line._conn.abort()  # type: ignore[union-attr]

    def deserted(self) -> bool:
        return not self.processes()


#: What of the suite holds for a link with one slot that nobody can go on with.
APPLIES = {
    "test_every_exit_code_and_signal_is_told_as_it_is",
    "test_the_beginning_of_a_job_that_takes_its_time_is_told",
    "test_a_serial_that_is_sent_twice_starts_once",
    "test_what_waits_can_be_taken_back_and_then_never_starts",
    "test_what_runs_can_not_be_taken_back_and_says_that_it_began",
    "test_what_was_never_seen_can_be_taken_back_and_then_never_starts",
    "test_a_killed_job_frees_its_slot_for_the_next",
    "test_output_beyond_a_few_kibibytes_comes_before_its_result",
    "test_output_comes_while_its_job_runs",
}


class TestOneShot(LinkContract):
    """One command on one line, on a real OpenSSH host."""

    @pytest.fixture
    async def far(self, lab: Lab, tmp_path: Path, transport: AsyncsshTransport) -> AsyncIterator[Once]:
        far = Once(lab.shared(1)[0], tmp_path, transport)
        yield far
        await wait_until(far.deserted, "the test's host deserted")

    async def test_a_job_beyond_its_time_ends_as_timed_out(self, far: Far) -> None:
        _, ear = await opened(link := far.link(grace=0.2))
        acts = [(Act(seconds=60), 0.3), (Act(seconds=60, deaf=True), 0.3), (Act(out=b"in time"), 30.0)]
        link.start([self.start(far, act, timeout=timeout) for act, timeout in acts])
        results = await ear.results([1, 2, 3])
        ends = [(result.ending, result.signal) for result in results.values()]
        assert ends == [(Ending.TIMEOUT, 15), (Ending.TIMEOUT, 9), (Ending.OK, None)]
        assert results[3].out == b"in time"
        await link.close(forget=True, deadline=SOON)

    async def test_no_more_output_comes_than_was_allowed_and_kills_go_on(self, far: Far) -> None:
        _, ear = await opened(link := far.link(), generous=False)
        big = b"x" * (12 << 20)
        link.start([self.start(far, Act(out=big, seconds=60))])
        await ear.until(
            lambda: sum(len(o.data) for o in ear.of(Output)) >= 1 << 20, "the first credit's worth"
        )
        link.kill([1], grace=0.3, ending=Ending.CANCELLED)
        await wait_until(lambda: far.deserted(), "nothing of it left, though nobody reads")
        here = sum(len(output.data) for output in ear.of(Output))
        assert here < 8 << 20 and not ear.of(Result)
        ear.generous = True
        link.credit(here)
        result = await ear.one(Result, 1)
        assert result.ending is Ending.CANCELLED and big.startswith(ear.stream(1, 1))
        await link.close(forget=True, deadline=SOON)

    async def test_a_line_that_breaks_ends_the_job_and_says_so(self, far: Far) -> None:
        _, ear = await opened(link := far.link())
        link.start([self.start(far, Act(seconds=60, deaf=True))])
        await ear.one(Began, 1)
        far.cut(link)
        await ear.one(Down)
        assert len(ear.of(Result)) + len(ear.of(Lost)) == 1
        assert all(result.ending is Ending.INTERRUPTED for result in ear.of(Result))
        await wait_until(far.deserted, "nothing of it left")
        await link.close(forget=True, deadline=SOON)

    async def test_what_is_asked_after_is_ended_and_lost(self, far: Far) -> None:
        _, ear = await opened(link := far.link())
        link.start([self.start(far, Act(seconds=60, deaf=True))])
        await ear.one(Began, 1)
        hello, _ = await opened(again := far.link(), [1])
        assert hello.standings == {1: Standing.LOST} and hello.spool.startswith("once")
        await wait_until(far.deserted, "nothing of it left")
        assert (await ear.one(Result, 1)).signal in (9, 15)
        for each in (link, again):
            await each.close(forget=True, deadline=SOON)


for test in [name for name in vars(LinkContract) if name.startswith("test_")]:
    if test not in APPLIES and test not in vars(TestOneShot):
        setattr(TestOneShot, test, None)


class Memory:
    """A host in memory."""

    def __init__(self) -> None:
        self.uid = secrets.token_hex(16)
        self.acts: list[Act] = []
        self.memory = MemoryHost(clock=SystemClock(), script=lambda start: self.acts[int(start.words[1])])
        self.host = Host(name="memory", address="memory")

    def link(
        self, *, epoch: int = 1, slots: int | None = 2, lease: float = 60.0, grace: float = 0.3
    ) -> MemoryLink:
        brief = Brief(uid=self.uid, run=1, token="0" * 16, epoch=epoch, slots=slots, lease=lease, grace=grace)
        return MemoryLink(self.host, brief=brief, memory=self.memory)

    def act(self, act: Act) -> tuple[bytes, ...]:
        self.acts.append(act)
        return (b"act", b"%d" % (len(self.acts) - 1))

    def cut(self, link: Link) -> None:
        self.memory.cut()

    def log(self) -> list[tuple[str, str]]:
        return self.memory.log

    def deserted(self) -> bool:
        return not (self.memory.running or self.memory.waiting or self.memory.ended)


class TestMemory(LinkContract):
    """The fake that is shipped to users."""

    @pytest.fixture
    async def far(self) -> AsyncIterator[Memory]:
        far = Memory()
        yield far
        await far.memory.end()

    async def test_a_host_can_refuse_a_job_and_fail_to_kill_another(self, far: Far) -> None:
        _, ear = await opened(link := far.link())
        link.start(
            [self.start(far, Act(refused="its disk is full")), self.start(far, Act(seconds=9, immortal=True))]
        )
        assert (await ear.one(Refused, 1)).why == "its disk is full"
        link.kill([2], grace=0.01, ending=Ending.CANCELLED)
        result = await ear.one(Result, 2)
        assert result.ending is Ending.KILL_FAILED and "pid" in result.detail
        await link.close(forget=True, deadline=1)

    async def test_a_wiped_host_is_another_spool_that_knows_nothing(self, far: Memory) -> None:
        before, ear = await opened(link := far.link())
        link.start([self.start(far, Act(seconds=9))])
        far.memory.wipe()
        await ear.one(Down)
        after, _ = await opened(again := far.link(), [1])
        assert after.spool != before.spool and after.standings == {1: Standing.UNKNOWN}
        await again.close(forget=True, deadline=1)


def test_the_suite_covers_every_call_of_the_port() -> None:
    text = Path(__file__).with_name("link_suite.py").read_text()
    calls = [name for name, value in vars(Link).items() if callable(value) and not name.startswith("_")]
    assert set(calls) >= {"open", "start", "kill"}
    assert [name for name in calls if f".{name}(" not in text] == []
