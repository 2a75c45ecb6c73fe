"""A far end without Python: shell text, find and tar there, spoken to through a checked message.

It passes the same tests but for what stands in the docs: no going on with cut files, no holes, times in whole seconds.
It must never put a name into shell text but through quote().
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence

from hostler.engine.copyplan import Plan
from hostler.errors import HostError, LineLost
from hostler.model.trees import FOLDER, OTHER, Entry, Tree
from hostler.ports import Connection, Stream
from hostler.remote.attempt_source import BOOT, message
from hostler.remote.files import framing
from hostler.remote.files.giving import Giver
from hostler.remote.files_source import text
from hostler.shell.quoting import quote
from hostler.work.copying import tars
from hostler.work.copying.ends import MOST, MOST_BYTES, Found, Heard, Refused, words
from hostler.work.copying.far import both
from hostler.work.copying.shplan import Sending
from hostler.work.copying.shwords import KINDS, Fields, add_entry, last_words, ordered

#: Bytes of names that one tar is given.
NAMED = 24 << 10


class ShFar:
    """A FarEnd."""

    def __init__(self, line: Connection, *, deadline: float) -> None:
        self._line, self._deadline, self._host = line, deadline, line.host.name
        self._found: Found | None = None

    async def look(
        self, path: bytes, *, within: bytes | None, hashed: bool, spared: bool = False, file: bool = False
    ) -> Found:
        """What there is at a path."""
        mark = _mark()
        values = {"_hp": path, "_hw": within or b"", "_hc": b"1" if hashed else b"0", "_hn": mark}
        values |= {"_hq": b"1" if spared else b"0", "_ho": b"1" if file else b"0"}
        stream = await self._started(text("list", values))
        fields = Fields(self._host, stream, mark)
        try:
            kind, about, root = [await fields.next() for _ in range(3)]
            entries: dict[bytes, Entry] = {}
            troubles: list[tuple[bytes, str]] = []
            size = 0
            while (fact := await fields.next()) != mark + b" end":
                name, more = await fields.next(), await fields.next()
                size += len(fact) + len(name) + len(more)
                if size > MOST_BYTES or len(entries) > MOST:
                    raise Refused(
                        self._host, f"its tree has more than {MOST} names: name a smaller part of it"
                    )
                add_entry(
                    entries, fact, framing.checked(name.removeprefix(b"./") if name != b"." else b""), more
                )
            if await fields.next() != b"0":
                troubles.append((b"", f"not all of it can be read: {last_words(stream)}"))
            found = Found(
                root=root, kind=KINDS.get(kind, OTHER), holy=bool(int(about) & 1), housed=bool(int(about) & 2),
                tree=Tree(entries=ordered(entries), troubles=tuple(troubles)),
            )  # fmt: skip
        except (ValueError, KeyError) as error:
            raise Refused(self._host, f"it answered what makes no sense: {error}") from None
        finally:
            await stream.close()
        self._found = found
        return found

    async def take(self, plan: Plan, giver: Giver, heard: Heard, *, durable: bool, parents: bool) -> None:
        """Have a plan done there."""
        assert self._found is not None
        root, whole = self._found.root, self._found.kind == FOLDER
        above, _, name = root.rpartition(b"/")
        folder, inside = (root, b"") if whole else (above or b"/", name)
        sending = Sending(plan, giver, inside, heard.failed, self._found.tree.entries.get(b""))
        mark = _mark()
        values = {
            "_hb": folder, "_hn": mark, "_hl": b"%d" % sending.size, "_hy": b"1" if durable else b"0",
            "_hm": b"1" if parents else b"0", "_hs": b".hostler-" + mark + b".part",
        }  # fmt: skip
        stream = await self._started(text("take", values))
        fields = Fields(self._host, stream, mark)
        try:
            first = await fields.several()
            if first[0] == b"X":
                raise Refused(self._host, words(first[1]))

            async def send() -> None:
                async for data in sending.stream():
                    stream.write(data)
                    await stream.drain()

            async def answers() -> None:
                while (said := await fields.several())[0] != mark + b" end":
                    if said[0] == b"X":
                        raise Refused(self._host, words(said[1]) or "tar there did not take what was sent")
                    if said[0] == b"F":
                        sending.fail(said[1], words(said[2]))

            await both(answers(), send())
        finally:
            await stream.close()
        heard.placed(*sending.placed())

    async def give(
        self, wanted: Sequence[tuple[Entry, int, bytes]], take: Callable[[bytes, bytes], None]
    ) -> None:
        """Have files come."""
        assert self._found is not None
        if not wanted:
            return
        root, whole, mark = self._found.root, self._found.kind == FOLDER, _mark()
        folder, _, name = root.rpartition(b"/")
        names = {(b"./" + entry.path if whole else b"./" + name): entry for entry, _, _ in wanted}
        calls, held, size = [], [b"g"], 0
        for each in names:
            held.append(quote(each))
            size += len(held[-1])
            if size > NAMED:
                calls.append(b" ".join(held) + b"\n")
                held, size = [b"g"], 0
        if len(held) > 1:
            calls.append(b" ".join(held) + b"\n")
        calls.append(b"printf '%s%d' \"$_hn\" $_hx; head -c 4096 /dev/zero\n")
        values = {"_hb": root if whole else folder or b"/", "_hn": mark}
        stream = await self._started(text("give", values, b"".join(calls)))

        def named(word: bytes) -> bytes | None:
            entry = names.get(word if word.startswith(b"./") else b"./" + word)
            return entry.path if entry is not None else None

        untar = tars.Untar(mark, named, take)
        try:
            while data := await stream.read():
                await asyncio.to_thread(untar.feed, data)
                if untar.status is not None:
                    break
        except ValueError as error:
            raise Refused(self._host, f"it answered what makes no sense: {error}") from None
        finally:
            await stream.close()
        if untar.status is None:
            raise self._cut(stream)
        for entry, _, _ in wanted:
            if entry.path not in untar.given:
                _failed(take, entry.path, last_words(stream).encode() or b"tar there did not give it")
        if untar.status and len(untar.given) == len(wanted):
            _failed(take, b"", b"tar there said: " + last_words(stream).encode())

    async def close(self) -> None:
        """Let the line go."""
        await self._line.close()

    async def _started(self, body: bytes) -> Stream:
        stream = await self._line.stream(BOOT, deadline=self._deadline)
        stream.write(message(body))
        await stream.drain()
        return stream

    def _cut(self, stream: Stream) -> HostError:
        said = last_words(stream)
        return (
            Refused(self._host, said.removeprefix("hostler: "))
            if said
            else LineLost(self._host, "the line ended")
        )


def _failed(take: Callable[[bytes, bytes], None], path: bytes, why: bytes) -> None:
    take(framing.FAILED, framing.record(framing.TROUBLE, path, more=why))


def _mark() -> bytes:
    return secrets.token_hex(12).encode()
