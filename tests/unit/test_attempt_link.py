"""Our end of a line to attempt.sh, and what a host says in one breath."""

from __future__ import annotations

import asyncio

import pytest

from hostler.clock import SystemClock
from hostler.links.attempt import AttemptLink
from hostler.links.attempt_words import MAGIC
from hostler.links.brief import Brief
from hostler.model.hosts import Host
from hostler.model.reports import Began, Down, Lost, Refused, Report
from hostler.ports import Finished


class Talker:
    """A transport, its only line, and its only stream: the opening is answered with all that it has to say at once."""

    def __init__(self, *lines: bytes) -> None:
        greeting = (b"H sh" + b"0" * 30 + b" boot 7 2 awk /spool", b"T 100", b"K 1 2", b"K 2 2", b". 101")
        self.lines, self.heard = (*greeting, *lines), b""
        self.unsaid = True

    async def connect(self, host: Host, *, deadline: float) -> Talker:
        return self

    async def stream(self, command: str, *, deadline: float, errors: bool = False) -> Talker:
        return self

    async def run(self, command: str, *, stdin: bytes, deadline: float, limit: int) -> Finished:
        await asyncio.sleep(0)
        return Finished(code=0, signal=None, stdout=answered(stdin, b"T 102", b". 103"), stderr=b"")

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        if self.unsaid:
            self.unsaid = False
            return answered(self.heard, *self.lines)
        return b""

    async def close(self) -> None: ...

    def write(self, data: bytes) -> None:
        self.heard += data

    async def read_err(self) -> bytes:
        return b""

    def stderr_tail(self) -> bytes:
        return b""


def answered(message: bytes, *lines: bytes) -> bytes:
    """These lines as the answer to a message, by the number that it bears."""
    at = message.index(MAGIC)
    nonce = message[at + len(MAGIC) :].split(b"'")[0].split(b"\n")[0]
    return MAGIC + nonce + b"\n" + b"".join(line + b"\n" for line in lines)


@pytest.mark.parametrize(
    ("line", "report"),
    [
        (b"B 1 250", Began(1, 2.5)),
        (b"E 1 lost - 0 0 0 0 0", Lost(1, "its worker there died and nobody saw how it ended")),
        (b"F 3 its disk is full", Refused(3, "its disk is full")),
    ],
    ids=["began", "lost", "refused"],
)
async def test_what_comes_in_one_breath_with_the_answer_to_the_opening_is_heard(
    line: bytes, report: Report
) -> None:
    reports: list[Report] = []
    brief = Brief(uid="0" * 32, run=1, token="0" * 16, slots=2, lease=60.0, output_limit=1 << 20)
    host, transport = Host(name="talker", address="talker"), Talker(line)
    link = AttemptLink(host, brief=brief, transport=transport, clock=SystemClock())  # type: ignore[arg-type]
    await link.open([1, 2], given=2, deliver=reports.append, deadline=10)
    link.ready()
    async with asyncio.timeout(10):
        while not any(isinstance(one, Down) for one in reports):
            await asyncio.sleep(0.005)
    await link.close(forget=False, deadline=1)
    assert report in reports
