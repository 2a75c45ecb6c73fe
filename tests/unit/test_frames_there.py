"""The runner's end of its line against whatever may come from a controller, or from who passes for one.

A real runner in this process: its log, table and socket, all but its loop, so that nothing is ever begun. No frame may
end it or the jobs that it holds; a start is taken only as it was sent, whatever became of a byte on the way.
"""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import struct
import tempfile
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostler.remote.runner import wire
from hostler.remote.runner.channel import TAKEN, listen
from hostler.remote.runner.jobs import Table
from hostler.remote.runner.log import Log
from hostler.remote.runner.processes import Spawner
from hostler.remote.runner.rules import Rules
from hostler.remote.runner.serve import Runner
from tests.spoiling import CUTS, JSON, case_id, flipped, kept, pieces, spoilt

HELLO = {
    "protocol": wire.PROTOCOL, "uid": "0" * 32, "token": "0" * 16, "run": 7, "host": "h", "epoch": 3, "slots": 2,
    "lease": 60.0, "grace": 0.3, "ask": [1, 9], "spool": "", "shell": None, "output_limit": 1 << 20,
}  # fmt: skip
STARTS = [
    (10, 1, 1, (b"echo", b"a b"), False, 0.0), (11, 2, 1, (b"echo $HOME",), True, 2.5),
    (12, 3, 2, (b"", b"\xff'"), False, 0.0),
]  # fmt: skip
SAID = b"".join(
    wire.frame(kind, body)
    for kind, body in (
        (wire.RENEW, wire.RENEWAL.pack(1, 0)),
        (wire.FOLLOWS, wire.FOLLOW.pack(2, 3, 0)),
        (wire.HELLO, b""),
        (wire.CREDIT, wire.NUMBER.pack(1 << 20)),
        (wire.STARTS, wire.pack_starts(STARTS[:2])),
        (wire.REVOKE, wire.numbers([40, 41])),
        (wire.KILLS, wire.KILL.pack(0.5, 6) + wire.numbers([1])),
        (wire.SLOTS, wire.NUMBER.pack(3)),
        (wire.STARTS, wire.pack_starts(STARTS[2:])),
        (wire.ACK, wire.numbers([4])),
        (wire.RENEW, wire.RENEWAL.pack(2, 1)),
    )
)
TOKENS = [
    *(wire.frame(kind, b"") for kind in b"HSVKANFCZB\0\xff"),
    *(struct.pack(">I", size) for size in (0, 1, wire.MAX_FRAME, wire.MAX_FRAME + 1, 2**32 - 1)),
    *(wire.frame(kind, wire.numbers([2**64 - 1])) for kind in b"VANCZ"),
    wire.frame(wire.FOLLOWS, wire.FOLLOW.pack(2, 2**64 - 1, 2**64 - 1)),
    wire.frame(wire.KILLS, wire.KILL.pack(float("nan"), 255) + wire.numbers([1, 2])),
    wire.frame(wire.STARTS, wire.pack_starts([(20, 1, 1, (), False, 0.0)])),
    wire.frame(wire.STARTS, wire.pack_starts([(20, 1, 1, (b"x",), False, float("nan"))])),
]


class Ears:
    """A runner that holds four results of an earlier one, and its line."""

    def __init__(self, path: str) -> None:
        log = Log(path)
        log.reserve(4)
        for serial in range(1, 5):
            log.start(serial, 100 + serial, 1, serial)
            log.result(serial, 1, 3, 0, 0.5, 10, 20)
            Path(path, f"{serial}.out").write_bytes(b"0123456789")
        log.write()
        spawner = Spawner({}, b"/bin/sh", 0o077)
        self.table = Table(path, "0" * 32, log, spawner, 2, Rules({}))
        self.listener = listen(path)
        self.runner = Runner(path, self.table, self.listener)
        self.path, self.ends = path, list[Any]()

    def call(self, hello: bytes, cuts: Sequence[int] = ()) -> bool:
        """Come to its socket as a relay does, and say this; whether the line is taken."""
        runner = self.runner
        here = os.open(self.path, os.O_PATH)
        leash = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        leash.setblocking(False)
        leash.connect(f"/proc/self/fd/{here}/socket")
        os.close(here)
        (fd_in, self.mouth), (self.ear, fd_out) = os.pipe(), os.pipe()
        leash.sendmsg([TAKEN], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd_in, fd_out]))])
        for fd in (fd_in, fd_out):
            os.close(fd)
        os.set_blocking(self.ear, False)
        runner.welcome()
        for piece in pieces(hello, cuts):
            while piece and runner.visitors:
                with suppress(BlockingIOError):
                    piece = piece[leash.send(piece) :]
                runner.receive(next(iter(runner.visitors)))
        for _ in range(8):  # what was passed with a line is read by itself
            if runner.visitors:
                runner.receive(next(iter(runner.visitors)))
        self.ends += [leash, self.mouth, self.ear]
        return runner.channel is not None

    def says(self, said: Sequence[bytes]) -> None:
        """Say this on the line, and have the runner go about all of its business but beginning jobs."""
        for piece in said:
            for at in range(0, len(piece), 32768):
                os.write(self.mouth, piece[at : at + 32768])
                self.runner.hear()
                self.turn()
                if self.runner.channel is None:
                    return

    def turn(self) -> None:
        now = time.monotonic() + 60
        soonest = self.table.tick(now)
        self.table.save(now)
        self.runner.flush(now)
        self.runner.patience(now, soonest)
        with suppress(BlockingIOError):
            os.read(self.ear, 1 << 20)

    @property
    def taken(self) -> list[object]:
        """The starts that it would begin."""
        return list(self.table.fence.waiting.values())

    def close(self) -> None:
        runner = self.runner
        os.close(signal.set_wakeup_fd(-1))
        runner.drop()
        for fd in list(runner.visitors):
            runner.see_off(fd).dismiss()
        self.listener.close()
        for pair in [*(attempt.pair for attempt in self.table.ended.values()), *self.table.files.free]:
            self.table.files.shut(pair)
        for end in self.ends:
            os.close(end) if isinstance(end, int) else end.close()
        for fd in (runner.wake, self.table.log.fd, self.table.files.folder):
            os.close(fd)


@contextmanager
def ears() -> Iterator[Ears]:
    """A runner in a folder of its own; what it does to this process is undone."""
    before = {number: signal.getsignal(number) for number in (signal.SIGCHLD, signal.SIGTERM)}
    with tempfile.TemporaryDirectory(prefix="ears") as path:
        made = Ears(path)
        try:
            yield made
        finally:
            made.close()
            for number, handler in before.items():
                signal.signal(number, handler)


def hello(**said: object) -> bytes:
    return wire.frame(wire.HELLO, json.dumps({**HELLO, **said}).encode())


def after(said: Sequence[bytes]) -> tuple[object, ...]:
    """What a runner has taken in of this."""
    with ears() as there:
        assert there.call(hello())
        there.says(said)
        table, runner = there.table, there.runner
        state = (table.slots, table.fence.high, sorted(table.ended), sorted(table.fence.barred))
        return (there.taken, runner.channel is not None, *state)


def test_what_a_controller_says_is_taken_however_it_is_cut() -> None:
    whole = after([SAID])
    assert whole[:3] == (STARTS, True, 3) and whole[4:6] == ([1, 2, 3], [40, 41])

    @given(CUTS)
    def trial(cuts: list[int]) -> None:
        assert after(pieces(SAID, cuts)) == whole
        with ears() as there:
            assert there.call(hello(), cuts)

    trial()


@given(st.one_of(spoilt(SAID, TOKENS), flipped(SAID), st.binary(max_size=80)))
def test_whatever_is_said_the_runner_lives_and_no_start_is_taken_but_as_it_was_sent(said: bytes) -> None:
    taken = after([said[: len(said) // 2], said[len(said) // 2 :]])[0]
    assert isinstance(taken, list) and all(start in STARTS for start in taken)


@given(st.sampled_from([*HELLO, "pty", "spool_max", "env"]), JSON)
def test_whatever_a_hello_says_the_next_controller_is_served(name: str, value: object) -> None:
    with ears() as there:
        there.call(hello(**{name: value}))
        there.turn()
        assert there.call(hello(epoch=max(3, there.table.log.epoch))) and there.table.slots == 2


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 90_000, b'{"a":' * 20_000, b"null", b"[]", b"\xff", b"",
        *(json.dumps({**HELLO, **change}).encode() for change in (
            {"slots": 10**9}, {"slots": 10**30}, {"slots": -1}, {"epoch": 10**30}, {"ask": [10**30]}, {"ask": [1e999]},
            {"lease": float("nan")}, {"grace": float("nan")}, {"output_limit": -1}, {"epoch": "9" * 5000},
        )),
    ],
    ids=lambda body: repr(body[:12]),
)  # fmt: skip
def test_a_hello_without_sense_is_not_served_and_the_next_one_is(body: bytes) -> None:
    with ears() as there:
        assert not there.call(wire.frame(wire.HELLO, body))
        assert there.call(hello())


@pytest.mark.parametrize("said", [b"\xff\xff\xff\xffS", struct.pack(">IB", wire.MAX_FRAME + 1, wire.STARTS)])
def test_a_frame_that_claims_gigabytes_costs_nothing(said: bytes) -> None:
    words = wire.START.pack(1, 1, 1, 0.0, 0, 2**31)  # so many, it says, and there is none
    tracemalloc.start()
    try:
        assert after([said, b"x" * 65536])[1] is False
        with pytest.raises(ValueError, match="ends too early"):
            wire.unpack_starts(sha256(words).digest() + words)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("case", kept("frames/controller"), ids=case_id)
def test_a_kept_case_leaves_the_runner_alive(case: Path) -> None:
    data = case.read_bytes()
    for said in ([data], pieces(data, range(2000))):
        assert all(start in STARTS for start in after(said)[0])  # type: ignore[attr-defined]
