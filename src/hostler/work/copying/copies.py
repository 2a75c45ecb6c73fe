"""Put, get and sync: for each host one line, one look, one plan, one stream.

What is wanted comes as values, what has happened leaves as values. It must never decide what differs: plans do.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from hostler.engine.copyplan import Plan, Rules, plan
from hostler.errors import NoPython
from hostler.model.hosts import Host
from hostler.model.trees import ABSENT, FOLDER, OTHER, Entry, Tree
from hostler.ports import Transport
from hostler.remote.files import framing
from hostler.remote.files.giving import Giver
from hostler.remote.files.taking import Full, Taker
from hostler.work.copying.ends import FarEnd, Found, Heard, Refused, part_place
from hostler.work.copying.far import PythonFar
from hostler.work.copying.near import Listed, after, before, listed
from hostler.work.copying.running import Going

#: Of a host's modes only these bits reach this machine.
SAFE_RIGHTS = 0o777
#: Bytes of a file that a difference is shown of, and of all of them for one host.
SHOWN, ALL_SHOWN = 64 << 10, 4 << 20


class Wish(Struct, frozen=True, kw_only=True):
    """How copying is wanted. `within`: the source goes into the destination where that is a folder."""

    rules: Rules
    within: bool = False
    parents: bool = False
    durable: bool = True
    dry: bool = False
    diff: bool = False
    deadline: float = 30.0


class Planned(Struct, frozen=True, kw_only=True):
    """What would be done for a host: beneath `root`, with old and new content where a difference is to be shown."""

    host: str
    root: bytes
    plan: Plan
    texts: dict[bytes, tuple[bytes, bytes]]


#: Who is to hear of each plan in a dry run.
Show = Callable[[Planned], None]


async def opened(transport: Transport, host: Host, *, deadline: float, going: Going) -> FarEnd:
    """A line to a host and the far end that it can have. Raises HostError."""
    going.phase = "connecting"
    line = await transport.connect(host, deadline=deadline)
    try:
        if host.var("python") != "none":
            far = PythonFar(line, deadline=deadline)
            try:
                await far.begin()
                return far
            except NoPython:
                pass
        from hostler.work.copying.sh import ShFar

        going.remarks.append("no python3 there: through sh and tar, a cut file is sent anew")
        return ShFar(line, deadline=deadline)
    except BaseException:
        await line.close()
        raise


class Putting:
    """A source here, for all hosts: listed once, while the first of them are being reached."""

    def __init__(
        self, root: bytes, destination: bytes, *, transport: Transport, wish: Wish, show: Show
    ) -> None:
        self._root, self._destination, self._wish = root, destination, wish
        self._transport, self._show = transport, show
        self._file = not os.path.isdir(root)
        self._listing = asyncio.ensure_future(listed(root, hashed=wish.rules.content))

    async def to(self, host: Host, going: Going) -> None:
        """Do it for one host. Raises HostError."""
        wish = self._wish
        far = await opened(self._transport, host, deadline=wish.deadline, going=going)
        try:
            going.phase = "looking"
            name = os.path.basename(self._root.rstrip(b"/")) if wish.within else None
            found = await far.look(
                self._destination, within=name, hashed=wish.rules.content, spared=wish.rules.delete,
                file=self._file,
            )  # fmt: skip
            going.root, tree = found.root, (await asyncio.shield(self._listing)).tree
            _refuse(host.name, found, tree, wish)
            todo = plan(tree, found.tree, wish.rules, called=found.called)
            _note(going, todo, (*tree.troubles, *found.tree.troubles))
            if wish.dry:
                self._show(await self._shown(host, far, found, todo))
                return
            if todo.idle:
                return
            giver = Giver(self._root)
            going.total, going.done, going.phase = _work(todo), lambda: giver.done, "copying"

            def failed(path: bytes, why: str) -> None:
                giver.gone.add(path)
                going.fail(path, why)

            heard = Heard(failed=failed, placed=going.place)
            await far.take(todo, giver, heard, durable=wish.durable, parents=wish.parents)
        finally:
            await far.close()

    async def _shown(self, host: Host, far: FarEnd, found: Found, todo: Plan) -> Planned:
        texts = {}
        if self._wish.diff:
            olds = [each.old for each in todo.send if each.old is not None and each.old.size <= SHOWN]
            old = await _fetched(far, olds)
            for each in todo.send:
                if each.entry.size <= SHOWN and (each.old is None or each.old.path in old):
                    path = each.entry.path
                    new = await asyncio.to_thread(
                        _read, os.path.join(self._root, path) if path else self._root
                    )
                    texts[path] = (old.get(path, b""), new)
        return Planned(host=host.name, root=found.root, plan=todo, texts=texts)


class Getting:
    """A source on each host, into a place of its own beneath `folder`: `place` names it, by host and source."""

    def __init__(
        self, source: bytes, folder: bytes, place: Callable[[str, bytes], bytes], *, transport: Transport, wish: Wish,
        show: Show,
    ) -> None:  # fmt: skip
        self._source, self._folder, self._place = source, folder, place
        self._transport, self._wish, self._show = transport, wish, show

    async def of(self, host: Host, going: Going) -> None:
        """Do it for one host. Raises HostError."""
        wish = self._wish
        far = await opened(self._transport, host, deadline=wish.deadline, going=going)
        try:
            going.phase = "looking"
            found = await far.look(self._source, within=None, hashed=wish.rules.content)
            source, going.root = found.tree, found.root
            if source.kind == ABSENT:
                why = source.troubles[0][1] if source.troubles else "there is no such file or folder there"
                raise Refused(host.name, f"{os.fsdecode(found.root)}: {why}")
            if source.kind == OTHER:
                raise Refused(host.name, f"{os.fsdecode(found.root)}: a device, socket or pipe")
            inside = self._place(host.name, own_name(self._source))
            here = await listed(os.path.join(self._folder, inside), hashed=wish.rules.content, follow=False)
            todo = plan(source, here.tree, wish.rules, called=lambda *of: part_place(inside, *of))
            _note(going, todo, source.troubles)
            if wish.dry:
                self._show(await self._shown(host, far, here, todo))
                return
            if todo.idle:
                return
            await self._take(far, host, going, todo, inside, here)
        finally:
            await far.close()

    async def _take(
        self, far: FarEnd, host: Host, going: Going, todo: Plan, inside: bytes, here: Listed
    ) -> None:
        def failed(path: bytes, why: bytes) -> None:
            going.fail(path, why.decode("utf-8", "replace"))

        def begun() -> Taker:
            os.makedirs(os.path.join(self._folder, os.path.dirname(inside)), exist_ok=True)
            return Taker(
                self._folder, failed, going.place, inside=inside, rights=SAFE_RIGHTS, durable=self._wish.durable,
                only={each.entry.path for each in todo.send}, hashes=here.hashes,
            )  # fmt: skip

        came = 0

        def take(kind: bytes, body: bytes) -> None:
            nonlocal came
            if kind == framing.BYTES:
                came += len(body)
            taker.take(kind, body)

        def all_of(frames: Sequence[tuple[bytes, bytes]]) -> None:
            for kind, body in frames:
                taker.take(kind, body)

        going.total, going.done, going.phase = _work(todo), lambda: came, "copying"
        try:
            taker = await asyncio.to_thread(begun)
        except OSError as error:
            raise Refused(host.name, f"{os.fsdecode(self._folder)}: {error.strerror}") from None
        try:
            await asyncio.to_thread(all_of, [*before(todo)])
            await far.give([(each.entry, each.offset, each.digest) for each in todo.send], take)
            await asyncio.to_thread(all_of, [*after(todo), (framing.DONE, b"")])
        except Full as error:
            raise Refused(host.name, f"here: {error}") from None
        except ValueError as error:
            raise Refused(host.name, f"it answered what makes no sense: {error}") from None
        finally:
            await asyncio.to_thread(taker.close)

    async def _shown(self, host: Host, far: FarEnd, here: Listed, todo: Plan) -> Planned:
        texts = {}
        if self._wish.diff:
            new = await _fetched(far, [each.entry for each in todo.send if each.entry.size <= SHOWN])
            for each in todo.send:
                path = each.entry.path
                if path in new and (each.old is None or each.old.size <= SHOWN):
                    place = os.path.join(here.root, path) if path else here.root
                    old = await asyncio.to_thread(_read, place) if each.old is not None else b""
                    texts[path] = (old, new[path])
        return Planned(host=host.name, root=here.root, plan=todo, texts=texts)


def own_name(source: bytes) -> bytes:
    """What a source is called here: by what was said, never by what a host says of itself.

    >>> own_name(b"/var/log/"), own_name(b"/"), own_name(b"~")
    (b'log', b'root', b'home')
    """
    name = os.path.basename(source.rstrip(b"/"))
    if name not in (b"", b".", b"..", b"~"):
        return name
    return b"root" if source.startswith(b"/") else b"home"


def _refuse(host: str, found: Found, source: Tree, wish: Wish) -> None:
    """Refuse what can't be done as a whole. Raises Refused."""
    place = os.fsdecode(found.root)
    if wish.rules.delete and found.holy:
        raise Refused(host, f"--delete would empty {place}, where the account's home is: name a folder in it")
    if found.kind == ABSENT and not found.housed and not wish.parents:
        raise Refused(host, f"{place}: its folder is not there; --parents makes it")
    if found.kind == OTHER:
        raise Refused(host, f"{place}: a device, socket or pipe is there")
    if found.kind == FOLDER and source.kind != FOLDER:
        raise Refused(host, f"{place}: a folder is there; hostler put puts a file into it")
    if found.kind not in (FOLDER, ABSENT) and source.kind == FOLDER:
        raise Refused(host, f"{place}: no folder but a {found.kind} is there")


def _note(going: Going, todo: Plan, troubles: Sequence[tuple[bytes, str]]) -> None:
    for path, why in (*troubles, *todo.failures):
        going.fail(path, why)
    going.remarks += [f"{os.fsdecode(path)}: {why}" if path else why for path, why in todo.left]
    going.unchanged, going.amended = todo.unchanged, len(todo.amend)
    going.removed = len(todo.remove) + len(todo.clear)
    going.resumed = sum(1 for each in todo.send if each.offset)
    going.files = len(todo.send)


def _work(todo: Plan) -> int:
    return sum(each.entry.size for each in todo.send)


def _read(path: bytes) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(SHOWN)
    except OSError:
        return b""


async def _fetched(far: FarEnd, wanted: Sequence[Entry]) -> dict[bytes, bytes]:
    """The content of small files."""
    held: dict[bytes, bytes] = {}
    size = 0
    now: list[bytes] = []
    path = b""

    def take(kind: bytes, body: bytes) -> None:
        nonlocal size, path
        if kind == framing.BEGIN:
            path = framing.one_record(body)[1]
            now.clear()
        elif kind == framing.BYTES and size + len(body) <= ALL_SHOWN:
            now.append(body)
            size += len(body)
        elif kind == framing.END:
            held[path] = b"".join(now)

    await far.give([(each, 0, b"") for each in wanted], take)
    return held


#: One host's part of the work.
One = Callable[[Host, Going], Awaitable[None]]
