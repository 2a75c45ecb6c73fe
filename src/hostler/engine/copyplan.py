"""What differs between a tree as it is wanted and a tree as it is there, and so what is to be done about it.

A plan is a value: nothing here looks at a disk, and what a plan says is done as it says, in its order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from hostler.model.trees import FILE, FOLDER, LINK, OTHER, Entry, Part, Tree

#: What a file that is not whole yet is called there, by its path, size and time.
Called = Callable[[bytes, int, int], bytes]

#: A file is told from another by its time in whole seconds where one of the two knows no parts of them.
SECOND = 1_000_000_000


class Rules(Struct, frozen=True, kw_only=True):
    """How two trees are compared, and how far the second may be changed.

    `content`: by SHA-256 instead of size and time. `delete`: what the first doesn't have goes. `equal`: the second is
    to become the first (sync), so that links and files give way to folders and folders take on rights and times;
    otherwise things are added to it (put, get). `rights` are the bits of a mode that count.
    """

    content: bool = False
    delete: bool = False
    equal: bool = False
    rights: int = 0o7777


class Sending(Struct, frozen=True):
    """A file to be sent, from `offset` on, where the bytes before it have this digest. `old` is what it replaces."""

    entry: Entry
    offset: int = 0
    digest: bytes = b""
    old: Entry | None = None


class Plan(Struct, frozen=True, kw_only=True):
    """What is to be done, in this order: `clear`, `folders`, `links`, `amend`, `send`, `remove`; `sweep` at any time.

    `kept` are the names of folders that are only written in, and keep their rights and times. `left` are names that
    were passed over (path, why); `failures` those that can't be had as wanted.
    """

    clear: tuple[Entry, ...] = ()
    folders: tuple[Entry, ...] = ()
    kept: frozenset[bytes] = frozenset()
    new: frozenset[bytes] = frozenset()
    links: tuple[Entry, ...] = ()
    amend: tuple[Entry, ...] = ()
    send: tuple[Sending, ...] = ()
    remove: tuple[Entry, ...] = ()
    sweep: tuple[bytes, ...] = ()
    unchanged: int = 0
    left: tuple[tuple[bytes, str], ...] = ()
    failures: tuple[tuple[bytes, str], ...] = ()

    @property
    def changes(self) -> int:
        """How many names change. Folders that are only written in don't."""
        made = sum(1 for each in self.folders if each.path in self.new)
        return made + len(self.links) + len(self.amend) + len(self.send) + len(self.remove) + len(self.clear)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do at all."""
        return not (self.changes or self.folders or self.sweep)

    @property
    def size(self) -> int:
        """Bytes to be sent."""
        return sum(each.entry.size - each.offset for each in self.send)


class _Draft:
    """A plan in the making."""

    def __init__(self, wanted: Tree, there: Tree, rules: Rules) -> None:
        self.wanted, self.there, self.rules = wanted, there, rules
        self.clear: list[Entry] = []
        self.links: list[Entry] = []
        self.amend: list[Entry] = []
        self.send: list[Sending] = []
        self.differing: dict[bytes, Entry] = {}
        self.new: set[bytes] = set()
        self.touched: set[bytes] = set()
        self.failures: list[tuple[bytes, str]] = []
        self.left: list[tuple[bytes, str]] = []
        self.blocked: set[bytes] = set()
        self.unchanged = 0

    def touch(self, path: bytes) -> None:
        """Remember the folder that a name is made or removed in."""
        if path:
            self.touched.add(path.rpartition(b"/")[0])

    def entry(self, entry: Entry) -> None:
        """Decide about one name."""
        path, old = entry.path, self.there.entries.get(entry.path)
        if self.blocked and any(above in self.blocked for above in _above(path)):
            self.blocked.add(path)
            return
        if entry.kind == OTHER:
            self.left.append((path, "a device, socket or pipe: left out"))
        elif old is not None and old.kind != entry.kind and not self._gives_way(old, entry):
            self.blocked.add(path)
        elif entry.kind == FOLDER:
            self._folder(entry, old)
        elif entry.kind == LINK:
            if old is not None and old.kind == LINK and old.more == entry.more:
                self.unchanged += 1
            else:
                self.links.append(entry)
                self.touch(path)
        else:
            self._file(entry, old if old is not None and old.kind == FILE else None)

    def _folder(self, entry: Entry, old: Entry | None) -> None:
        if old is None or old.kind != FOLDER:
            self.new.add(entry.path)
            self.touch(entry.path)
            self.differing[entry.path] = entry
        elif self.rules.equal and (self._mode(entry) != self._mode(old) or not alike(entry.mtime, old.mtime)):
            self.differing[entry.path] = entry

    def _file(self, entry: Entry, old: Entry | None) -> None:
        if old is None or not self._same(entry, old):
            self.send.append(Sending(entry, old=old))
            self.touch(entry.path)
        elif self._mode(entry) != self._mode(old) or not alike(entry.mtime, old.mtime):
            self.amend.append(entry)
        else:
            self.unchanged += 1

    def _same(self, entry: Entry, old: Entry) -> bool:
        if entry.size != old.size:
            return False
        if self.rules.content:
            return bool(entry.more) and entry.more == old.more
        return alike(entry.mtime, old.mtime)

    def _mode(self, entry: Entry) -> int:
        return entry.mode & self.rules.rights

    def _gives_way(self, old: Entry, entry: Entry) -> bool:
        """Whether what is there may go for what is wanted, which is of another kind; it is cleared then if need be."""
        if old.kind != FOLDER and entry.kind != FOLDER:
            return True  # a rename puts one in the other's place
        if old.kind == FOLDER:
            if not self.rules.delete or not old.path:
                why = "a folder is there" + (
                    "; --delete would replace it" if self.rules.equal and old.path else ""
                )
                self.failures.append((entry.path, why))
                return False
            inside = [each for path, each in self.there.entries.items() if _within(path, old.path)]
            self.clear += [*reversed(inside), old]
        else:
            if not self.rules.equal or not old.path:
                self.failures.append((entry.path, f"no folder but a {old.kind} is there"))
                return False
            self.clear.append(old)
        self.touch(old.path)
        return True


def plan(wanted: Tree, there: Tree, rules: Rules, *, called: Called | None = None) -> Plan:
    """What makes `there` be as `wanted`, by these rules. With `called` files that were cut are gone on with.

    >>> one, other = Entry(b"", FILE, size=3), Entry(b"", FILE, size=4)
    >>> plan(Tree(entries={b"": one}), Tree(entries={b"": other}), Rules()).size
    3
    """
    draft = _Draft(wanted, there, rules)
    for entry in wanted.entries.values():
        draft.entry(entry)
    whole = not wanted.troubles
    remove = list(_removed(draft)) if rules.delete and whole else []
    for each in remove:
        draft.touch(each.path)
    if rules.delete and not whole:
        draft.left.append((b"", "nothing is removed, because the source can't be read wholly"))
    folders = [
        entry
        for entry in wanted.entries.values()
        if entry.kind == FOLDER and (entry.path in draft.differing or entry.path in draft.touched)
    ]
    send, used = _resumed(draft.send, there.parts, called)
    return Plan(
        clear=tuple(draft.clear),
        folders=tuple(folders),
        kept=frozenset() if rules.equal else frozenset(each.path for each in folders) - draft.new,
        new=frozenset(draft.differing),
        links=tuple(draft.links),
        amend=tuple(draft.amend),
        send=send,
        remove=tuple(remove),
        sweep=tuple(each.path for each in there.parts if each.path not in used and _known(each, wanted)),
        unchanged=draft.unchanged,
        left=tuple(draft.left),
        failures=tuple(draft.failures),
    )


def alike(one: int, other: int) -> bool:
    """Whether two times may be the same, as far as both are known.

    >>> alike(5_250_000_000, 5_000_000_000), alike(5_250_000_000, 5_300_000_000)
    (True, False)
    """
    if one == other:
        return True
    return one // SECOND == other // SECOND and not (one % SECOND and other % SECOND)


def _removed(draft: _Draft) -> Iterator[Entry]:
    """What the source doesn't have, the inner before the outer. Parts of ours are swept, not removed."""
    cleared = {each.path for each in draft.clear}
    for path, entry in reversed(draft.there.entries.items()):
        if not path or path in draft.wanted.entries or path in cleared:
            continue
        if not any(above in draft.blocked for above in _above(path)):
            yield entry


def _above(path: bytes) -> Iterator[bytes]:
    """The folders that a name is in, the root last."""
    while path:
        path = path.rpartition(b"/")[0]
        yield path


def _within(path: bytes, folder: bytes) -> bool:
    return path.startswith(folder + b"/")


def _known(part: Part, wanted: Tree) -> bool:
    """Whether a part lies where we write, so that what is left of it is ours to sweep."""
    return part.path.rpartition(b"/")[0] in wanted.entries or wanted.kind != FOLDER


def _resumed(
    send: Iterable[Sending], parts: Iterable[Part], called: Called | None
) -> tuple[tuple[Sending, ...], set[bytes]]:
    """Files to be sent, those that were cut from where they were cut; and the parts that are of use."""
    held = {part.path: part for part in parts if part.digest}
    if not held or called is None:
        return tuple(send), set()
    result, used = [], set()
    for each in send:
        found = held.get(called(each.entry.path, each.entry.size, each.entry.mtime))
        if found is not None and found.size <= each.entry.size:
            used.add(found.path)
            result.append(Sending(each.entry, found.size, found.digest, each.old))
        else:
            result.append(each)
    return tuple(result), used
