"""A far end by Python: our program there, which is sent, checked and spoken to by frames.

It must never trust what comes from there: only frames that were asked for count, and nonsense ends the talk.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from hostler.engine.copyplan import Plan
from hostler.errors import HostError, LineLost, NoPython
from hostler.model.trees import Entry
from hostler.ports import Connection, Stream
from hostler.remote.files import framing, talking
from hostler.remote.files.giving import Giver
from hostler.remote.files_source import command, parcel
from hostler.work.copying.ends import KINDS, Found, Gathering, Heard, Refused, bodies, words
from hostler.work.copying.near import changes

#: Words by which a host says that it has no Python of ours.
NO_PYTHON = ("no python3 on this host", "sys.version_info(")
#: Bytes that start-up files may print before our program speaks.
NOISE = 1 << 20
#: Frames that a giving host may send.
GIVEN = frozenset((framing.BEGIN, framing.BYTES, framing.HOLE, framing.END, framing.ABORT, framing.FAILED))


class PythonFar:
    """A FarEnd. `begin` before all else."""

    def __init__(self, line: Connection, *, deadline: float) -> None:
        self._line, self._deadline = line, deadline
        self._host = line.host.name
        self._frames = framing.Frames()
        self._unread: list[tuple[bytes, bytes]] = []
        self._stream: Stream | None = None

    async def begin(self) -> None:
        """Start the program there. Raises NoPython, HostError."""
        python = self._line.host.var("python")
        stream = self._stream = await self._line.stream(command(python), deadline=self._deadline)
        stream.write(parcel())
        heard = bytearray()
        try:
            async with asyncio.timeout(self._deadline):
                while (at := heard.find(talking.MAGIC)) < 0:
                    data = await stream.read()
                    if not data:
                        raise self._gone(bytes(heard))
                    heard += data
                    if len(heard) > NOISE:
                        raise Refused(self._host, "its start-up files print without an end")
        except TimeoutError:
            raise LineLost(self._host, f"our program did not start within {self._deadline:g}s") from None
        self._feed(bytes(heard[at + len(talking.MAGIC) :]))

    async def look(
        self, path: bytes, *, within: bytes | None, hashed: bool, spared: bool = False, file: bool = False
    ) -> Found:
        """What there is at a path."""
        flags = (talking.HASHED if hashed else 0) | (talking.WITHIN if within is not None else 0)
        flags |= (talking.SPARED if spared else 0) | (talking.FILE_ONLY if file else 0)
        ask = framing.record(framing.FOLDER, path, flags, more=within or b"")
        self._write(framing.frame(framing.LIST, ask))
        root: tuple[bytes, bytes, int] | None = None
        found = Gathering(self._host)
        while True:
            kind, body = await self._frame()
            try:
                if kind == framing.ROOT:
                    sign, place, about, *_ = framing.one_record(body)
                    root = (sign, place, about)
                elif kind == framing.ENTRIES and root is not None:
                    found.add(body)
                elif kind == framing.DONE and root is not None:
                    sign, place, about = root
                    return Found(
                        root=place, kind=KINDS[sign], holy=bool(about & talking.HOLY),
                        housed=bool(about & talking.HOUSED), tree=found.tree(),
                    )  # fmt: skip
                else:
                    raise ValueError(f"a frame of the kind {kind!r} in a listing")
            except (ValueError, KeyError) as error:
                raise self._nonsense(error) from None

    async def take(self, plan: Plan, giver: Giver, heard: Heard, *, durable: bool, parents: bool) -> None:
        """Have a plan done there."""
        flags = (talking.DURABLE if durable else 0) | (talking.PARENTS if parents else 0)
        self._write(framing.frame(framing.TAKE, framing.record(framing.FOLDER, b"", flags)))

        async def send() -> None:
            assert self._stream is not None
            async for data in changes(plan, giver):
                self._stream.write(data)
                await self._stream.drain()
            self._stream.write(framing.frame(framing.DONE))
            await self._stream.drain()

        await both(self._answers(heard), send())

    async def _answers(self, heard: Heard) -> None:
        while True:
            kind, body = await self._frame()
            try:
                if kind == framing.FAILED:
                    _, path, _, _, _, why = framing.one_record(body)
                    heard.failed(path, words(why))
                elif kind == framing.PLACED:
                    heard.placed(*framing.COUNTS.unpack(body))
                elif kind == framing.REFUSED:
                    raise Refused(self._host, words(body))
                elif kind == framing.DONE:
                    return
                else:
                    raise ValueError(f"a frame of the kind {kind!r} as an answer")
            except (ValueError, struct.error) as error:
                raise self._nonsense(error) from None

    async def give(
        self, wanted: Sequence[tuple[Entry, int, bytes]], take: Callable[[bytes, bytes], None]
    ) -> None:
        """Have files come."""
        asked = bodies(
            framing.record(framing.FILE, entry.path, size=offset, more=digest)
            for entry, offset, digest in wanted
        )

        async def send() -> None:
            assert self._stream is not None
            for body in asked:
                self._stream.write(framing.frame(framing.GIVE, body))
                await self._stream.drain()
            self._stream.write(framing.frame(framing.DONE))

        if wanted:
            await both(self._given(take), send())

    async def _given(self, take: Callable[[bytes, bytes], None]) -> None:
        over = False

        def taken(frames: list[tuple[bytes, bytes]]) -> bool:
            for kind, body in frames:
                if kind == framing.DONE:
                    return True
                if kind not in GIVEN:
                    raise ValueError(f"a frame of the kind {kind!r} among files")
                take(kind, body)
            return False

        while not over:
            try:
                over = await asyncio.to_thread(taken, await self._several())
            except (ValueError, struct.error) as error:
                raise self._nonsense(error) from None

    async def close(self) -> None:
        """Tell it to go, and let the line go."""
        if self._stream is not None:
            with suppress(HostError, TimeoutError):
                async with asyncio.timeout(5):
                    self._stream.write(framing.frame(framing.BYE))
                    await self._stream.close()
        await self._line.close()

    def _write(self, data: bytes) -> None:
        assert self._stream is not None
        self._stream.write(data)

    def _feed(self, data: bytes) -> None:
        try:
            self._unread += self._frames.feed(data)
        except ValueError as error:
            raise self._nonsense(error) from None

    async def _several(self) -> list[tuple[bytes, bytes]]:
        """All frames that are there, waiting for one at least."""
        assert self._stream is not None
        while not self._unread:
            data = await self._stream.read()
            if not data:
                raise self._gone(b"")
            self._feed(data)
        several, self._unread = self._unread, []
        return several

    async def _frame(self) -> tuple[bytes, bytes]:
        if not self._unread:
            self._unread = await self._several()
        return self._unread.pop(0)

    def _nonsense(self, error: Exception) -> HostError:
        return Refused(self._host, f"it answered what makes no sense: {error}")

    def _gone(self, seen: bytes) -> HostError:
        """Why the program there has ended."""
        tail = (self._stream.stderr_tail() if self._stream is not None else b"") or seen
        said = [line for line in tail[-2000:].splitlines() if line.strip()]
        if not said:
            return LineLost(self._host, "the line ended without a word")
        last = words(said[-1].strip())
        if any(sign in last for sign in NO_PYTHON):
            return NoPython(self._host, "no python3 of 3.6 or later there")
        return Refused(self._host, f"our program there ended: {last.removeprefix('hostler: ')}")


async def both(*parts: Coroutine[Any, Any, None]) -> None:
    """Do two things at once; the first trouble ends both."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if task in done:
            task.result()
