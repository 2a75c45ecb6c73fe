"""Our end of a runner's line against a host that lies: what it may not send ends its line, and costs no memory."""

from __future__ import annotations

import asyncio
import json

import pytest

from hostler.clock import SystemClock
from hostler.errors import LineLost, RunnerFailed
from hostler.links.brief import Brief
from hostler.links.runner import CREDIT, RunnerLink
from hostler.links.sudo import Sudo
from hostler.model.hosts import Host
from hostler.model.reports import Down, Output, Renewed, Report
from hostler.remote.runner import wire

HELLO = {
    "protocol": 1, "spool": "0" * 32, "boot": "b", "uid": 7, "pid": 1, "python": "3.11.7", "slots": 2, "standings": [],
}  # fmt: skip


class Liar:
    """A transport, its only line, its only stream: it says what it was told to, standing still at an empty word."""

    def __init__(self, *said: bytes) -> None:
        self.said, self.heard = (
            [wire.MAGIC + wire.frame(wire.R_HELLO, json.dumps(HELLO).encode()), *said],
            b"",
        )

    async def connect(self, host: Host, *, deadline: float) -> Liar:
        return self

    async def stream(self, command: str, *, deadline: float, errors: bool = False) -> Liar:
        return self

    async def read(self) -> bytes:
        await asyncio.sleep(0 if not self.said or self.said[0] else 60)
        return self.said.pop(0) if self.said else b""

    async def drain(self) -> None: ...
    async def close(self) -> None: ...

    def write(self, data: bytes) -> None:
        self.heard += data

    async def read_err(self) -> bytes:
        return b""

    def stderr_tail(self) -> bytes:
        return b""


def output(offset: int, size: int) -> bytes:
    """A frame of output."""
    return wire.frame(wire.R_OUTPUT, wire.OUTPUT.pack(1, 1, offset) + b"x" * size)


async def listened(*said: bytes, limit: int = 1 << 20, lease: float = 60.0) -> list[Report]:
    """What a link delivers of that."""
    reports: list[Report] = []
    brief = Brief(uid="0" * 32, run=1, token="0" * 16, slots=2, lease=lease, output_limit=limit)
    host = Host(name="liar", address="liar")
    link = RunnerLink(host, brief=brief, transport=Liar(*said), clock=SystemClock())  # type: ignore[arg-type]
    await link.open([], given=0, deliver=reports.append, deadline=10)
    link.ready()
    async with asyncio.timeout(10):
        while not any(isinstance(report, Down) for report in reports):
            await asyncio.sleep(0.005)
    await link.close(forget=False, deadline=1)
    return reports


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        ([output(0, 70_000)] * 20, "it sends more output than it may"),
        ([output(0, 60_000), output(60_000, 6_000)], "it sends more of a stream than is kept"),
        ([output(1 << 40, 1)], "it sends more of a stream than is kept"),
    ],
)
async def test_a_host_that_sends_more_than_it_may_is_not_listened_to(frames: list[bytes], why: str) -> None:
    reports = await listened(*frames, limit=65_000 if "kept" in why else 1 << 30)
    assert isinstance(reports[-1], Down) and reports[-1].nonsense and why in reports[-1].why
    assert sum(len(report.data) for report in reports if isinstance(report, Output)) <= CREDIT


async def test_renewals_of_times_that_can_not_be_do_no_harm() -> None:
    times = (0, 1, (1 << 64) - 1)
    reports = await listened(*(wire.frame(wire.R_RENEWED, wire.NUMBER.pack(time)) for time in times))
    rtts = [report.rtt for report in reports if isinstance(report, Renewed)]
    assert len(rtts) == len(times) and all(0 <= rtt < 1e12 for rtt in rtts)


async def test_a_login_that_prints_without_end_is_left_once_it_has_said_enough() -> None:
    liar = Liar()
    liar.said = [b"Welcome!\n" * 8000] * 100
    brief = Brief(uid="0" * 32, run=1, token="0" * 16, slots=2, lease=60.0)
    host = Host(name="liar", address="liar")
    link = RunnerLink(host, brief=brief, transport=liar, clock=SystemClock())  # type: ignore[arg-type]
    with pytest.raises(RunnerFailed, match="prints without end"):
        await link.open([], given=0, deliver=print, deadline=10)
    assert len(liar.said) > 90


async def test_a_runner_that_never_greets_is_left_at_the_deadline() -> None:
    mute = Mute()
    mute.said = []
    brief = Brief(uid="0" * 32, run=1, token="0" * 16, slots=2, lease=60.0)
    host = Host(name="mute", address="mute")
    link = RunnerLink(host, brief=brief, transport=mute, clock=SystemClock())  # type: ignore[arg-type]
    with pytest.raises(LineLost, match="did not answer within"):
        await link.open([], given=0, deliver=print, deadline=0.3)


class Mute(Liar):
    """One that greets, and says nothing more on a line that lives on."""

    async def read(self) -> bytes:
        if not self.said:
            await asyncio.sleep(3600)
        return await super().read()


async def test_a_line_on_which_a_frame_is_missing_is_given_up() -> None:
    whole = wire.frame(wire.R_RENEWED, wire.numbers([0, 0])) + wire.frame(
        wire.R_RENEWED, wire.numbers([0, 1])
    )
    assert "closed" in str((await listened(whole))[-1])
    short = whole + wire.frame(wire.R_RENEWED, wire.numbers([0, 3]))
    assert "a frame is missing" in str((await listened(short))[-1])


async def test_a_runner_that_says_nothing_on_a_line_that_stands_is_down() -> None:
    reports = await listened(b"", lease=0.3)
    assert [type(report) for report in reports] == [Down] and "has said nothing" in str(reports[0])


def test_what_sudo_says_is_told_from_what_else_is_printed() -> None:
    noise = b"Welcome\nsudo: unable to resolve host web1: Name or service not known\n"
    verdicts = {
        b"sudo: a password is required\n": "sudo: a password is required; give one with --as-password",
        b"Sorry, user anna may not execute '/bin/sh -c echo hostler-by-sudo; x' as deploy.\n": "Sorry, user",
        b"anna is not in the sudoers file.\nThis incident has been reported.\n": "anna is not in the sudoers file.",
        b"/bin/sh: 1: exec: sudo: not found\n": "sudo: not found",
        b"": "Name or service not known",
    }
    for said, words in verdicts.items():
        sudo = Sudo("deploy")
        assert sudo.refused(noise + said)
        why = sudo.refusal("web1", noise + said).why
        assert why.startswith("sudo refused to run as deploy: ") and words in why and "\n" not in why
    assert not Sudo("deploy").refused(noise + b"hostler-by-sudo\nhostler: no python3 on this host\n")
