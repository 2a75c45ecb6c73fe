"""Our ends of a host's lines, by runner and by sh, against whatever a host may say.

Whatever comes is reports that can be stored and shown, or the one error that drops the host; it costs bounded memory,
and how it was cut on its way makes no difference. Cases worth keeping stand in `tests/corpus/frames/`.
"""

from __future__ import annotations

import asyncio
import json
import re
import struct
import tracemalloc
from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostler.clock import SystemClock
from hostler.errors import HostError
from hostler.links.attempt import AttemptLink
from hostler.links.attempt_answers import PAYLOAD
from hostler.links.brief import Brief
from hostler.links.decode import HIGHEST, LONGEST, hello
from hostler.links.runner import MAX_FRAME, NOISE, RunnerLink
from hostler.model.hosts import Host
from hostler.model.reports import Down, Hello, Output, Renewed, Report
from hostler.ports import Finished
from hostler.remote.runner import wire
from tests.spoiling import CUTS, JSON, case_id, flipped, kept, pieces, spoilt
from tests.unit.test_decode import GOOD, result_body

ASK = [1, 2, 3]
BRIEF = Brief(uid="0" * 32, run=1, token="0" * 16, slots=2, lease=60.0, output_limit=1 << 20)
RUNNER = b"Welcome\r\n" + wire.MAGIC + b"".join(
    wire.frame(kind, body)
    for kind, body in (
        (wire.R_HELLO, json.dumps({**GOOD, "vitals": {"now": 1.8e9, "free": 1 << 40, "cpus": 8}}).encode()),
        (wire.R_BEGAN, wire.BEGAN.pack(7, 0.25)),
        (wire.R_RENEWED, wire.NUMBER.pack(5)),
        (wire.R_OUTPUT, wire.OUTPUT.pack(9, 1, 0) + b"some \xff output\n"),
        (wire.R_RESULT, result_body()),
        (wire.R_RESULT, result_body(serial=9, inline=0, out=b"", err=b"", detail=b"pid 4")),
        (wire.R_REVOKED, wire.numbers([10, 11])),
        (wire.R_REFUSED, wire.NUMBER.pack(12) + b"its disk is full"),
        (wire.R_LOST, wire.NUMBER.pack(13) + b"it is forgotten"),
        (wire.R_HELD, b"1 GiB of output wait there"),
        (wire.R_BYE, wire.AGAIN + b"another line came"),
    )
)  # fmt: skip
SH = b"""\
Welcome\r
hostler-sh NONCE
V 1800000000 1048576 0.50 8
H sh%s 1f-2e 0 8 awk /var/tmp/hostler-0/hostler/a b
T 100
K 0000000001 2
. 100
B 0000000007 25
S 0000000009 5 0
E 0000000008 exit 3 0 120 3 2 1 \nabc\n\nE 0000000004 kill-failed - 9 5 0 0 0 still alive: pid 7
R 0000000006
L 0000000007 it is forgotten
F 0000000005 its disk is full
E 0000000001 lost - 0 5 0 0 1 \nX - another line came
""" % (b"a" * 30)
#: What is answered to a command.
ANSWER = b"hostler-sh NONCE\nT 100\n. 110\n"
#: A good stream of each kind, and what breaks its reader.
STREAMS = {"runner": RUNNER, "sh": SH}
TOKENS = {
    "runner": [
        *(wire.frame(kind, b"") for kind in b"hborvxlngw\0\xff"),
        *(struct.pack(">I", size) for size in (0, 1, MAX_FRAME, MAX_FRAME + 1, 2**32 - 1)),
        struct.pack(">Q", 2**64 - 1), struct.pack(">Q", HIGHEST), struct.pack(">d", float("nan")), wire.MAGIC,
        b"NaN", b"1e999", b"9" * 5000, b'"\\ud800"', b"[" * 3000, b"null", b'"', b"-1", b"1.5", b"true", b"[]", b"{}",
    ],
    "sh": [
        b"\n", b" ", b"  ", b"-", b"-1", b"9" * 19, b"9" * 400, b"9" * 5000, b"1_0", b"0x1", b"nan", b"inf", b"1e999",
        b"\nT 1\n", b"\n. 1\n", b"\nX ! no\n", b"\nK 1 9\n", b"\nB 1 " + b"9" * 400 + b"\n", b"\nO 9 out 0 3\nabc",
        b"\nE 1 ok 0 0 " + b"9" * 400 + b" 0 0 1 \n", b"\nE 1 ok 0 0 5 1048577 0 1 \n", b"\xff", b"\0", b"hostler-sh ",
    ],
}  # fmt: skip


class Liar:
    """A transport, its only line, and its only stream: it says what it was told to say, then nothing.

    A command is answered with `answer`. `NONCE` in what it says stands for the number that it was greeted with.
    `taken` counts the pieces that were read.
    """

    def __init__(self, said: Iterable[bytes], answer: bytes = ANSWER) -> None:
        self._said, self._answer, self._nonce, self.taken = iter(said), answer, b"", 0

    async def connect(self, host: Host, *, deadline: float) -> Liar:
        return self

    async def stream(self, command: str, *, deadline: float, errors: bool = False) -> Liar:
        return self

    async def run(self, command: str, *, stdin: bytes, deadline: float, limit: int) -> Finished:
        await asyncio.sleep(0)
        answer = self._answer.replace(b"NONCE", self.nonce(stdin))
        return Finished(code=0, signal=None, stdout=answer, stderr=b"")

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        piece = next(self._said, b"")
        self.taken += 1
        return piece.replace(b"NONCE", self._nonce) if b"NONCE" in piece else piece

    async def drain(self) -> None: ...
    async def close(self) -> None: ...

    def write(self, data: bytes) -> None:
        self._nonce = self._nonce or self.nonce(data)

    def nonce(self, data: bytes) -> bytes:
        found = re.search(rb"echo hostler-sh ([0-9a-f]+)\n", data)
        return found[1] if found else b""

    async def read_err(self) -> bytes:
        return b""

    def stderr_tail(self) -> bytes:
        return b""


async def listen(kind: str, liar: Liar) -> list[Report | Hello | HostError]:
    """What a link makes of a host that says this, to the end of its line."""
    heard: list[Report | Hello | HostError] = []
    over = asyncio.Event()

    def deliver(report: Report) -> None:
        heard.append(report)
        if isinstance(report, Down):
            over.set()

    link = (RunnerLink if kind == "runner" else AttemptLink)(
        Host(name="liar", address="liar"), brief=BRIEF, transport=liar, clock=SystemClock()  # type: ignore[arg-type]
    )  # fmt: skip
    async with asyncio.timeout(60):
        try:
            heard.append(await link.open(ASK, given=3, deliver=deliver, deadline=30))
        except HostError as error:
            return [error]
        link.ready()
        await over.wait()
        await asyncio.wait(link._tasks[:1])
        assert link._tasks[0].exception() is None
        await link.close(forget=False, deadline=1)
    return heard


def told(kind: str, said: Iterable[bytes], answer: bytes = ANSWER) -> list[str]:
    """The same, checked for what anything may rely on, as texts that can be compared."""
    heard = asyncio.run(listen(kind, Liar(said, answer)))
    for one in heard:
        if isinstance(one, HostError):
            assert str(one)
            continue
        assert msgspec.convert(msgspec.to_builtins(one), type(one)) == one  # every field is of its type
        repr(one).encode()
        assert 0 <= getattr(one, "serial", 0) <= HIGHEST
        for name in ("ago", "elapsed"):
            assert 0.0 <= getattr(one, name, 0.0) <= LONGEST
        if isinstance(one, Hello):
            assert set(one.standings) == set(ASK)
    return [repr(one) for one in heard if not isinstance(one, Renewed)]


@pytest.mark.parametrize("kind", STREAMS)
def test_a_good_stream_is_told_whole_however_it_is_cut(kind: str) -> None:
    whole = told(kind, [STREAMS[kind]])
    assert len(whole) == {"runner": 11, "sh": 9}[kind] and "another line came" in whole[-1]
    data = STREAMS[kind] if kind == "runner" else STREAMS[kind].replace(b"NONCE", b"%s")

    @given(CUTS)
    def trial(cuts: list[int]) -> None:
        if kind == "sh":  # the number goes in whole, for who answers knows it
            head, _, rest = STREAMS[kind].partition(b"NONCE")
            cut = [*pieces(head, cuts), b"NONCE", *pieces(rest, cuts)]
        else:
            cut = pieces(data, cuts)
        assert told(kind, cut) == whole

    trial()


@pytest.mark.parametrize("kind", STREAMS)
def test_whatever_comes_is_reports_or_drops_the_host(kind: str) -> None:
    @given(st.one_of(spoilt(STREAMS[kind], TOKENS[kind]), flipped(STREAMS[kind]), st.binary(max_size=80)))
    def trial(data: bytes) -> None:
        told(kind, [data[: len(data) // 2], data[len(data) // 2 :]])

    trial()


@given(spoilt(ANSWER, TOKENS["sh"]))
def test_whatever_a_command_is_answered_is_reports_or_drops_the_host(answer: bytes) -> None:
    told("sh", [SH], answer)


@pytest.mark.parametrize("case", [*kept("frames/runner"), *kept("frames/sh")], ids=case_id)
def test_a_kept_case_is_reports_or_drops_the_host_in_one_piece_and_by_bytes(case: Path) -> None:
    kind, data = case.parent.name, case.read_bytes()
    marks = re.split(b"(NONCE)", data)
    by_bytes = chain.from_iterable(
        [mark] if mark == b"NONCE" else pieces(mark, range(2000)) for mark in marks
    )
    told(kind, [data])
    told(kind, by_bytes)


@given(st.sampled_from([*GOOD, "vitals", "more"]), JSON)
def test_whatever_a_hello_says_each_of_its_words_is_of_its_kind_or_it_is_refused(
    name: str, value: object
) -> None:
    try:
        said = hello(json.dumps({**GOOD, name: value}).encode(), ASK)
    except ValueError:
        return
    assert msgspec.convert(msgspec.to_builtins(said), Hello) == said
    assert len(repr(said)) < 1000


def endless(head: bytes, piece: bytes) -> Iterator[bytes]:
    """A host that goes on, far beyond what anybody should read of it."""
    return chain([head], repeat(piece, 4096))


GREETED = RUNNER[: RUNNER.index(wire.frame(wire.R_BEGAN, wire.BEGAN.pack(7, 0.25)))]
ENDED = SH[: SH.index(b"B 00")]


@pytest.mark.parametrize(
    ("kind", "head", "piece", "most"),
    [
        ("runner", b"", b"x" * 65536, NOISE),
        ("runner", GREETED + b"\xff\xff\xff\xffo", b"x" * 65536, 65536),
        ("runner", wire.MAGIC + b"\xff\xff\xff\xffh", b"x" * 65536, 65536),
        ("runner", GREETED + struct.pack(">IB", MAX_FRAME, wire.R_OUTPUT), bytes(65536), MAX_FRAME),
        ("runner", wire.MAGIC + struct.pack(">IB", MAX_FRAME, wire.R_HELLO), b"[],{}," * 11000, MAX_FRAME),
        ("runner", GREETED, wire.frame(wire.R_OUTPUT, wire.OUTPUT.pack(9, 1, 0) + bytes(65000)), 2 << 20),
        ("sh", b"", b"x" * 65536, NOISE),
        ("sh", ENDED, b"x" * 65536, 65536),
        ("sh", ENDED, b" " * 65536, 65536),
        ("sh", ENDED + b"E 1 ok 0 0 5 4294967296 0 1 \n", bytes(65536), 65536),
        ("sh", ENDED + b"O 9 out 0 %d\n" % PAYLOAD, b"\n" * 65536, 2 * PAYLOAD),
        ("sh", b"hostler-sh NONCE\n", b"T 1\n" * 16384, 65536),
        ("sh", b"hostler-sh NONCE\n", b"K 1 2\n" * 8192, 65536),
    ],
)  # fmt: skip
def test_a_host_that_goes_on_without_sense_is_dropped_before_it_fills_our_memory(
    kind: str, head: bytes, piece: bytes, most: int
) -> None:
    liar = Liar(endless(head, piece))
    tracemalloc.start()
    try:
        heard = asyncio.run(listen(kind, liar))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(heard[-1], HostError | Down)
    assert (liar.taken - 2) * len(piece) <= most + len(piece)
    kept_of_output = sum(len(one.data) for one in heard if isinstance(one, Output))
    assert peak - kept_of_output < 3 * most + (6 << 20)
