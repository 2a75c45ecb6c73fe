"""Copying over lines that break at any place: the old file or the new one, and what has arrived is gone on with."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hostler.errors import LineLost
from hostler.model.hosts import Host
from hostler.model.trees import Copied
from hostler.ports import Connection, Finished, Stream, Transport
from hostler.remote.files.framing import KEPT
from tests.contract.own_sshd import OwnSshd, _begun_with
from tests.contract.own_sshd import server as server
from tests.copying_rig import KINDS, Copier, facts, parts
from tests.lab import wait_until

#: Long: `make test-all` tries these, `make test` what the shorter modules hold of the same.
pytestmark = pytest.mark.slow

BIG = 16 << 20


class CutStream:
    """A stream whose line is cut once so many bytes have gone by, either way."""

    def __init__(self, stream: Stream, after: int, cut: Callable[[], None]) -> None:
        self._stream, self._left, self._cut = stream, after, cut

    def _count(self, data: bytes) -> None:
        before, self._left = self._left, self._left - len(data)
        if before > 0 >= self._left:
            self._cut()

    def write(self, data: bytes) -> None:
        self._stream.write(data)
        self._count(data)

    async def drain(self) -> None:
        await self._stream.drain()

    async def read(self) -> bytes:
        data = await self._stream.read()
        self._count(data)
        if self._left > 0:
            return data
        while await self._stream.read():  # what was on its way is lost with the line
            pass
        raise LineLost("box", "the line was cut")

    async def read_err(self) -> bytes:
        return await self._stream.read_err()

    def stderr_tail(self) -> bytes:
        return self._stream.stderr_tail()

    async def close(self) -> None:
        await self._stream.close()


class CutLine:
    """A line that is cut so."""

    def __init__(self, line: Connection, after: int, cut: Callable[[], None]) -> None:
        self._line, self._after, self._cut, self.host = line, after, cut, line.host

    async def run(
        self, command: str, *, stdin: bytes = b"", deadline: float, limit: int = 1 << 20
    ) -> Finished:
        return await self._line.run(command, stdin=stdin, deadline=deadline, limit=limit)

    async def stream(self, command: str, *, deadline: float, errors: bool = False) -> Stream:
        stream = await self._line.stream(command, deadline=deadline, errors=errors)
        return CutStream(stream, self._after, self._cut)

    async def put(self, data: bytes, path: str, *, mode: int = 0o600, deadline: float) -> None:
        await self._line.put(data, path, mode=mode, deadline=deadline)

    async def get(self, path: str, *, deadline: float, limit: int = 1 << 20) -> bytes:
        return await self._line.get(path, deadline=deadline, limit=limit)

    @property
    def alive(self) -> bool:
        return self._line.alive

    async def close(self) -> None:
        await self._line.close()


class CutTransport:
    """Lines that are cut after so many bytes; none while `after` is 0."""

    def __init__(self, transport: Transport, server: OwnSshd) -> None:
        self._transport, self._server, self.after = transport, server, 0

    async def connect(self, host: Host, *, deadline: float) -> Connection:
        line = await self._transport.connect(host, deadline=deadline)
        return CutLine(line, self.after, self._server.cut) if self.after else line

    async def close(self) -> None:
        await self._transport.close()


class CutCopier(Copier):
    """Copies over lines that are cut."""

    def __init__(self, server: OwnSshd, kind: str, state: Path, *, python: str | None = None) -> None:
        super().__init__(server, kind, state, python=python)
        self.transport = self.cutting = CutTransport(self.transport, server)

    def cut_after(self, size: int) -> None:
        """Have the next line cut after so many bytes, 0 for never; what was begun over the last one has ended."""
        wait_until(lambda: not [*_begun_with(f"HOME={self.server.home}")], what="the far end's end")
        self.cutting.after = size


@pytest.fixture(params=sorted(KINDS))
async def copier(
    request: pytest.FixtureRequest, server: OwnSshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[CutCopier]:
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    copier = CutCopier(server, request.param, tmp_path / "state")
    yield copier
    await copier.transport.close()


def lost(done: Copied) -> None:
    """Fail unless the host was lost, which was said."""
    assert not done.reached and "say it again" in done.error, done


async def test_a_put_that_was_cut_leaves_the_old_file_and_goes_on_from_what_has_arrived(
    copier: CutCopier, tmp_path: Path
) -> None:
    source, there = tmp_path / "source", tmp_path / "there"
    source.write_bytes(os.urandom(BIG))
    there.write_bytes(b"old")
    copier.cut_after(BIG * 3 // 4)
    lost(await copier.put(source, there))
    copier.cut_after(0)
    [part] = parts(tmp_path)
    assert there.read_bytes() == b"old" and KEPT <= part.stat().st_size < BIG
    done = await copier.put(source, there)
    assert done.well and done.resumed == 1, done
    assert there.read_bytes() == source.read_bytes() and parts(tmp_path) == []


async def test_a_get_that_was_cut_goes_on_from_what_has_arrived(copier: CutCopier, tmp_path: Path) -> None:
    source, place = tmp_path / "source", tmp_path / "back" / "box" / "source"
    source.write_bytes(os.urandom(BIG))
    copier.cut_after(BIG * 3 // 4)
    lost(await copier.get(source, tmp_path / "back"))
    copier.cut_after(0)
    assert not place.exists() and len(parts(tmp_path)) == 1
    done = await copier.get(source, tmp_path / "back")
    assert done.well and done.resumed == 1, done
    assert place.read_bytes() == source.read_bytes() and parts(tmp_path) == []


async def test_a_part_that_somebody_has_written_in_is_not_believed(copier: CutCopier, tmp_path: Path) -> None:
    source, there = tmp_path / "source", tmp_path / "there"
    source.write_bytes(os.urandom(BIG))
    copier.cut_after(BIG * 3 // 4)
    lost(await copier.put(source, there))
    copier.cut_after(0)
    [part] = parts(tmp_path)
    with open(part, "r+b") as file:
        file.write(b"other")
    assert (await copier.put(source, there)).well
    assert there.read_bytes() == source.read_bytes() and parts(tmp_path) == []


async def test_a_source_that_has_changed_is_sent_anew_and_the_old_part_is_swept(
    copier: CutCopier, tmp_path: Path
) -> None:
    source, there = tmp_path / "tree", tmp_path / "there"
    source.mkdir()
    (source / "big").write_bytes(os.urandom(BIG))
    copier.cut_after(BIG * 3 // 4)
    lost(await copier.sync(source, there))
    copier.cut_after(0)
    (source / "big").write_bytes(os.urandom(BIG + 1))
    done = await copier.sync(source, there)
    assert done.well and done.resumed == 0 and facts(there) == facts(source) and parts(tmp_path) == []


@pytest.mark.parametrize("seed", range(4))
async def test_wherever_a_line_is_cut_each_file_is_the_old_or_the_new_one(
    copier: CutCopier, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    old, new, there = tmp_path / "old", tmp_path / "new", tmp_path / "there"
    for folder in (old, new):
        for at in range(60):
            path = folder / f"d{at % 7}" / f"f{at}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(chance.choice((10, 5_000, 300_000))))
    assert (await copier.sync(old, there)).well
    both = [{name: fact[2] for name, fact in facts(each).items()} for each in (old, new)]
    for _ in range(3):
        copier.cut_after(chance.randrange(20_000, 5_000_000))
        done = await copier.sync(new, there, delete=True)
        copier.cut_after(0)
        for name, (kind, _, content, _) in facts(there).items():
            if kind == "file" and b".hostler-" not in name:
                assert content in (both[0][name], both[1][name]), (name, done)
    assert (await copier.sync(new, there, delete=True)).well
    assert facts(there) == facts(new) and parts(tmp_path) == []
