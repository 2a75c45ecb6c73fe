"""Our page of SFTP against what a host may answer: the bytes of a file, or the two errors that drop the host."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import chain, count

import pytest
from hypothesis import given

from hostler.transports.files import DATA, EOF, HANDLE, LONGEST, STATUS, VERSION, NoSftp, Sftp, SftpRefused
from tests.spoiling import CUTS, pieces, spoilt


def packet(kind: int, number: int, body: bytes = b"") -> bytes:
    return (len(body) + 5).to_bytes(4, "big") + bytes([kind]) + number.to_bytes(4, "big") + body


def string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


OK = (0).to_bytes(4, "big")
END = EOF.to_bytes(4, "big")
GREETING = packet(VERSION, 3, string(b"fsync@openssh.com") + string(b"1")) + packet(HANDLE, 1, string(b"h"))
#: What is answered to a fetch of at most a hundred bytes, and to the two questions behind the short answer.
FETCHED = GREETING + packet(DATA, 2, string(b"hello")) + packet(STATUS, 3, END) + packet(STATUS, 4, OK)
TOKENS = [
    b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\4\0\0", b"\0\4\0\1", bytes([DATA]), bytes([STATUS]), bytes([HANDLE]),
    packet(STATUS, 2, OK), packet(STATUS, 2, (4).to_bytes(4, "big") + string(b"\x1b[2J\xff")), packet(DATA, 2, b"\0"),
    packet(DATA, 9, string(b"x")), packet(DATA, 2, string(b"x" * 200)),
]  # fmt: skip


class Answering:
    """A stream that says what it was told to say, whatever it is asked."""

    def __init__(self, said: Iterable[bytes]) -> None:
        self._said, self.taken = iter(said), 0

    async def read(self) -> bytes:
        self.taken += 1
        return next(self._said, b"")

    async def drain(self) -> None: ...
    def write(self, data: bytes) -> None: ...


def fetched(said: Iterable[bytes] | Answering) -> bytes | None:
    """What is had of a file of at most a hundred bytes; None when the host was dropped."""

    async def fetch() -> bytes | None:
        stream = said if isinstance(said, Answering) else Answering(said)
        sftp = Sftp(stream)  # type: ignore[arg-type]
        try:
            await sftp.begin()
            return await sftp.fetch("f", 100)
        except NoSftp:
            return None
        except SftpRefused as refused:
            why = str(refused)
        assert why.isprintable() and len(why) <= 500
        return None

    return asyncio.run(fetch())


@given(CUTS)
def test_a_file_comes_however_its_bytes_are_cut(cuts: list[int]) -> None:
    assert fetched(pieces(FETCHED, cuts)) == b"hello"


@given(spoilt(FETCHED, TOKENS))
def test_whatever_is_answered_is_no_more_than_was_asked_for_or_drops_the_host(said: bytes) -> None:
    assert len(fetched([said]) or b"") <= 101


@pytest.mark.parametrize(
    "said",
    [
        (packet(DATA, number, string(bytes(1000))) for number in count(100)),
        (packet(STATUS, 2, END) for _ in count()),
        chain([(LONGEST + 1).to_bytes(4, "big")], (bytes(1000) for _ in count())),
        (packet(DATA, 2, string(b"x" * 102)) for _ in count()),
    ],
    ids=["answers to nobody", "the same again", "too long", "more than asked"],
)
def test_a_host_that_answers_without_end_is_dropped_at_once(said: Iterable[bytes]) -> None:
    stream = Answering(chain([GREETING], said))
    assert fetched(stream) is None and stream.taken < 5
