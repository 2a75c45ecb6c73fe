"""oneshot.sh under every sh that a host may have: how each end is told, and what a command finds."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from pathlib import Path

import pytest

from hostler.clock import SystemClock
from hostler.links import oneshot_entry
from hostler.links.brief import Brief
from hostler.links.oneshot import OneShotLink
from hostler.links.oneshot_entry import Entry
from hostler.links.oneshot_words import NOTHING, Payload
from hostler.model.hosts import Host
from hostler.model.jobs import Ending, Start
from hostler.model.reports import Result
from hostler.remote.oneshot_source import BOOT
from hostler.transports.local import LocalTransport
from tests.contract.link_suite import SOON, Ear, opened

#: Long: `make test-all` tries these, `make test` what the shorter modules hold of the same.
pytestmark = pytest.mark.slow

SHELLS = {"dash": "dash", "bash": "bash --posix", "busybox": "busybox sh", "ksh": "ksh"}
HOST = Host(name="localhost", address="localhost")


@pytest.fixture(params=sorted(SHELLS))
def sh(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have commands begun by this sh."""
    words = SHELLS[request.param]
    if not shutil.which(words.split()[0]):
        pytest.skip(f"no {words} here")
    monkeypatch.setattr(oneshot_entry, "BOOT", BOOT.replace("/bin/sh", words, 1))
    return str(request.param)


async def once(
    *words: bytes, shell: bool = False, timeout: float | None = None, payload: Payload = NOTHING
) -> tuple[Result, Ear]:
    """The result of a command on this machine."""
    brief = Brief(uid=secrets.token_hex(16), run=1, token=secrets.token_hex(8), grace=0.2)
    link = OneShotLink(
        Entry(HOST, transport=LocalTransport()), brief=brief, clock=SystemClock(), names=lambda serial: (1, 1),
        payload=payload, other=lambda: pytest.fail("this machine can't do it"),
    )  # fmt: skip
    _, ear = await opened(link)
    link.start([Start(1, 1, 1, words, shell, timeout)])
    result = await ear.one(Result, 1)
    await link.close(forget=True, deadline=SOON)
    return result, ear


@pytest.mark.parametrize(
    ("text", "code", "signal"),
    [
        (b"exit 0", 0, None), (b"exit 1", 1, None), (b"exit 127", 127, None), (b"exit 137", 137, None),
        (b"exit 145", 145, None), (b"exit 255", 255, None), (b"kill -9 $$", None, 9), (b"kill -15 $$", None, 15),
        (b"kill -1 $$", None, 1),
    ],
)  # fmt: skip
async def test_exit_codes_and_signals_are_told_apart(
    sh: str, text: bytes, code: int | None, signal: int | None
) -> None:
    result, _ = await once(text, shell=True)
    assert (result.code, result.signal) == (code, signal)
    assert result.ending is (Ending.SIGNAL if signal else Ending.EXIT if code else Ending.OK)


async def test_many_short_commands_at_once_are_each_told(sh: str) -> None:
    found = await asyncio.gather(*(once(b"exit %d" % (number % 3), shell=True) for number in range(16)))
    assert [result.code for result, _ in found] == [number % 3 for number in range(16)]


async def test_words_and_streams_are_as_they_were(sh: str) -> None:
    words = (b"a b", b"", b"c\nd", b"'\"$x`y`\\", b"\xff\x01*", b"-n")
    _, ear = await once(b"printf", b"%s|", *words)
    assert ear.stream(1, 1) == b"".join(word + b"|" for word in words)
    _, ear = await once(b"echo out; echo err >&2; cat", shell=True)
    assert (ear.stream(1, 1), ear.stream(1, 2)) == (b"out\n", b"err\n")


async def test_interrupts_are_heard(sh: str) -> None:
    result, ear = await once(b"trap 'echo heard; exit 3' INT; kill -INT $$; echo deaf", shell=True)
    assert (result.code, ear.stream(1, 1)) == (3, b"heard\n")


async def test_what_is_over_time_is_ended_with_its_children(sh: str) -> None:
    result, _ = await once(b"sleep 600", shell=True, timeout=0.3)
    assert (result.ending, result.signal) == (Ending.TIMEOUT, 15)
    text = b"trap '' TERM; (setsid sleep 600 & ); while :; do sleep 1; done"
    result, _ = await once(text, shell=True, timeout=0.3)
    assert (result.ending, result.signal) == (Ending.TIMEOUT, 9)


async def test_scripts_and_input_of_any_bytes_arrive_and_leave_no_file(sh: str) -> None:
    data = b"-%s\\n\0\xff'x'%%\\0\n" * 3000
    result, ear = await once(b"cat", payload=Payload(stdin=data))
    assert result.code == 0 and ear.stream(1, 1) == data
    script = b"#!/usr/bin/env python3\nimport sys\nprint(sys.argv[1:])\n"
    result, ear = await once(b"a b", b"$c", payload=Payload(script=script))
    assert result.code == 0 and ear.stream(1, 1) == b"['a b', '$c']\n"
    assert not list(Path("/tmp").glob(".hostler-*"))
