"""A plan as a tar for a host without Python: what differs, and behind it the script that puts it in its places.

It must never put a name into shell text but through quote().
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from hostler.engine.copyplan import Plan
from hostler.model.trees import FOLDER, LINK, Entry
from hostler.remote.files import framing
from hostler.remote.files.giving import Giver
from hostler.shell.quoting import quote
from hostler.work.copying import tars
from hostler.work.copying.ends import words
from hostler.work.copying.near import given

#: Files that one mv moves.
MOVED = 100


class Sending:
    """A plan as a tar of a size that is known beforehand: what has changed since is filled up, and not put in place."""

    def __init__(
        self,
        plan: Plan,
        giver: Giver,
        inside: bytes,
        failed: Callable[[bytes, str], None],
        root: Entry | None,
    ) -> None:
        self._root = root if root is not None and root.kind == FOLDER else None
        self._plan, self._giver, self._inside, self._failed = plan, giver, inside, failed
        self._bad: set[bytes] = set()
        self._told: set[bytes] = set()
        self._entries = {each.entry.path: each.entry for each in plan.send}
        self._good: dict[bytes, int] = {each.entry.path: each.entry.size for each in plan.send}
        self._heads = {each.entry.path: self._head(each.entry) for each in plan.send}
        folders = {self._place(each.entry.path).rpartition(b"/")[0] for each in plan.send}
        folders |= {self._place(each.path).rpartition(b"/")[0] for each in plan.links}
        self._front = b"".join(
            [tars.header(b"t/" + each, kind=b"5", mode=0o700, size=0, mtime=0) for each in sorted(folders)]
            + [self._link(each) for each in plan.links]
        )
        do = self._script()
        self.size = len(self._front) + sum(
            len(self._heads[path]) + size + tars.padding(size) for path, size in self._good.items()
        )
        self.size += tars.BLOCK + len(tars.padded(do)) + 2 * tars.BLOCK
        self.size += -self.size % 10240

    def fail(self, place: bytes, why: str) -> None:
        """Hear from there that a name has failed."""
        path = place[len(self._inside) + 1 :] if self._inside else place
        self._good.pop(path, None)
        self._failed(path, why)

    def placed(self) -> tuple[int, int]:
        """How many files are in their places, and their bytes."""
        return len(self._good), sum(self._good.values())

    async def stream(self) -> AsyncIterator[bytes]:
        """The whole tar."""
        sent = len(self._front)
        yield self._front
        frames = framing.Frames()
        now: list[Any] | None = None
        async for data in given(self._plan, self._giver):
            out: list[bytes] = []
            for kind, body in frames.feed(data):
                now = self._frame(kind, body, now, out)
            made = b"".join(out)
            sent += len(made)
            if made:
                yield made
        do = self._script()
        end = tars.header(b"do", kind=b"0", mode=0o600, size=len(do), mtime=0) + tars.padded(do)
        yield end
        left = self.size - sent - len(end)
        while left > 0:
            yield bytes(min(left, framing.GATHER))
            left -= framing.GATHER

    def _frame(self, kind: bytes, body: bytes, now: list[Any] | None, out: list[bytes]) -> list[Any] | None:
        """Turn a giver's frame into tar; `now` is the member at work, as [path, bytes left, whether it still holds]."""
        if kind == framing.FAILED:
            _, path, _, _, _, why = framing.one_record(body)
            self._lose(path, words(why))
        elif kind == framing.BEGIN:
            _, path, _, size, mtime, _ = framing.one_record(body)
            if path in self._bad:  # a second try of what has changed: its place in the tar is taken
                self._lose(path, "changed while it was sent")
                return None
            entry = self._entries[path]
            out.append(self._heads[path])
            now = [path, entry.size, size == entry.size and mtime == entry.mtime]
            if not now[2]:
                self._lose(path, "changed while it was sent")
        elif now is not None and kind == framing.BYTES:
            part = body[: now[1]]
            out.append(part)
            now[1] -= len(part)
        elif now is not None and kind == framing.HOLE:
            length = min(now[1], framing.OFFSET.unpack(body)[0])
            out.append(bytes(length))
            now[1] -= length
        elif now is not None and kind in (framing.END, framing.ABORT):
            if kind == framing.ABORT:
                self._bad.add(now[0])
                self._good.pop(now[0], None)
            out.append(bytes(now[1] + tars.padding(self._entries[now[0]].size)))
            return None
        return now

    def _lose(self, path: bytes, why: str) -> None:
        self._bad.add(path)
        self._good.pop(path, None)
        if path not in self._told:
            self._told.add(path)
            self._failed(path, why)

    def _place(self, path: bytes) -> bytes:
        if not self._inside:
            return path
        return self._inside + b"/" + path if path else self._inside

    def _head(self, entry: Entry) -> bytes:
        return tars.header(
            b"t/" + self._place(entry.path), kind=b"0", mode=entry.mode, size=entry.size,
            mtime=entry.mtime // 1_000_000_000,
        )  # fmt: skip

    def _link(self, entry: Entry) -> bytes:
        return tars.header(
            b"t/" + self._place(entry.path), kind=b"2", mode=0o777, size=0, mtime=entry.mtime // 1_000_000_000,
            target=entry.more,
        )  # fmt: skip

    def _script(self) -> bytes:
        """What puts everything in its place there, in a plan's order."""
        plan, lines = self._plan, []

        def name(entry: Entry) -> bytes:
            return quote(b"./" + self._place(entry.path)) if self._place(entry.path) else b"."

        lines += [b"r %s" % name(each) for each in plan.clear]
        lines += [b"d %s" % name(each) for each in plan.folders]
        lines += [
            b"r %s" % name(each.entry) for each in plan.send if each.old is not None and each.old.kind == LINK
        ]
        lines += [b"a %o %s %s" % (each.mode, stamp(each.mtime), name(each)) for each in plan.amend]
        moves: dict[bytes, list[bytes]] = {}
        for path in [*(each.path for each in plan.links), *(each.entry.path for each in plan.send)]:
            if path not in self._bad:
                folder, _, last = self._place(path).rpartition(b"/")
                moves.setdefault(folder, []).append(quote(b"./" + last))
        for folder, names in moves.items():
            for at in range(0, len(names), MOVED):
                lines.append(b"m %s %s" % (quote(folder or b"."), b" ".join(names[at : at + MOVED])))
        lines += [b"r %s" % name(each) for each in plan.remove]
        lines.append(b"z")
        lines += [
            b"a %o %s %s" % (each.mode, stamp(each.mtime), name(each))
            for each in reversed(plan.folders)
            if each.path not in plan.kept
        ]
        if self._root is not None and not any(each.path == b"" for each in plan.folders):
            lines.append(b"a %o %s ." % (self._root.mode, stamp(self._root.mtime)))
        return b"".join(line + b"\n" for line in lines)


def stamp(mtime: int) -> bytes:
    """A time for touch -t, in UTC; what it can't say is as near as it can.

    >>> stamp(1_700_000_000_000_000_000)
    b'202311142213.20'
    """
    seconds = min(max(mtime // 1_000_000_000, 0), 253_402_300_799)
    return time.strftime("%Y%m%d%H%M.%S", time.gmtime(seconds)).encode()
