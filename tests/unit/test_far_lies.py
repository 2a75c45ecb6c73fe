"""A host that lies about its files: it is refused in one line, and never leads out of its folder nor fills memory."""

from __future__ import annotations

import struct

import pytest

from hostler.errors import HostError, LineLost, NoPython
from hostler.model.hosts import Host
from hostler.model.trees import FILE, Entry
from hostler.ports import Stream
from hostler.remote.files import framing, talking
from hostler.remote.files.framing import frame, record
from hostler.work.copying import ends
from hostler.work.copying.ends import Refused
from hostler.work.copying.far import PythonFar
from hostler.work.copying.tars import Untar, header, padded

ROOT = frame(framing.ROOT, record(framing.FOLDER, b"/srv", 2))
END = frame(framing.DONE)


class Said:
    """A stream of what a host says, whatever it is told."""

    def __init__(self, *pieces: bytes, stderr: bytes = b"") -> None:
        self._pieces, self._stderr = [*pieces], stderr

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...

    async def read(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def stderr_tail(self) -> bytes:
        return self._stderr

    async def close(self) -> None: ...


class Line:
    """A line on which every command says the same."""

    def __init__(self, stream: Stream) -> None:
        self._stream, self.host = stream, Host(name="liar", address="liar")

    async def stream(self, command: str, *, deadline: float) -> Stream:
        return self._stream


async def begun(*pieces: bytes, stderr: bytes = b"") -> PythonFar:
    """A far end that has said hello, and will say these."""
    far = PythonFar(Line(Said(talking.MAGIC, *pieces, stderr=stderr)), deadline=5)  # type: ignore[arg-type]
    await far.begin()
    return far


@pytest.mark.parametrize("path", [b"../x", b"/etc/passwd", b"a/../../x", b"a\0b", b"a//b"])
async def test_a_name_that_leads_out_of_the_tree_is_refused(path: bytes) -> None:
    far = await begun(ROOT + frame(framing.ENTRIES, record(framing.FILE, path)) + END)
    with pytest.raises(Refused, match="makes no sense"):
        await far.look(b"/srv", within=None, hashed=False)


async def test_a_tree_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ends, "MOST", 100)
    names = [frame(framing.ENTRIES, record(framing.FILE, b"%d" % at)) for at in range(1000)]
    far = await begun(ROOT, *names)
    with pytest.raises(Refused, match="more than 100 names"):
        await far.look(b"/srv", within=None, hashed=False)


@pytest.mark.parametrize(
    "answer",
    [
        frame(framing.ENTRIES, b""), frame(b"?", b""), ROOT + frame(framing.ENTRIES, b"x"), frame(framing.ROOT, b""),
        struct.pack(">cI", framing.ROOT, 1 << 31), ROOT + frame(framing.ENTRIES, record(b"Q", b"a")),
        ROOT + frame(framing.ENTRIES, record(framing.LINK, b"a", more=b"x\0y")),
        ROOT + frame(framing.ENTRIES, record(framing.FILE, b"a", size=1 << 63)),
    ],
)  # fmt: skip
async def test_nonsense_in_the_place_of_a_listing_is_refused(answer: bytes) -> None:
    far = await begun(answer)
    with pytest.raises(Refused, match="makes no sense"):
        await far.look(b"/srv", within=None, hashed=False)


@pytest.mark.parametrize("kind", [framing.MAKE, framing.POINT, framing.REMOVE, framing.AMEND, framing.CLEAR])
async def test_a_host_that_gives_files_can_order_nothing_else(kind: bytes) -> None:
    taken: list[bytes] = []
    far = await begun(frame(kind, record(framing.FILE, b"a")) + END)
    with pytest.raises(Refused, match="makes no sense"):
        await far.give([(Entry(b"a", FILE), 0, b"")], lambda kind, body: taken.append(kind))
    assert taken == []


async def test_start_up_files_that_print_come_before_the_hello_and_are_passed_over() -> None:
    said = Said(b"Welcome!\n", b"x" * 1000 + talking.MAGIC[:5], talking.MAGIC[5:] + ROOT, END)
    far = PythonFar(Line(said), deadline=5)  # type: ignore[arg-type]
    await far.begin()
    assert (await far.look(b"/srv", within=None, hashed=False)).root == b"/srv"


@pytest.mark.parametrize(
    ("said", "stderr", "kind", "why"),
    [
        ([], b"hostler: no python3 on this host\n", NoPython, "3.6"),
        ([], b"sys.version_info(major=3, minor=4)\n", NoPython, "3.6"),
        ([], b"", LineLost, "without a word"),
        ([b"x" * 600_000, b"x" * 600_000], b"", Refused, "without an end"),
        ([], b"MemoryError \x1b[2J\n", Refused, r"MemoryError \?\[2J"),
    ],
)
async def test_a_program_that_does_not_start_is_told_why(
    said: list[bytes], stderr: bytes, kind: type[HostError], why: str
) -> None:
    far = PythonFar(Line(Said(*said, stderr=stderr)), deadline=5)  # type: ignore[arg-type]
    with pytest.raises(kind, match=why):
        await far.begin()


def tar(name: bytes, data: bytes) -> bytes:
    """A tar of one file."""
    return header(name, kind=b"0", mode=0o644, size=len(data), mtime=5) + padded(data)


def test_a_tar_cut_anywhere_comes_out_as_it_went_in() -> None:
    long = b"./" + b"n" * 300
    whole = tar(b"./a", b"x" * 700) + bytes(1024) + tar(long, b"") + bytes(1024) + b"MARK1".ljust(512, b"\0")
    for size in (1, 511, 512, 513, 5000):
        frames: list[tuple[bytes, bytes]] = []
        untar = Untar(b"MARK", lambda name: name[2:], lambda *of, into=frames: into.append(of))
        for at in range(0, len(whole), size):
            untar.feed(whole[at : at + size])
        assert untar.status == 1 and untar.given == {b"a", long[2:]}
        assert b"".join(body for kind, body in frames if kind == framing.BYTES) == b"x" * 700


def test_a_member_that_nobody_asked_for_is_passed_over() -> None:
    frames: list[tuple[bytes, bytes]] = []
    untar = Untar(b"MARK", lambda name: None, lambda *of: frames.append(of))
    untar.feed(tar(b"../../etc/passwd", b"x") + b"MARK0".ljust(512, b"\0"))
    assert untar.status == 0 and frames == []


@pytest.mark.parametrize("data", [b"x" * 512, tar(b"a", b"")[:100] + b"9" * 412, b"\xff" * 512])
def test_what_is_no_tar_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        Untar(b"MARK", lambda name: name, lambda *of: None).feed(data)
