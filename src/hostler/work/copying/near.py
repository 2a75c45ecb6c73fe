"""This machine's end: trees listed, files read and written, all in threads beside the loop.

It must never block the loop on a disk, and never hold more of a file than some pieces.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator

from msgspec import Struct

from hostler.engine.copyplan import Plan
from hostler.model.trees import Tree
from hostler.remote.files import framing
from hostler.remote.files.giving import Giver
from hostler.remote.files.walking import Walk
from hostler.work.copying.ends import Gathering, bodies, put_record

HERE = "here"


class Listed(Struct, frozen=True):
    """A root of this machine, with the hashes of its parts, to be gone on with."""

    root: bytes
    tree: Tree
    hashes: dict[bytes, hashlib._Hash]


async def listed(root: bytes, *, hashed: bool, follow: bool = True) -> Listed:
    """What there is at a root of this machine."""

    def walk() -> Listed:
        walking, found = Walk(root, hashed, follow), Gathering(HERE)
        for body in bodies(walking.found()):
            found.add(body)
        return Listed(root, found.tree(), walking.hashes)

    return await asyncio.to_thread(walk)


def before(plan: Plan) -> Iterator[tuple[bytes, bytes]]:
    """The frames of a plan that go before its files, as (kind, body)."""
    for path in plan.sweep:
        yield framing.SWEEP, framing.record(framing.PART, path)
    for each in plan.clear:
        yield framing.CLEAR, put_record(each, b"")
    for each in plan.folders:
        yield framing.MAKE, put_record(each, b"keep" if each.path in plan.kept else b"")
    for each in plan.links:
        yield framing.POINT, put_record(each)
    for each in plan.amend:
        yield framing.AMEND, put_record(each, b"")


def after(plan: Plan) -> Iterator[tuple[bytes, bytes]]:
    """The frames that go behind its files."""
    for each in plan.remove:
        yield framing.REMOVE, put_record(each, b"")


async def changes(plan: Plan, giver: Giver) -> AsyncIterator[bytes]:
    """A plan as the stream that a far end takes."""
    for body in bodies(framing.frame(kind, body) for kind, body in before(plan)):
        yield body
    async for data in given(plan, giver):
        yield data
    for body in bodies(framing.frame(kind, body) for kind, body in after(plan)):
        yield body


async def given(plan: Plan, giver: Giver) -> AsyncIterator[bytes]:
    """The files of a plan as frames."""
    reading = giver.given((each.entry.path, each.offset, each.digest) for each in plan.send)
    while (data := await asyncio.to_thread(next, reading, None)) is not None:
        yield data
