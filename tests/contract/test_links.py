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
from hostler.links.runner import RunnerLink
from hostler.model.hosts import Host
from hostler.model.jobs import Ending
from hostler.model.reports import Down, Refused, Result, Standing
from hostler.ports import Link
from hostler.transports.asyncssh import AsyncsshTransport
from tests.contract.link_suite import Far, LinkContract, opened, wait_until
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
    ) -> RunnerLink | AttemptLink:
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
